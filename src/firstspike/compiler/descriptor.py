"""The operation descriptor as bits (`spec.program.descriptor`); the hardware's view of it is `rtl.blocks.descriptor`."""

from firstspike.spec.program import DESCRIPTOR


def pack(subject: str, fields: dict[str, int], layout: tuple[tuple[str, int], ...] = DESCRIPTOR) -> int:
    """Bits of a descriptor of some layout; absent fields are 0, negative values two's complement.

    Raises:
        ValueError: a value does not fit its field, or there is no such field.

    >>> hex(pack("op", {"kind": 1, "first": 1}))
    '0x11'
    """
    value, offset = 0, 0
    unknown = fields.keys() - dict(layout).keys()
    if unknown:
        raise ValueError(f"{subject}: fields must be of a descriptor, not {sorted(unknown)!r}")
    for name, bits in layout:
        entry = fields.get(name, 0)
        if not -(1 << (bits - 1)) <= entry < 1 << bits:
            raise ValueError(f"{subject}: descriptor field {name} must fit {bits} bits, not {entry!r}")
        value |= (entry & ((1 << bits) - 1)) << offset
        offset += bits
    return value
