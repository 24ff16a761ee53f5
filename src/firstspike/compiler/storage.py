"""Where every map of spike times lies, on chip or in DRAM: channels last, whole words per pixel."""

from dataclasses import dataclass, field, replace

from firstspike.compiler.spread import Spread
from firstspike.spec.network import INPUT, Conv2d, Flatten, Layer, MaxPool2d, Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Place


@dataclass(frozen=True, kw_only=True)
class Map:
    """A stored map: ``pixel`` words per pixel, row-major; the last word's spare lanes are silent.

    Attributes:
        address: first word in the activation buffer.
        channels, height, width: extent; a vector is 1 x 1.
        pixel: words of a pixel: of spike times, or one per logit for the read-out.
        lanes: spike times in a word.
        images: images of a batch whose maps lie there one after the other.
        region: name of the DRAM region that holds it, if it was spilled; then `address` means nothing.
    """

    address: int
    channels: int
    height: int
    width: int
    pixel: int
    lanes: int
    images: int = 1
    region: str | None = None

    @property
    def row(self) -> int:
        """Words of a row."""
        return self.width * self.pixel

    @property
    def image(self) -> int:
        """Words of one image's map."""
        return self.height * self.row

    @property
    def place(self) -> Place:
        """Its first pixel."""
        return Place(address=self.address, pixel=self.pixel, row=self.row, image=self.image)

    @property
    def size(self) -> int:
        """Words of all its images' maps."""
        return self.images * self.image

    def grouped(self, pixels: int) -> "Map":
        """The same bytes with so many neighbouring pixels of a row as one, whose channels fill whole words."""
        return replace(self, channels=pixels * self.channels, width=self.width // pixels, pixel=pixels * self.pixel)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Places of all maps, and of the strips of layers that work on maps in DRAM.

    Attributes:
        maps: by name of the input or layer; a flattening shares its source's.
        entries: names of the maps that are there before the first layer: the input, or what earlier layers left in DRAM.
        rows: output rows at a time of every layer that reads or writes a spilled map.
        strips: of such a layer, by DRAM region, where the strip of that map lies in the activation buffer.
        fused: pooling layers whose source runs with them, and that layer; its map is a strip of rows, and the rows and strips
            above are the pooling layer's.
    """

    maps: dict[str, Map]
    entries: tuple[str, ...]
    rows: dict[str, int]
    strips: dict[str, dict[str, int]]
    fused: dict[str, str] = field(default_factory=dict)


class _Full(Exception):
    """The activation buffer cannot hold ``name``; ``candidates`` could be spilled instead."""

    def __init__(self, message: str, candidates: list[str]) -> None:
        super().__init__(message)
        self.candidates = candidates


@dataclass(frozen=True, kw_only=True)
class View:
    """How a layer looks at a stored map: rows and columns of its kernel, and steps."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def tall(self) -> int:
        """Rows from the first that the kernel reads to the last."""
        return (self.kernel[0] - 1) * self.dilation[0] + 1


def window(layer: Layer, source: Map) -> View:
    """A layer's window over a stored map; a linear layer's kernel is the whole map."""
    if isinstance(layer, Conv2d):
        kernel = (layer.weight_shape[2], layer.weight_shape[3])
        return View(kernel=kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    if isinstance(layer, MaxPool2d):
        return View(kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
    return View(kernel=(source.height, source.width))


def needed_rows(layer: Layer, maps: dict[str, Map], m: Map, top: int, height: int) -> tuple[int, int]:
    """Rows ``(begin, end)`` of a map that a layer's ``height`` output rows from ``top`` on read, all its readings together."""
    if isinstance(layer, Spread):
        return top // layer.factor[0], (top + height - 1) // layer.factor[0] + 1
    begins, ends = [], []
    for connection in getattr(layer, "connections", (layer,)):
        if maps[connection.source] is m:
            view = window(connection, m)
            low = min(max(0, top * view.stride[0] - view.padding[0]), m.height - 1)
            begins.append(low)
            ends.append(max(low + 1, min(m.height, (top + height - 1) * view.stride[0] - view.padding[0] + view.tall)))
    if any(maps[name] is m for name in getattr(layer, "residuals", ())):
        begins.append(top)
        ends.append(top + height)
    return min(begins), max(ends)


def origins(network: Network) -> dict[str, str]:
    """Name of the map that holds each layer's output: a flattening shares its source's."""
    names = {INPUT: INPUT}
    for layer in network.layers:
        names[layer.name] = names[layer.source] if isinstance(layer, Flatten) else layer.name
    return names


def allocate(network: Network, processor: ProcessorSpec, *, layers: range | None = None, images: int = 1) -> Layout:
    """Place every map that layers read or write for as long as one of them reads it; flattening shares a place.

    Maps lie alternately at the lowest and the highest free address, so that a chain uses the buffer from both ends.
    Where banks are switched off, a map lies where it needs the fewest that are not on for others, if all maps of the
    layers fit so. While they do not fit, the largest map in the way is spilled (the logits never): it lives in DRAM,
    and the layers that write or read it work on strips of rows. A map that `fusible` allows is a strip itself instead. The
    maps of several images at a time are never spilled.

    Args:
        network: whose maps.
        processor: where they lie.
        layers: consecutive layers by number, all by default.
        images: images whose maps are there together.

    Raises:
        ValueError: a layer's smallest strips do not fit the activation buffer; or a residual is a flattening of several
            pixels.
    """
    part = range(len(network.layers)) if layers is None else layers
    spilled: set[str] = set()
    fused: dict[str, str] = {}
    if processor.switched:
        try:
            return _allocate(network, processor, part, images, spilled, fused)
        except _Full:
            processor = replace(processor, banks=1)
    while True:
        try:
            return _allocate(network, processor, part, images, spilled, fused)
        except _Full as full:
            kept = {*spilled, *fused, network.layers[-1].name}
            free = [name for name in full.candidates if name not in kept and images == 1]
            if not free and fused:  # its strip is too large beside all others
                spilled.add(fused.popitem()[0])
                continue
            if not free:
                raise ValueError(str(full)) from None
            largest = max(free, key=lambda name: _map(network, name, processor).size)
            if (pool := fusible(network, processor, largest, part)) is not None:
                fused[largest] = pool
            else:
                spilled.add(largest)


def fusible(network: Network, processor: ProcessorSpec, name: str, part: range) -> str | None:
    """Name of the pooling layer that a layer can run with, so that its map is never whole; None if there is none.

    It comes next, is the only reader, and its windows neither overlap nor leave the map.
    """
    if not processor.fused_pooling or name == INPUT:
        return None
    index = next(number for number, layer in enumerate(network.layers) if layer.name == name)
    layer, readers = network.layers[index], [one for one in network.layers if name in one.inputs]
    following = network.layers[index + 1] if index + 1 < len(network.layers) else None
    plain = isinstance(layer, Conv2d) and layer.fires and isinstance(following, MaxPool2d) and readers == [following]
    if not plain or index not in part or index + 1 not in part:
        return None
    assert isinstance(following, MaxPool2d)
    separate = following.kernel == following.stride and following.padding == (0, 0)
    return following.name if separate else None


def _allocate(
    network: Network,
    processor: ProcessorSpec,
    part: range,
    images: int,
    spilled: set[str],
    fused: dict[str, str],
) -> Layout:
    names = [INPUT, *(layer.name for layer in network.layers)]
    alias = origins(network)
    last_use: dict[str, int] = {}
    for index in part:
        layer = network.layers[index]
        for name in layer.inputs:
            last_use[alias[name]] = index + 1
        last_use.setdefault(layer.name, index + 1)
        if layer.name in fused:  # runs when the pooling layer does
            last_use |= {alias[name]: index + 2 for name in layer.inputs}
    if part.stop == len(network.layers):
        last_use[names[-1]] = len(names)
    entries = tuple(name for name in names[: part.start + 1] if alias[name] == name and name in last_use)
    maps: dict[str, Map] = {}
    live: dict[str, Map] = {}
    rows: dict[str, int] = {}
    strips: dict[str, dict[str, int]] = {}
    for index, name in enumerate(names[: part.stop + 1]):
        if alias[name] != name:
            if alias[name] in maps:
                maps[name] = maps[alias[name]]
            continue
        if index <= part.start and name not in entries:
            continue
        live = {other: m for other, m in live.items() if last_use[other] >= index}
        place = _map(network, name, processor, images)
        if name in fused:
            maps[name] = place
            _check_residuals(network.layers[index - 1], maps, alias)
            continue
        if name in spilled:
            maps[name] = replace(place, region=INPUT if name == INPUT else f"map {name}")
        else:
            address = _place(place.size, list(live.values()), processor, high=index % 2 == 1)
            if address is None:
                raise _Full(
                    _message(name, place.size, live, processor), [*live, name][: len(live) + (name != names[-1])]
                )
            maps[name] = live[name] = replace(place, address=address)
        if index > part.start:
            layer = network.layers[index - 1]
            _check_residuals(layer, maps, alias)
            if fused.get(layer.inputs[0]) == name:
                source = network.layers[index - 2]
                rows[name], strips[name], maps[source.name] = _fused(source, layer, spilled, maps, live, processor)
                continue
            used = list(dict.fromkeys(alias[other] for other in (layer.name, *layer.inputs)))
            if spilled & set(used):
                rows[name], strips[name] = _strips(layer, used, spilled, maps, live, processor)
    pools = {pool: source for source, pool in fused.items()}
    return Layout(maps=maps, entries=entries, rows=rows, strips=strips, fused=pools)


def _check_residuals(layer: Layer, maps: dict[str, Map], alias: dict[str, str]) -> None:
    for name in getattr(layer, "residuals", ()):
        if alias[name] != name and maps[name].height * maps[name].width > 1:
            raise ValueError(
                f"layer {layer.name!r}: the processor adds a residual in its stored order, "
                f"not through the flattening {name!r}"
            )


def _strips(
    layer: Layer,
    used: list[str],
    spilled: set[str],
    maps: dict[str, Map],
    live: dict[str, Map],
    processor: ProcessorSpec,
) -> tuple[int, dict[str, int]]:
    """Most output rows whose strips of all spilled maps fit beside the resident ones, and the strips' addresses."""
    strips: dict[str, Map] = {}
    for height in range(maps[layer.name].height, 0, -1):
        talls = {name: height if name == layer.name else _tall(layer, maps, maps[name], height) for name in used}
        strips = {str(maps[name].region): replace(maps[name], height=talls[name]) for name in used if name in spilled}
        placed = _side_by_side(strips, live, processor)
        if placed is not None:
            return height, {region: strip.address for region, strip in placed.items()}
    raise _Full(_message(layer.name, sum(strip.size for strip in strips.values()), live, processor), list(live))


def _side_by_side(strips: dict[str, Map], live: dict[str, Map], processor: ProcessorSpec) -> dict[str, Map] | None:
    """The strips where there is room for all of them beside what is live, or None."""
    taken, placed = list(live.values()), dict[str, Map]()
    for name, strip in strips.items():
        address = _place(strip.size, taken, processor, high=False)
        if address is None:
            return None
        placed[name] = replace(strip, address=address)
        taken.append(placed[name])
    return placed


def _fused(
    layer: Layer, pool: Layer, spilled: set[str], maps: dict[str, Map], live: dict[str, Map], processor: ProcessorSpec
) -> tuple[int, dict[str, int], Map]:
    """Most output rows of a pooling layer for which the rows of its source fit that they read, and the strips of all spilled
    maps; the strips' addresses, and the source's rows as a map."""
    assert isinstance(pool, MaxPool2d)
    target, whole = maps[pool.name], maps[layer.name]
    strips: dict[str, Map] = {}
    for height in range(target.height, 0, -1):
        tall = height * pool.stride[0]
        strips = {layer.name: replace(whole, height=tall)}
        for name in (pool.name, *layer.inputs):
            m = maps[name]
            if m.region is not None:
                strips[m.region] = replace(m, height=height if m is target else _tall(layer, maps, m, tall))
        placed = _side_by_side(strips, live, processor)
        if placed is not None:
            scratch = placed.pop(layer.name)
            return height, {name: strip.address for name, strip in placed.items()}, scratch
    raise _Full(_message(layer.name, sum(strip.size for strip in strips.values()), live, processor), list(live))


def _tall(layer: Layer, maps: dict[str, Map], m: Map, height: int) -> int:
    """Most rows of a map that ``height`` output rows of a layer read."""
    readers = [one for one in getattr(layer, "connections", (layer,)) if maps[one.source] is m]
    if not readers:
        return height
    if len(readers) == 1 and not isinstance(layer, Spread):
        view = window(readers[0], m)
        return min(m.height, (height - 1) * view.stride[0] + view.tall)
    rows = [needed_rows(layer, maps, m, top, tall) for top, tall in split(maps[layer.name].height, height)]
    return max(end - begin for begin, end in rows)


def _message(name: str, size: int, live: dict[str, Map], processor: ProcessorSpec) -> str:
    used = sum(m.size for m in live.values()) * processor.lanes
    return (
        f"layer {name!r}: its {size * processor.lanes} bytes must fit the activation buffer of "
        f"{processor.activation_buffer_kib * 1024} bytes beside {used} bytes still in use"
    )


def _map(network: Network, name: str, processor: ProcessorSpec, images: int = 1) -> Map:
    """A map's extent, not placed yet."""
    shape = network.neuron_shape(name)
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    pixel = channels if name == network.layers[-1].name else -(-channels // processor.lanes)
    return Map(
        address=0,
        channels=channels,
        height=height,
        width=width,
        pixel=pixel,
        lanes=processor.lanes,
        images=images,
    )


def _place(size: int, taken: list[Map], processor: ProcessorSpec, *, high: bool) -> int | None:
    """Lowest or highest address with room, or None; where banks are switched off, in few of them."""
    gaps = [(start, stop) for start, stop in _gaps(taken, processor.activation_words) if stop - start >= size]
    if not gaps:
        return None
    if processor.switched:
        return _in_few_banks(size, taken, gaps, processor, high=high)
    return gaps[-1][1] - size if high else gaps[0][0]


def _in_few_banks(
    size: int, taken: list[Map], gaps: list[tuple[int, int]], processor: ProcessorSpec, *, high: bool
) -> int:
    """Address for which the fewest banks are on that no other map needs: at an end of a gap or of a bank."""
    width = processor.bank_words

    def banks(address: int, size: int) -> set[int]:
        return set(range(address // width, (address + size - 1) // width + 1))

    on = {bank for m in taken for bank in banks(m.address, m.size)}
    edges = range(0, processor.activation_words + 1, width)
    places = [start for start, _ in gaps] + [stop - size for _, stop in gaps]
    ends = [address for edge in edges for address in (edge, edge - size)]
    places += [address for address in ends if any(start <= address <= stop - size for start, stop in gaps)]
    return min(places, key=lambda address: (len(banks(address, size) - on), -address if high else address))


def _gaps(live: list[Map], words: int) -> list[tuple[int, int]]:
    """Free stretches ``(start, stop)`` of the buffer, in order."""
    edges = sorted((m.address, m.address + m.size) for m in live)
    starts = [0, *(stop for _, stop in edges)]
    stops = [*(start for start, _ in edges), words]
    return [(start, stop) for start, stop in zip(starts, stops, strict=True) if stop > start]


def split(total: int, most: int) -> list[tuple[int, int]]:
    """Start and length of the parts of ``total``, as even as possible, none above ``most``.

    >>> split(10, 4), split(3, 3)
    ([(0, 4), (4, 3), (7, 3)], [(0, 3)])
    """
    parts = -(-total // most)
    short, longer = divmod(total, parts)
    lengths = [short + (index < longer) for index in range(parts)]
    return [(sum(lengths[:index]), length) for index, length in enumerate(lengths)]
