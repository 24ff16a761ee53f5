"""What host and board say over the serial line; both ends are built from this page.

A command is a letter and, for some, more; the board repeats the letter, answers, and ends with the CRC-16 (XMODEM) of the
command and its answer together. Numbers are little-endian; addresses and lengths count words of the DRAM port.

    I                           -> I, fingerprint of the build (4 bytes)
    W, address (4), words (4),
       data                     -> W
    R, address (4), words (4)   -> R, data
    S                           -> S, cycles of the run (4)       runs the program at word 0 until its end

A command may follow before the last one is answered, as long as no more than `AHEAD` bytes wait. A command that stops
in its middle for `PATIENCE_CYCLES` is dropped.
"""

import zlib

from firstspike.rtl.parameters import Parameters

IDENTIFY, WRITE, READ, START = b"I", b"W", b"R", b"S"

AHEAD = 64
"""Bytes that the board keeps while it is busy."""

PATIENCE_CYCLES = 1 << 23
"""A tenth of a second, about."""

BAUD = 2_000_000
"""Bits a second: a speed of the USB chips that clocks of an even number of MHz reach exactly."""


def fingerprint(parameters: Parameters) -> int:
    """Of what the hardware is built for: host and board must agree in it.

    The clock and the DRAM's cycles are not part of it: they change no result.
    """
    p, processor = parameters, parameters.processor
    widths = (processor.pes, processor.word_bits, processor.accumulator_bits, p.shift_bits, p.shift_base)
    packed = processor.packed_rows
    sizes = (*widths, processor.activation_words, processor.membrane_rows, p.weight_rows)
    formats = (p.code.T, p.code.tau, *p.code.mantissas, p.weights.bits, *p.weights.mantissas)
    built = (sizes, formats, packed, p.time_bits, p.rho_bits)
    return zlib.crc32(repr((*built, "shifts") if p.channel_shifts else built).encode())
