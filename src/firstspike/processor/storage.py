"""Where every map of spike times lies in the activation buffer: channels last, whole words per pixel."""

from dataclasses import dataclass

from firstspike.spec.network import INPUT, Flatten, Network, Shape
from firstspike.spec.processor import Processor


@dataclass(frozen=True, kw_only=True)
class Map:
    """A stored map: ``pixel`` words per pixel, row-major; the last word's spare lanes are silent.

    Attributes:
        address: first word in the activation buffer.
        channels, height, width: extent; a vector is 1 x 1.
        pixel: words of a pixel: of spike times, or one per logit for the read-out.
        lanes: spike times in a word.
    """

    address: int
    channels: int
    height: int
    width: int
    pixel: int
    lanes: int

    @property
    def row(self) -> int:
        """Words of a row."""
        return self.width * self.pixel

    @property
    def size(self) -> int:
        """Words of the whole map."""
        return self.height * self.row


def allocate(network: Network, processor: Processor) -> dict[str, Map]:
    """Place the input and every layer's output for as long as a later layer reads it; flattening shares a place.

    Maps lie alternately at the lowest and the highest free address, so that a chain uses the buffer from both ends.

    Raises:
        ValueError: the maps do not fit the activation buffer; or a residual is a flattening of several pixels.
    """
    names = [INPUT, *(layer.name for layer in network.layers)]
    alias = {INPUT: INPUT}
    last_use = {INPUT: 0}
    for index, layer in enumerate(network.layers, start=1):
        alias[layer.name] = alias[layer.source] if isinstance(layer, Flatten) else layer.name
        for name in layer.inputs:
            last_use[alias[name]] = index
        last_use.setdefault(layer.name, index)
    last_use[network.layers[-1].name] = len(names)
    maps: dict[str, Map] = {}
    live: dict[str, Map] = {}
    for index, name in enumerate(names):
        if alias[name] != name:
            maps[name] = maps[alias[name]]
            continue
        live = {other: m for other, m in live.items() if last_use[other] >= index}
        logits = index == len(names) - 1
        maps[name] = live[name] = _place(
            name, network.shapes[name], processor, list(live.values()), index % 2 == 1, logits
        )
    for layer in network.layers:
        for name in layer.inputs[1:]:
            if alias[name] != name and maps[name].height * maps[name].width > 1:
                raise ValueError(
                    f"layer {layer.name!r}: the processor adds a residual in its stored order, "
                    f"not through the flattening {name!r}"
                )
    return maps


def _place(name: str, shape: Shape, processor: Processor, live: list[Map], high: bool, logits: bool) -> Map:
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    pixel = channels if logits else -(-channels // processor.lanes)
    size = height * width * pixel
    gaps = _gaps(live, processor.activation_words)
    fitting = [(start, stop) for start, stop in gaps if stop - start >= size]
    if not fitting:
        used = sum(m.size for m in live) * processor.lanes
        raise ValueError(
            f"layer {name!r}: its {size * processor.lanes} bytes must fit the activation buffer of "
            f"{processor.activation_buffer_kib * 1024} bytes beside {used} bytes still in use, "
            f"not a largest gap of {max((stop - start for start, stop in gaps), default=0) * processor.lanes} bytes"
        )
    address = fitting[-1][1] - size if high else fitting[0][0]
    return Map(address=address, channels=channels, height=height, width=width, pixel=pixel, lanes=processor.lanes)


def _gaps(live: list[Map], words: int) -> list[tuple[int, int]]:
    """Free stretches ``(start, stop)`` of the buffer, in order."""
    edges = sorted((m.address, m.address + m.size) for m in live)
    starts = [0, *(stop for _, stop in edges)]
    stops = [*(start for start, _ in edges), words]
    return [(start, stop) for start, stop in zip(starts, stops, strict=True) if stop > start]
