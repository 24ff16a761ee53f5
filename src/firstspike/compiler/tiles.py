"""Operations of a layer: tiles of outputs, chunks of weight rows, blocks of pixels, strips of rows, images of a batch.

Per tile of ``pes`` output channels, and per output pixel, the spikes of the receptive field stream in; each reads one
weight row and all processing elements add; then the thresholds fire the outputs (docs/explanation/processor.md, "Mapping"). Where
a tile's weight rows exceed a bank of the weight buffer they come in chunks, with the partial sums of a block of pixels
kept in the membrane memory between chunks.
"""

from dataclasses import dataclass, replace
from math import gcd, lcm

from firstspike.compiler.pixel_groups import widened
from firstspike.compiler.spread import Spread
from firstspike.compiler.storage import Layout, Map, View, needed_rows, split, window
from firstspike.spec.network import Conv2d, MaxPool2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Convolve, Load, Operation, Place, Pool, Store


@dataclass(frozen=True, kw_only=True)
class Box:
    """Part of a tile's receptive field whose weight rows fit one bank: kernel rows, columns and channel words."""

    offset: tuple[int, int]
    kernel: tuple[int, int]
    word: int
    words: int
    empty: bool = False


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Rows of a map in the activation buffer: all of them, or those that a step needs.

    Attributes:
        map: the rows as a map of their own.
        first: row of the whole map that is the strip's first.
    """

    map: Map
    first: int


def operations_of(
    network: Network,
    processor: ProcessorSpec,
    layer: Synaptic | MaxPool2d | Spread,
    layout: Layout,
    *,
    group: int = 1,
    pool: MaxPool2d | None = None,
) -> list[Operation]:
    """A layer's operations on all images of its maps: on all rows at once, or on strips of rows with their transfers.

    Args:
        network: the network.
        processor: the processor.
        layer: the layer.
        layout: where maps lie.
        group: neighbouring pixels that are computed together: one of `firstspike.compiler.pixel_groups.sizes`.
        pool: the pooling layer that runs with it, if it is fused: its strips follow those that they read.
    """
    maps = layout.maps
    last = pool or layer
    target = maps[last.name]
    places = layout.strips.get(last.name, {})
    operations: list[Operation] = []
    for first, rows in split(target.height, layout.rows.get(last.name, target.height)):
        down = pool.stride[0] if pool else 1
        top, height = first * down, rows * down
        strips: dict[str, Strip] = {}
        for name in dict.fromkeys(layer.inputs):
            m = maps[name]
            if m.region is None:
                strips[name] = Strip(map=m, first=0)
                continue
            begin, end = needed_rows(layer, maps, m, top, height)
            strips[name] = strip = Strip(map=replace(m, address=places[m.region], height=end - begin), first=begin)
            operations.append(
                Load(
                    layer=layer.name,
                    region=m.region,
                    offset=begin * m.row,
                    address=strip.map.address,
                    words=strip.map.size,
                )
            )
        address = target.address + first * target.row if target.region is None else places[target.region]
        result = pooled = Strip(map=replace(target, address=address, height=rows), first=first)
        if pool:
            result = Strip(map=replace(maps[layer.name], height=height), first=top)
        if isinstance(layer, MaxPool2d):
            operations += [_pool(layer, strips[layer.source], result, image) for image in range(target.images)]
        elif isinstance(layer, Spread):
            operations += [copy for image in range(target.images) for copy in _copies(layer, strips, result, image)]
        else:
            synapses = _Layer(
                network=network,
                processor=processor,
                layer=widened(layer, group, zero=network.weights.zero_level),
                strips=strips,
                result=replace(result, map=result.map.grouped(group)),
                group=group,
            )
            operations += synapses.operations()
        if pool:
            operations += [_pool(pool, result, pooled, image) for image in range(target.images)]
        if target.region is not None:
            words = pooled.map.size
            operations.append(
                Store(layer=last.name, region=target.region, offset=first * target.row, address=address, words=words)
            )
    return operations


def _pool(layer: MaxPool2d, source: Strip, target: Strip, image: int) -> Pool:
    return Pool(
        layer=layer.name,
        image=image,
        height=target.map.height,
        width=target.map.width,
        kernel=layer.kernel,
        words=source.map.pixel,
        stride=layer.stride,
        origin=(target.first * layer.stride[0] - layer.padding[0] - source.first, -layer.padding[1]),
        in_first=source.first,
        in_size=(source.map.height, source.map.width),
        read=source.map.place.at(image=image),
        write=target.map.place.at(image=image),
    )


def _copies(layer: Spread, strips: dict[str, Strip], target: Strip, image: int) -> list[Pool]:
    """One pool of single pixels for each map, which puts them where they belong."""
    (down, across), made = layer.factor, []
    for number, name in enumerate(layer.inputs):
        (i, j), source = divmod(number, across), strips[name]
        top = (i - target.first) % down  # the first row of the strip that this map gives
        height = len(range(top, target.map.height, down))
        if not height:
            continue
        write = target.map.place.at(image=image, row=top, column=j)
        made.append(
            Pool(
                layer=layer.name,
                image=image,
                height=height,
                width=source.map.width,
                kernel=(1, 1),
                words=source.map.pixel,
                stride=(1, 1),
                origin=((target.first + top) // down - source.first, 0),
                in_first=source.first,
                in_size=(source.map.height, source.map.width),
                read=source.map.place.at(image=image),
                write=write.every(down, across),
            )
        )
    return made


def _phases(views: list[View], height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Rows and columns ``(top, left, down, across)`` at which output pixels begin, and how far apart they are.

    Windows of dilation ``d`` and stride ``s`` see the same ``d``-th part of their map every ``d / gcd(s, d)`` pixels; there
    they are windows without gaps.
    """
    down, across = (lcm(*(v.dilation[axis] // gcd(v.dilation[axis], v.stride[axis]) for v in views)) for axis in (0, 1))
    return [(top, left, down, across) for top in range(min(down, height)) for left in range(min(across, width))]


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A synaptic layer on rows of its maps: what is the same for all of its operations.

    The layer and the map of its result have ``group`` pixels as one; all other maps are as they are stored.
    """

    network: Network
    processor: ProcessorSpec
    layer: Synaptic
    strips: dict[str, Strip]
    result: Strip
    group: int

    def operations(self) -> list[Operation]:
        layer, target = self.layer, self.result.map
        made: list[Operation] = []
        for first in range(0, layer.outputs, self.processor.pes):
            tile = first, min(self.processor.pes, layer.outputs - first)
            boxes = [(connection, box) for connection in layer.connections for box in self._boxes(tile, connection)]
            empty = replace(boxes[0][1], kernel=(1, 1), words=1, offset=(0, 0), empty=True)
            boxes += [(layer, empty)] * (len(layer.residuals) - len(boxes))
            residuals = (None,) * (len(boxes) - len(layer.residuals)) + layer.residuals
            views = [window(connection, self.strips[connection.source].map) for connection in layer.connections]
            for phase in _phases(views, target.height, target.width):
                top, left, down, across = phase
                size = len(range(top, target.height, down)), len(range(left, target.width, across))
                work = list(zip(boxes, residuals, strict=True))
                for number, block in enumerate(blocks(target.images, *size, self.processor.membrane_rows, len(boxes))):
                    # Back and forth where rows stay in their bank: a block begins with what the one before ended with.
                    back = self.processor.resident_weights and number % 2
                    for index, ((connection, box), residual) in enumerate(reversed(work) if back else work):
                        operation = self._convolve(tile, connection, box, block, phase, residual)
                        made.append(replace(operation, first=index == 0, last=index == len(boxes) - 1))
        return made

    def _boxes(self, tile: tuple[int, int], layer: Synaptic) -> list[Box]:
        """Boxes of a tile's receptive field in the source of one connection."""
        lanes = self.processor.lanes
        source = self.strips[layer.source].map
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        word, words = _channel_words(*tile, layer.outputs // groups, source.channels // groups, lanes)
        whole = Box(offset=(0, 0), kernel=window(layer, source).kernel, word=word, words=words)
        return chunks(layer.name, whole, self.processor, self.processor.weight_rows(self.network.weights))

    def _convolve(
        self,
        tile: tuple[int, int],
        connection: Synaptic,
        box: Box,
        block: tuple[int, int, int, int, int, int],
        phase: tuple[int, int, int, int],
        residual: str | None,
    ) -> Convolve:
        """One box of a tile's receptive field on one block of pixels; ``first`` and ``last`` are still to be said."""
        layer, lanes, (first, count) = self.layer, self.processor.lanes, tile
        image, images, top, left, height, width = block
        top, left, (down, across) = phase[0] + phase[2] * top, phase[1] + phase[3] * left, phase[2:]
        strip, row = self.strips[connection.source], self.result.first + top
        view = window(connection, strip.map)
        rows = _axis(view, 0, row, down, box.offset[0], strip.first, strip.map.height)
        columns = _axis(view, 1, left, across, box.offset[1], 0, strip.map.width)
        read = strip.map.place.at(image=image, row=rows.phase, column=columns.phase, word=box.word)
        written = first // lanes if layer.fires else first
        added: Place | None = None
        if residual is not None:
            other = self.strips[residual]
            added = other.map.grouped(self.group).place.at(
                image=image, row=row - other.first, column=left, word=first // lanes
            )
            added = added.every(down, across)
        return Convolve(
            layer=layer.name,
            connection=connection.name,
            image=image,
            images=images,
            height=height,
            width=width,
            kernel=box.kernel,
            words=box.words,
            stride=(rows.stride, columns.stride),
            origin=(rows.origin, columns.origin),
            in_first=strip.first + rows.phase,
            in_column=columns.phase,
            grid=view.dilation,
            in_size=(rows.size, columns.size),
            read=read.every(*view.dilation),
            write=self.result.map.place.at(image=image, row=top, column=left, word=written).every(down, across),
            outputs=tile,
            channel_word=box.word,
            kernel_offset=box.offset,
            rows=box.kernel[0] * box.kernel[1] * box.words * lanes,
            first=False,
            last=False,
            fires=layer.fires,
            shift=self.network.shift(layer, connection),
            out_words=-(-count // lanes) if layer.fires else count,
            residual=residual,
            added=added,
            empty=box.empty,
            group=self.group,
        )


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One axis of an operation's window, in every so many rows (or columns) of its map from ``phase`` on."""

    phase: int
    origin: int
    stride: int
    size: int


def _axis(view: View, axis: int, begin: int, step: int, offset: int, stored: int, extent: int) -> _Axis:
    """An axis of a window whose output pixels begin at ``begin``, ``step`` apart.

    Args:
        view: the connection's window.
        axis: 0 or 1.
        begin: row (column) of the first output pixel, in the whole map.
        step: from it to the next.
        offset: of the box in the kernel.
        stored: row (column) of the whole input that is the first one stored.
        extent: rows (columns) that are stored.
    """
    dilation = view.dilation[axis]
    start = begin * view.stride[axis] - view.padding[axis] + dilation * offset - stored
    phase = start % dilation
    return _Axis(
        phase=phase,
        origin=(start - phase) // dilation,
        stride=view.stride[axis] * step // dilation,
        size=max(0, -(-(extent - phase) // dilation)),
    )


def _channel_words(first: int, count: int, outputs: int, channels: int, lanes: int) -> tuple[int, int]:
    """First channel word and number of words that a tile reads, with ``outputs`` and ``channels`` per group.

    Grouped layers run as dense ones whose rows are zero outside the group, over the channels of the tile's groups only.

    >>> _channel_words(0, 16, 1, 1, 8), _channel_words(16, 16, 8, 3, 8), _channel_words(0, 10, 10, 20, 8)
    ((0, 2), (0, 2), (0, 3))
    """
    low = first // outputs * channels
    high = ((first + count - 1) // outputs + 1) * channels
    return low // lanes, -(-high // lanes) - low // lanes


def chunks(name: str, whole: Box, processor: ProcessorSpec, rows: int) -> list[Box]:
    """Split a receptive field into boxes of at most ``rows`` weight rows: by channel words, kernel rows, then columns.

    Raises:
        ValueError: not even one position of the kernel fits a bank.

    >>> whole = Box(offset=(0, 0), kernel=(3, 3), word=0, words=5)
    >>> [(box.word, box.words, box.kernel) for box in chunks("a", whole, ProcessorSpec(), 150)]
    [(0, 2, (3, 3)), (2, 2, (3, 3)), (4, 1, (3, 3))]
    >>> [(box.offset, box.kernel) for box in chunks("a", replace(whole, words=1), ProcessorSpec(), 16)]
    [((0, 0), (1, 2)), ((0, 2), (1, 1)), ((1, 0), (1, 2)), ((1, 2), (1, 1)), ((2, 0), (1, 2)), ((2, 2), (1, 1))]
    """
    height, width = whole.kernel
    lanes = processor.lanes
    if rows < lanes:
        raise ValueError(
            f"layer {name!r}: a bank of the weight buffer must hold {lanes} rows, not {rows!r} "
            f"({processor.weight_buffer_kib * 1024} bytes in two banks)"
        )
    words = min(whole.words, max(1, rows // (height * width * lanes)))
    tall = min(height, max(1, rows // (width * lanes * words)))
    wide = min(width, max(1, rows // (lanes * words)))
    return [
        Box(offset=(y, x), kernel=(tall_y, wide_x), word=whole.word + w, words=words_w)
        for w, words_w in split(whole.words, words)
        for y, tall_y in split(height, tall)
        for x, wide_x in split(width, wide)
    ]


def blocks(images: int, height: int, width: int, rows: int, parts: int) -> list[tuple[int, int, int, int, int, int]]:
    """Boxes ``(image, images, top, left, height, width)`` of output pixels whose partial sums fit the membrane memory.

    With one chunk nothing is kept, and the maps of all images are one block.

    >>> blocks(1, 4, 4, 8, 2), blocks(1, 1, 5, 3, 2), blocks(2, 9, 9, 1, 1)
    ([(0, 1, 0, 0, 2, 4), (0, 1, 2, 0, 2, 4)], [(0, 1, 0, 0, 1, 3), (0, 1, 0, 3, 1, 2)], [(0, 2, 0, 0, 9, 9)])
    >>> blocks(3, 2, 2, 8, 2)
    [(0, 2, 0, 0, 2, 2), (2, 1, 0, 0, 2, 2)]
    """
    if parts == 1:
        return [(0, images, 0, 0, height, width)]
    if height * width <= rows:
        return [(image, many, 0, 0, height, width) for image, many in split(images, rows // (height * width))]
    if width <= rows:
        boxes = [(top, 0, tall, width) for top, tall in split(height, rows // width)]
    else:
        boxes = [(top, left, 1, wide) for top in range(height) for left, wide in split(width, rows)]
    return [(image, 1, *box) for image in range(images) for box in boxes]
