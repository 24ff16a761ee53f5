"""Boolean expressions of Liberty files (``function``, ``when``, ``next_state``) as Python source."""

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_\[\]]*|[01]|[!'&*|+^()])")


def pins(expression: str) -> tuple[str, ...]:
    """Names in an expression, in order of appearance.

    >>> pins("(A & !B) + A")
    ('A', 'B')
    """
    return tuple(dict.fromkeys(re.findall(r"[A-Za-z_][A-Za-z0-9_\[\]]*", expression)))


def python_source(expression: str, values: Mapping[str, str], ones: str = "M") -> str:
    """Python source of a Liberty expression on bit vectors (``int`` or unsigned arrays).

    ``!`` and ``'`` bind strongest, then ``^``, then ``&``, ``*`` and juxtaposition, then ``|`` and ``+``.

    Args:
        expression: text of the attribute.
        values: Python source of each pin.
        ones: Python source of the vector of ones.

    Raises:
        ValueError: the text is no expression, or names an unknown pin.

    >>> python_source("!(A B) + C'", {"A": "a", "B": "b", "C": "c"})
    '((M^(a&b))|(M^c))'
    >>> python_source("A &", {"A": "a"})
    Traceback (most recent call last):
    ...
    ValueError: expression must be complete, not 'A &'
    """
    return _Parser(expression, values, ones).parse()


class _Parser:
    def __init__(self, text: str, values: Mapping[str, str], ones: str) -> None:
        self.text, self.values, self.ones = text, values, ones
        self.tokens: list[str] = []
        position, stripped = 0, text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                raise ValueError(f"expression must hold names and !'&*|+^() only, not {text!r}")
            self.tokens.append(match.group(1))
            position = match.end()
        self.position = 0

    def parse(self) -> str:
        result = self._sum()
        if self.position != len(self.tokens):
            raise ValueError(f"expression must be complete, not {self.text!r}")
        return result

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self.position += 1
        return token

    def _sum(self) -> str:
        terms = [self._product()]
        while self._peek() in ("|", "+"):
            self._take()
            terms.append(self._product())
        return terms[0] if len(terms) == 1 else "(" + "|".join(terms) + ")"

    def _product(self) -> str:
        terms = [self._difference()]
        while self._peek() and self._peek() not in ("|", "+", ")"):
            if self._peek() in ("&", "*"):
                self._take()
            terms.append(self._difference())
        return terms[0] if len(terms) == 1 else "(" + "&".join(terms) + ")"

    def _difference(self) -> str:
        terms = [self._literal()]
        while self._peek() == "^":
            self._take()
            terms.append(self._literal())
        return terms[0] if len(terms) == 1 else "(" + "^".join(terms) + ")"

    def _literal(self) -> str:
        token = self._take()
        if token == "!":
            return f"({self.ones}^{self._literal()})"
        if token == "(":
            result = self._sum()
            if self._take() != ")":
                raise ValueError(f"expression must be complete, not {self.text!r}")
        elif token == "0":
            result = f"({self.ones}^{self.ones})"
        elif token == "1":
            result = self.ones
        elif token in self.values:
            result = self.values[token]
        elif token and token not in "&*|+^)'":
            raise ValueError(f"expression must name pins among {', '.join(self.values)}, not {token!r}")
        else:
            raise ValueError(f"expression must be complete, not {self.text!r}")
        while self._peek() == "'":
            self._take()
            result = f"({self.ones}^{result})"
        return result
