"""Packed weight rows, read one bit at a time (docs/reference/program.md, "Packed rows")."""

import math


def unpack(data: bytes, *, rows: int, outputs: int, word_bits: int, bits: int, bitmap: bool) -> list[list[int]]:
    """Codes of every lane of every stored group, row by row; zeros are ``2^(bits-1) - 1``.

    Raises:
        ValueError: words are missing, or left over.
    """
    zero = 2 ** (bits - 1) - 1
    groups = math.ceil(outputs / word_bits)
    words = [int.from_bytes(data[at : at + word_bits // 8], "little") for at in range(0, len(data), word_bits // 8)]
    place = 0
    stream: list[int] = []

    def word() -> int:
        nonlocal place
        place += 1
        if place > len(words):
            raise ValueError("a word is missing")
        return words[place - 1]

    def code() -> int:
        while len(stream) < bits:
            taken = word()
            stream.extend((taken >> bit) & 1 for bit in range(word_bits))
        value = sum(stream[bit] << bit for bit in range(bits))
        del stream[:bits]
        return value

    result = []
    for _ in range(rows):
        row: list[int] = []
        for _ in range(groups):
            present = word() if bitmap else 2**word_bits - 1
            row += [code() if (present >> lane) & 1 else zero for lane in range(word_bits)]
        result.append(row)
    if place != len(words):
        raise ValueError("words are left over")
    return result
