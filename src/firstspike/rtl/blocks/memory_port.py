"""The DRAM port: burst requests, words in, words out, all valid/ready streams."""

from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, Signature

REQUEST = StructLayout({"address": 32, "words": 24, "write": 1})
"""A burst: first word address, number of words, direction. Words follow in order; bursts do not overlap."""


class MemoryPort(Signature):
    """``request`` (out), ``read`` (in) and ``write`` (out), of ``word_bits`` bits."""

    def __init__(self, word_bits: int) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "read": In(stream.Signature(word_bits)),
                "write": Out(stream.Signature(word_bits)),
            }
        )
