"""What the processor executes: a list of operations made by the mapping, read by the cycle model and the assembler."""

from dataclasses import dataclass, replace
from typing import ClassVar

from firstspike.spec.processor import ProcessorSpec

HALT, CONVOLVE, POOL, LOAD, STORE = range(5)
"""Values of the descriptor's ``kind``."""

ADDRESS_BITS = 20
"""Bits of an address in the activation buffer, or of a distance there, in words (4 MiB in words of 4 bytes)."""

DESCRIPTOR: tuple[tuple[str, int], ...] = (
    ("kind", 3),
    ("bitmap", 1),
    ("first", 1),
    ("last", 1),
    ("fires", 1),
    ("residual", 1),
    ("scale_fraction", 8),
    ("height", 16),
    ("width", 16),
    ("kernel_height", 16),
    ("kernel_width", 16),
    ("words", 16),
    ("repeat", 16),
    ("stride_y", 16),
    ("stride_x", 16),
    ("origin_y", 20),
    ("origin_x", 20),
    ("in_height", 16),
    ("in_width", 16),
    ("in_address", ADDRESS_BITS),
    ("in_pixel", ADDRESS_BITS),
    ("in_row", ADDRESS_BITS),
    ("in_step", ADDRESS_BITS),
    ("in_line", ADDRESS_BITS),
    ("in_next", ADDRESS_BITS),
    ("position_rows", 24),
    ("out_address", ADDRESS_BITS),
    ("out_pixel", ADDRESS_BITS),
    ("out_row", ADDRESS_BITS),
    ("out_next", ADDRESS_BITS),
    ("out_words", 16),
    ("residual_address", ADDRESS_BITS),
    ("residual_pixel", ADDRESS_BITS),
    ("residual_row", ADDRESS_BITS),
    ("residual_next", ADDRESS_BITS),
    ("residual_words", 16),
    ("dram_address", 32),
    ("dram_words", 24),
    ("bias_words", 16),
    ("theta_words", 8),
    ("shift", 8),
)
"""Fields of a descriptor and their bits, first field in the lowest bits (docs/explanation/processor.md explains each)."""


def descriptor(processor: ProcessorSpec) -> tuple[tuple[str, int], ...]:
    """Fields of a processor's descriptors: those of all, which memories are on if some are switched off, and the bank of
    the weight rows if rows stay in their bank.

    `Transfer.awake`, `Window.awake` and `Convolve.bank` say what the bits are.

    >>> descriptor(ProcessorSpec()) == DESCRIPTOR, descriptor(ProcessorSpec(banks=4))[-1]
    (True, ('awake', 5))
    >>> descriptor(ProcessorSpec(banks=4, resident_weights=True))[-2:]
    (('bank', 1), ('weights_awake', 2))
    """
    fields = DESCRIPTOR
    if processor.switched:
        fields = (*fields, ("awake", processor.banks + 1))
    if processor.resident_weights:
        fields = (*fields, ("bank", 1))
    if processor.switched and processor.resident_weights:
        fields = (*fields, ("weights_awake", 2))
    return fields


def descriptor_words(processor: ProcessorSpec) -> int:
    """DRAM words of a descriptor (padded to whole words)."""
    return -(-sum(bits for _, bits in descriptor(processor)) // processor.word_bits)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something begins in a map of the activation buffer, and how to step on from there; all in words.

    Attributes:
        address: the first word.
        pixel, row, image: from a pixel to the next in its row, to the next row, to the next image's map.

    >>> Place(address=10, pixel=2, row=8, image=64).at(row=1, column=3).address
    24
    """

    address: int
    pixel: int
    row: int
    image: int

    def at(self, *, image: int = 0, row: int = 0, column: int = 0, word: int = 0) -> "Place":
        """The place so many images, rows, columns and words further on."""
        steps = image * self.image + row * self.row + column * self.pixel + word
        return replace(self, address=self.address + steps)

    def every(self, rows: int, columns: int) -> "Place":
        """The same beginning, from where every so many rows and columns are stepped on."""
        return replace(self, pixel=self.pixel * columns, row=self.row * rows)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Geometry of an operation that slides a window over a stored map (channels last, whole words per pixel).

    Addresses and strides are in words of the activation buffer.

    Attributes:
        layer: name of the layer it belongs to.
        image: first image of the batch that it works on.
        images: how many, one after the other, all with the same weights.
        height, width: output pixels of this operation and one image.
        kernel: rows and columns of the window (a box of the layer's kernel).
        words: channel words of a pixel that the operation reads.
        stride: rows and columns from one output pixel's window to the next.
        origin: input row and column of the first window's first position; negative in padding.
        in_first: row of the whole input that is the first one seen (0 unless the input comes in strips or is dilated).
        in_column: the first column seen.
        grid: rows and columns from one that is seen to the next: a dilated window sees every so many.
        in_size: rows and columns of the stored input that are seen; outside is silence.
        read: the first input pixel that is seen, from the first word that is read.
        write: the first output pixel of this operation.
        awake: which memories are on: bit ``i`` for bank ``i`` of the activation buffer, the highest for the
            membrane memory; 0 where none is ever switched off.
        weights_awake: banks of the weight buffer that are on in it, a bit for each; 0 unless rows stay in their bank and
            memories are switched off.
    """

    layer: str
    height: int
    width: int
    kernel: tuple[int, int]
    words: int
    stride: tuple[int, int]
    origin: tuple[int, int]
    in_first: int
    in_size: tuple[int, int]
    read: Place
    write: Place
    image: int = 0
    images: int = 1
    in_column: int = 0
    grid: tuple[int, int] = (1, 1)
    awake: int = 0
    weights_awake: int = 0

    @property
    def pixels(self) -> int:
        """Output pixels of all its images."""
        return self.images * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Convolve(Window):
    """Integrate a box of a synaptic layer's receptive field for a tile of outputs; begin and end as the flags say.

    Attributes:
        connection: name of the layer, or of the part of it, whose weights it has.
        outputs: first output channel of the tile and their number (at most ``pes``).
        channel_word: first channel word of the source that is read.
        kernel_offset: row and column of the layer's kernel at which the box begins.
        rows: weight rows, ``kernel * words * lanes``.
        first: begin with the bias; otherwise with the partial sum in the membrane memory.
        last: fire (or write the logits); otherwise put the partial sum back.
        fires: False for the read-out.
        shift: left shift of a product of level 0 with a spike of octave 0.
        out_words: words written per pixel: spike times of the tile, or one word per logit.
        residual: name of the residual source added at the end of this operation, or None.
        added: where its tile begins; None without one.
        empty: no synapses: all rows are zero (an operation that exists to add one more residual).
        group: neighbouring pixels of a row that are computed together, as the channels of one: ``width`` counts groups,
            ``outputs`` the channels of all pixels of one.
        bank: of the weight buffer that its rows are in; 0 unless rows stay in their bank.
        kept: they are there already, and are not fetched.
    """

    kind: ClassVar[int] = CONVOLVE
    connection: str
    outputs: tuple[int, int]
    channel_word: int
    kernel_offset: tuple[int, int]
    rows: int
    first: bool
    last: bool
    fires: bool
    shift: int
    out_words: int
    residual: str | None = None
    added: Place | None = None
    empty: bool = False
    group: int = 1
    bank: int = 0
    kept: bool = False

    @property
    def thresholds(self) -> bool:
        """Whether the operation needs the layer's thresholds (firing, or adding a residual)."""
        return (self.last and self.fires) or self.residual is not None

    @property
    def weight_rows(self) -> tuple[object, ...]:
        """What its weight rows are: operations of equal ones have the same rows."""
        box = (self.kernel_offset, self.kernel, self.channel_word, self.words, self.empty)
        return (self.layer, self.connection, self.outputs, self.group, *box)


@dataclass(frozen=True, kw_only=True)
class Pool(Window):
    """Earliest spike of every window of one image, one channel word after the other (``words`` in all)."""

    kind: ClassVar[int] = POOL


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A burst between a named DRAM region and the activation buffer.

    Attributes:
        layer: name of the layer it belongs to.
        region: name of the DRAM region.
        offset: first word in the region.
        address: first word in the activation buffer.
        words: length of the burst.
        image: first image of the batch whose words these are.
        awake, weights_awake: as of `Window`.
    """

    layer: str
    region: str
    offset: int
    address: int
    words: int
    image: int = 0
    awake: int = 0
    weights_awake: int = 0


@dataclass(frozen=True, kw_only=True)
class Load(Transfer):
    """DRAM to activation buffer."""

    kind: ClassVar[int] = LOAD


@dataclass(frozen=True, kw_only=True)
class Store(Transfer):
    """Activation buffer to DRAM."""

    kind: ClassVar[int] = STORE


Operation = Convolve | Pool | Load | Store


@dataclass(frozen=True, kw_only=True)
class Program:
    """Operations of one batch of images, in order; a HALT follows the last.

    Attributes:
        operations: in order of execution.
        images: images of the batch.
        regions: words of each DRAM region, of all images: "input", maps that are not kept on chip, "logits".
        activation_words: the most words of the activation buffer in use at once.
    """

    operations: tuple[Operation, ...]
    regions: dict[str, int]
    activation_words: int
    images: int = 1
