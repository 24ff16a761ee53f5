"""The operation descriptor as a bit layout of the hardware (`spec.program.DESCRIPTOR`)."""

from amaranth.hdl import Cat, Value
from amaranth.lib.data import StructLayout, View

from firstspike.spec.program import DESCRIPTOR

LAYOUT = StructLayout(dict(DESCRIPTOR))
"""Layout of a descriptor; first field in the lowest bits."""


def part(names: tuple[str, ...], address_bits: int) -> StructLayout:
    """Layout of some fields; those that begin with in_, out_ or residual_ are as wide as the buffer's addresses."""
    bits = dict(DESCRIPTOR)
    ends = ("_address", "_pixel", "_row", "_step", "_line", "_next")
    return StructLayout({name: address_bits if name.endswith(ends) else bits[name] for name in names})


def pick(layout: StructLayout, descriptor: View) -> Value:
    """The fields of a `part` from a whole descriptor."""
    return Cat(descriptor[name][: field.width] for name, field in layout)
