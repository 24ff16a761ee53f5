"""The operation descriptor as a bit layout of the hardware (`spec.program.DESCRIPTOR`)."""

from amaranth.lib.data import StructLayout

from firstspike.spec.program import DESCRIPTOR

LAYOUT = StructLayout(dict(DESCRIPTOR))
"""Layout of a descriptor; first field in the lowest bits."""
