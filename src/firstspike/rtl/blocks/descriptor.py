"""The operation descriptor as a bit layout of the hardware (`spec.program.descriptor`)."""

from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Out, Signature

from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import DESCRIPTOR, descriptor

LAYOUT = StructLayout(dict(DESCRIPTOR))
"""Layout of the fields that all descriptors have; first field in the lowest bits."""


def layout(processor: ProcessorSpec) -> StructLayout:
    """Layout of a processor's descriptors."""
    return StructLayout(dict(descriptor(processor)))


class Fields(Signature):
    """Some fields of a descriptor, a member each, in the order of the descriptor.

    Addresses and distances are as wide as the activation buffer's addresses.

    Args:
        names: of the fields.
        address_bits: of the activation buffer.
        widths: of other fields that need fewer bits than the descriptor has for them.
    """

    def __init__(self, names: tuple[str, ...], address_bits: int, widths: dict[str, int] | None = None) -> None:
        bits = dict(DESCRIPTOR)
        bits |= {name: address_bits for name in bits if name.startswith(("in_", "out_", "residual_"))}
        bits |= {name: dict(DESCRIPTOR)[name] for name in bits if name.endswith(("_height", "_width", "_words"))}
        bits |= widths or {}
        super().__init__({name: Out(width) for name, width in bits.items() if name in names})
