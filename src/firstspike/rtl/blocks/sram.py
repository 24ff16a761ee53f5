"""On-chip memories: a single-port macro and a two-port register file, as Amaranth memories or Verilog instances."""

from importlib.resources import files

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import exact_log2

from firstspike.spec.processor import ProcessorSpec

NAMES = ("firstspike_sram", "firstspike_register_file")
"""Verilog modules that stand for both memories; a synthesis flow replaces their files by macros."""

SWITCHED = ("firstspike_switched_sram", "firstspike_register_file")
"""The same of a processor that switches memories off."""


def verilog(processor: ProcessorSpec) -> dict[str, str]:
    """Simulation models of a processor's memories by module name."""
    names = SWITCHED if processor.switched else NAMES
    return {name: files("firstspike.rtl.files").joinpath(f"{name}.v").read_text() for name in names}


class ReadPort(Signature):
    """To read a memory.

    Members:
        enable: read ``address`` in this cycle.
        address: which word.
        data: (back) the word, one cycle later, then held.
    """

    def __init__(self, width: int, address_bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(address_bits), "data": In(width)})


class WritePort(Signature):
    """To write a memory.

    Members:
        enable: ``address <= data`` in this cycle.
        address: which word.
        data: the word.
    """

    def __init__(self, width: int, address_bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(address_bits), "data": Out(width)})


class SramPort(Signature):
    """To read or to write a memory, one of them a cycle.

    Members:
        enable: an access in this cycle.
        write: it writes.
        address: which word.
        write_data: the word written.
        read_data: (back) the word read, one cycle later, then held.
    """

    def __init__(self, width: int, address_bits: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "write": Out(1),
                "address": Out(address_bits),
                "write_data": Out(width),
                "read_data": In(width),
            }
        )


class Sram(wiring.Component):
    """Single-port memory.

    Ports:
        port: an access a cycle.
        on: with ``wake``, the memory is on, and loses its words when it is not (an Amaranth one keeps them).

    Args:
        width: bits of a word.
        depth: words.
        external: an instance of the Verilog module ``firstspike_sram`` instead of an Amaranth memory.
        wake: cycles from switching it on to the first access, of a memory that can be switched off,
            the Verilog module ``firstspike_switched_sram``; None: it is always on.
    """

    def __init__(self, width: int, depth: int, *, external: bool = False, wake: int | None = None) -> None:
        self.width, self.depth, self.external, self.wake = width, depth, external, wake
        self.address_bits = max(1, (depth - 1).bit_length())
        super().__init__({"port": In(SramPort(width, self.address_bits)), **({} if wake is None else {"on": In(1)})})

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        port = self.port
        if self.external:
            switch = {} if self.wake is None else {"p_WAKE": self.wake, "i_on": self.on}
            m.submodules.macro = Instance(
                "firstspike_sram" if self.wake is None else "firstspike_switched_sram",
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_ADDRESS=self.address_bits,
                i_clk=ClockSignal(),
                i_enable=port.enable,
                i_write=port.write,
                i_byte_enable=Const(-1, -(-self.width // 8)),
                i_address=port.address,
                i_write_data=port.write_data,
                o_read_data=port.read_data,
                **switch,
            )
            return m
        m.submodules.words = words = memory.Memory(shape=self.width, depth=self.depth, init=[])
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            read.en.eq(port.enable & ~port.write),
            read.addr.eq(port.address),
            write.en.eq(port.enable & port.write),
            write.addr.eq(port.address),
            write.data.eq(port.write_data),
            port.read_data.eq(read.data),
        ]
        return m


class Banks(wiring.Component):
    """Single-port memory of macros that are switched each alone; the highest bits of an address choose one.

    Ports:
        port: an access a cycle, to a bank that is on.
        on: a bit for each bank.

    Args:
        width: bits of a word.
        depth: words; those of a bank are a power of 2.
        banks: how many.
        wake: cycles from switching a bank on to its first access.
        external: as of `Sram`.
    """

    def __init__(self, width: int, depth: int, *, banks: int, wake: int, external: bool = False) -> None:
        self.banks = [Sram(width, depth // banks, external=external, wake=wake) for _ in range(banks)]
        self.address_bits = (depth - 1).bit_length()
        super().__init__({"port": In(SramPort(width, self.address_bits)), "on": In(banks)})

    def elaborate(self, platform: object) -> Module:
        """The block's logic, as Amaranth builds it."""
        m = Module()
        port, low = self.port, exact_log2(self.banks[0].depth)
        number = port.address[low:]
        read = Signal.like(number)
        with m.If(port.enable & ~port.write):
            m.d.sync += read.eq(number)
        for index, bank in enumerate(self.banks):
            m.submodules[f"bank{index}"] = bank
            m.d.comb += [
                bank.on.eq(self.on[index]),
                bank.port.enable.eq(port.enable & (number == index)),
                bank.port.write.eq(port.write),
                bank.port.address.eq(port.address[:low]),
                bank.port.write_data.eq(port.write_data),
            ]
        with m.Switch(read):
            for index, bank in enumerate(self.banks):
                with m.Case(index):
                    m.d.comb += port.read_data.eq(bank.port.read_data)
        return m


class RegisterFile(wiring.Component):
    """Small memory with two ports.

    Ports:
        read, write: one word each a cycle, never the same one.

    Args:
        width: bits of a word.
        depth: words.
        external: an instance of the Verilog module ``firstspike_register_file`` instead of an Amaranth memory.
    """

    def __init__(self, width: int, depth: int, *, external: bool = False) -> None:
        self.width, self.depth, self.external = width, depth, external
        self.address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {"read": In(ReadPort(width, self.address_bits)), "write": In(WritePort(width, self.address_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        """The block\'s logic, as Amaranth builds it."""
        m = Module()
        if self.external:
            m.submodules.macro = Instance(
                "firstspike_register_file",
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_ADDRESS=self.address_bits,
                i_clk=ClockSignal(),
                i_read_enable=self.read.enable,
                i_read_address=self.read.address,
                o_read_data=self.read.data,
                i_write_enable=self.write.enable,
                i_write_address=self.write.address,
                i_write_data=self.write.data,
            )
            return m
        # Small and read early in a path: in an FPGA's look-up tables, not in a block RAM.
        small = {"ram_style": "distributed"}
        m.submodules.words = words = memory.Memory(shape=self.width, depth=self.depth, init=[], attrs=small)
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            read.en.eq(self.read.enable),
            read.addr.eq(self.read.address),
            self.read.data.eq(read.data),
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
        ]
        return m
