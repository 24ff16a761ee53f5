"""The examples on the page docs/reference/numerics.md give what the page says."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "numerics.md"


def test_examples_on_the_page() -> None:
    """All examples, as one session in the order of the page."""
    blocks = re.findall(r"^```python\n(>>> .*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    session = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    assert len(session.examples) >= 20
    report: list[str] = []
    outcome = doctest.DocTestRunner().run(session, out=report.append)
    assert outcome.attempted == len(session.examples)
    assert outcome.failed == 0, "".join(report)
