"""Cursor: where an operation stands: its pixel, and the addresses that go with it."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from firstspike.rtl.blocks.descriptor import Fields

ENDS = StructLayout({"line": 1, "map": 1})
"""What ends with a pixel: its line, and its map."""

STARTS = ("in_address", "out_address", "residual_address", "origin_y", "origin_x")
"""Descriptor fields that a `Cursor` begins with."""

STRIDES = (
    *("height", "width", "repeat", "stride_y", "stride_x", "origin_y", "origin_x"),
    *("in_step", "in_line", "in_next"),
    *("out_pixel", "out_row", "out_next"),
    *("residual_pixel", "residual_row", "residual_next"),
)
"""Descriptor fields by which it moves on."""


class Address(wiring.Component):
    """An address that follows the pixels: to the next one of the line, to the next line, to the next map.

    Ports:
        take, start: begin at ``start``.
        advance, ends: go on from a pixel.
        by_pixel, by_line, by_map: distances in words; of lines and maps from the beginning of the last one.
        address: of the current pixel.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(
            {
                "take": In(1),
                "start": In(bits),
                "advance": In(1),
                "ends": In(ENDS),
                "by_pixel": In(bits),
                "by_line": In(bits),
                "by_map": In(bits),
                "address": Out(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        base = Signal(self.bits)
        line = Signal(self.bits)
        with m.If(self.take):
            m.d.sync += [register.eq(self.start) for register in (base, line, self.address)]
        with m.Elif(self.advance):
            m.d.sync += self.address.eq(self.address + self.by_pixel)
            with m.If(self.ends.line):
                m.d.sync += [register.eq(line + self.by_line) for register in (line, self.address)]
            with m.If(self.ends.map):
                m.d.sync += [register.eq(base + self.by_map) for register in (base, line, self.address)]
        return m


class Cursor(wiring.Component):
    """Goes through all pixels of all maps (images of a CONVOLVE, channel words of a POOL) of an operation.

    Ports:
        take, starts: begin with the fields `STARTS` of a new descriptor.
        advance, strides: go on by the fields `STRIDES` of the running one.
        last: of all pixels.
        y, x: input row and column of the pixel's window.
        source, target, residual: addresses in the activation buffer.
        pixel: number of the pixel, counted on over all maps: its row in the membrane memory.
    """

    def __init__(self, address_bits: int, membrane_bits: int) -> None:
        self.address_bits = address_bits
        super().__init__(
            {
                "take": In(1),
                "starts": In(Fields(STARTS, address_bits)),
                "advance": In(1),
                "strides": In(Fields(STRIDES, address_bits)),
                "last": Out(1),
                "y": Out(Shape(20, signed=True)),
                "x": Out(Shape(20, signed=True)),
                "source": Out(address_bits),
                "target": Out(address_bits),
                "residual": Out(address_bits),
                "pixel": Out(membrane_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        starts, strides = self.starts, self.strides
        here, ends = Signal(ENDS, name="here"), Signal(ENDS)
        height = Signal(16)
        width = Signal(16)
        maps = Signal(16)
        m.d.comb += [
            here.line.eq(width == strides.width - 1),
            here.map.eq(here.line & (height == strides.height - 1)),
        ]
        # Known in time: a pixel takes three cycles at least.
        m.d.sync += [ends.eq(here), self.last.eq(here.map & (maps == strides.repeat - 1))]
        with m.If(self.take):
            m.d.sync += [counter.eq(0) for counter in (height, width, maps, self.pixel)]
            m.d.sync += [self.y.eq(starts.origin_y), self.x.eq(starts.origin_x)]
        with m.Elif(self.advance):
            m.d.sync += [
                self.pixel.eq(self.pixel + 1),
                width.eq(width + 1),
                self.x.eq(self.x + strides.stride_x),
            ]
            with m.If(ends.line):
                m.d.sync += [
                    width.eq(0),
                    height.eq(height + 1),
                    self.x.eq(strides.origin_x),
                    self.y.eq(self.y + strides.stride_y),
                ]
            with m.If(ends.map):
                m.d.sync += [height.eq(0), maps.eq(maps + 1), self.y.eq(strides.origin_y)]
        self._addresses(m, ends)
        return m

    def _addresses(self, m: Module, ends: View) -> None:
        starts, strides = self.starts, self.strides
        residual = (strides.residual_pixel, strides.residual_row, strides.residual_next)
        for name, start, distances, target in (
            ("source", starts.in_address, (strides.in_step, strides.in_line, strides.in_next), self.source),
            ("target", starts.out_address, (strides.out_pixel, strides.out_row, strides.out_next), self.target),
            ("residual", starts.residual_address, residual, self.residual),
        ):
            m.submodules[name] = address = Address(self.address_bits)
            m.d.comb += [
                address.take.eq(self.take),
                address.start.eq(start),
                address.advance.eq(self.advance),
                address.ends.eq(ends),
                address.by_pixel.eq(distances[0]),
                address.by_line.eq(distances[1]),
                address.by_map.eq(distances[2]),
                target.eq(address.address),
            ]
