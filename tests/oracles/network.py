"""A slow evaluator of plain networks, in two ways.

A plain network is ``{"params": Params, "input_shape": (C, H, W) or (N,), "layers": [layer, ...]}``. The layers stand in
an order in which every layer follows its inputs; the network input is called ``"input"``. Where ``params.planes`` is
set, its times (and those of a flattening of it) are those of eight neurons a pixel, one after the other, although its
shape is that of the pixels: neuron ``8 i + j`` is plane ``j`` of pixel ``i``. The constructors ``conv2d``,
``linear``, ``maxpool2d`` and ``flatten`` make the layers, which are plain dicts.

``run`` sums integers: for each neuron, over the synapses that it has, in A-bit two's complement (section 3).
``run_exact`` sums fractions: for each spike, over the synapses that it reaches, weights times decoded values, and
compares with kappa itself (sections 1 and 2). Where no membrane overflows, both give the same spikes.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product as grid
from math import prod
from typing import Any

from . import tables
from .layers import (
    KEYS,
    WEIGHTED,
    Layer,
    Shape,
    avgpool2d_codes,
    channels,
    conv2d,
    flat,
    flatten,
    linear,
    maxpool2d,
    output_shape,
    pixelshuffle,
    plain,
    pool,
    synapses_of_neuron,
    synapses_of_spike,
)
from .tables import NO_SPIKE, Params

__all__ = [
    "Result",
    "avgpool2d_codes",
    "channels",
    "check",
    "conv2d",
    "encode_pixels",
    "exponent",
    "fits",
    "flatten",
    "linear",
    "maxpool2d",
    "membrane_bounds",
    "pixelshuffle",
    "plane_maps",
    "run",
    "run_exact",
    "run_times",
]

Network = dict[str, Any]


@dataclass
class Result:
    """What one sample does. Lists are flattened in C order; ``shapes`` tells the shape of each.

    ``times`` has the input, every spiking layer and every pooling or flattening layer; 255 is no spike. ``membranes``
    has every weighted layer: integers after wrapping from ``run``, real values from ``run_exact``. ``logits`` are the
    membranes of the layer that does not fire, and ``label`` is their argmax, the lowest index on a tie; both are None
    where all layers fire. Counts (section 5): ``sops`` has every weighted layer, ``sops_nonzero`` the same without the
    zero weights, ``residual_adds`` the additions by residual spikes, which are in neither; ``spikes`` and ``neurons``
    have the input and every spiking layer, no pooling or flattening.
    """

    shapes: dict[str, Shape] = field(default_factory=dict)
    times: dict[str, list[int]] = field(default_factory=dict)
    membranes: dict[str, list[Any]] = field(default_factory=dict)
    sops: dict[str, int] = field(default_factory=dict)
    sops_nonzero: dict[str, int] = field(default_factory=dict)
    residual_adds: dict[str, int] = field(default_factory=dict)
    spikes: dict[str, int] = field(default_factory=dict)
    neurons: dict[str, int] = field(default_factory=dict)
    logits: list[Any] | None = None
    label: int | None = None

    def spikes_per_neuron(self) -> Fraction:
        """Spikes of the input and of spiking layers, over all such neurons."""
        return Fraction(sum(self.spikes.values()), sum(self.neurons.values()))


# ---- checks -------------------------------------------------------------------------------------------------------


def check(network: Network) -> dict[str, Shape]:
    """The shape of every layer's output; ValueError where the network is not one of the contract."""
    if set(network) != {"params", "input_shape", "layers"}:
        raise ValueError(f"network must have params, input_shape and layers, not {sorted(network)!r}")
    params: Params = network["params"]
    shapes: dict[str, Shape] = {"input": tuple(network["input_shape"])}
    bits = plane_maps(network)
    for position, layer in enumerate(network["layers"]):
        name, kind = layer["name"], layer["kind"]
        if kind not in KEYS or set(layer) != KEYS[kind]:
            raise ValueError(f"layer {name!r} must be of a known kind with its keys, not {kind!r}, {sorted(layer)!r}")
        unknown = [source for source in (*layer["inputs"], *layer.get("residual", ())) if source not in shapes]
        if name in shapes or not layer["inputs"] or unknown:
            raise ValueError(f"layer {name!r} must have a new name and one earlier input, not {layer['inputs']!r}")
        if kind == "channels":
            shapes[name] = channels_shape(layer, [shapes[source] for source in layer["inputs"]])
            if bits & set(layer["inputs"]):
                raise ValueError(f"layer {name!r} must read numbers, not the bits of the input")
            continue
        if len(layer["inputs"]) != 1:
            raise ValueError(f"layer {name!r} must have a new name and one earlier input, not {layer['inputs']!r}")
        shapes[name] = output_shape(layer, shapes[layer["inputs"][0]])
        for part in layer.get("parts", ()):
            if part["kind"] not in WEIGHTED or part["inputs"][0] not in shapes:
                raise ValueError(f"part {part['name']!r} of {name!r} must be weighted and read an earlier layer")
            if output_shape(part, shapes[part["inputs"][0]]) != shapes[name]:
                raise ValueError(f"part {part['name']!r} of {name!r} must have the shape {shapes[name]!r}")
            for code in flat(part["codes"]):
                tables.unpack(code, params)
        if (kind in ("maxpool2d", "pixelshuffle") and layer["inputs"][0] in bits) or bits & set(
            layer.get("residual", ())
        ):
            raise ValueError(f"layer {name!r} must read numbers, not the bits of the input")
        if kind not in WEIGHTED:
            continue
        for code in flat(layer["codes"]):
            tables.unpack(code, params)
        if type(layer["k"]) is not int:
            raise TypeError(f"k of {name!r} must be an int, not {layer['k']!r}")
        if len(layer["bias"]) != shapes[name][0] or not all(type(b) is int for b in layer["bias"]):
            raise ValueError(f"bias of {name!r} must be {shapes[name][0]} integers, not {layer['bias']!r}")
        if any(shapes[source] != shapes[name] for source in layer["residual"]):
            raise ValueError(f"residual of {name!r} must have the shape {shapes[name]!r}, not {layer['residual']!r}")
        check_shifts(layer, bits, params)
        if not layer["fires"] and position != len(network["layers"]) - 1:
            raise ValueError(f"layer {name!r} must fire, for only the last layer may not")
    return shapes


def check_shifts(layer: Layer, bits: set[str], params: Params) -> None:
    """ValueError where a layer's shifts are not those of section 8."""
    name, shifts = layer["name"], layer["shifts"]
    if len(shifts) != len(layer["bias"]) or any(type(s) is not int or s not in range(8) for s in shifts):
        raise ValueError(f"shifts of {name!r} must be {len(layer['bias'])} integers in 0 .. 7, not {shifts!r}")
    if any(any(part["shifts"]) for part in layer["parts"]):
        raise ValueError(f"parts of {name!r} must have no shifts of their own")
    if not any(shifts):
        return
    if layer["residual"] or not layer["fires"]:
        raise ValueError(f"layer {name!r} must have no residual and fire, for it has shifts")
    G = exponent(layer, bits, params)
    if any((tables.kappa(t, params) * tables.power_of_two(G)).denominator != 1 for t in range(params.T)):
        raise ValueError(f"thresholds of {name!r} must be exact for shifts, not at G = {G!r}")


def plane_maps(network: Network) -> set[str]:
    """Names of the maps whose neurons are the input's planes."""
    names = {"input"} if network["params"].planes else set()
    for layer in network["layers"]:
        if layer["kind"] == "flatten" and layer["inputs"][0] in names:
            names.add(layer["name"])
    return names


def own_exponent(layer: Layer, bits: set[str], params: Params) -> int:
    """G of a connection by itself, ``bits`` being `plane_maps`."""
    of = tables.exponent_of_planes if layer["inputs"][0] in bits else tables.exponent_g
    return of(layer["k"], params)


def exponent(layer: Layer, bits: set[str], params: Params) -> int:
    """G of a weighted layer: the finest of its connections' grids."""
    return max(own_exponent(part, bits, params) for part in connections(layer))


def connections(layer: Layer) -> list[Layer]:
    """A weighted layer's own connection and its parts."""
    return [layer, *layer["parts"]]


def channels_shape(layer: Layer, shapes: list[Shape]) -> Shape:
    """The shape of rearranged channels; ValueError where the maps differ in rows or columns, or a channel is not there."""
    total = sum(shape[0] for shape in shapes)
    wrong = [pick for pick in layer["channels"] if pick is not None and pick not in range(total)]
    if len({shape[1:] for shape in shapes}) != 1 or not layer["channels"] or wrong:
        raise ValueError(f"layer {layer['name']!r} must take channels of maps of one size, not {shapes!r}")
    return (len(layer["channels"]), *shapes[0][1:])


def membrane_bounds(layer: Layer, params: Params, bits: set[str] = frozenset()) -> tuple[int, int]:  # type: ignore
    """(least, greatest) membrane: bias plus all negative, or all positive, products at t = 0.

    Each output channel has all its synapses here, also those that padding takes from neurons at the border. A
    residual input adds up to 2^G to the greatest.
    """
    G = exponent(layer, bits, params)
    extra = len(layer["residual"]) * tables.residual(0, G, params) if layer["residual"] else 0
    low, high = [], []
    for o, b in enumerate(layer["bias"]):
        terms = []
        for part in connections(layer):
            finer = 2 ** (G - own_exponent(part, bits, params))
            for code in flat(part["codes"][o]):
                q, sign = tables.unpack(code, params)
                if part["inputs"][0] in bits:
                    terms += [finer * tables.plane_product(q, j, sign, part["k"], params) for j in range(8)]
                else:
                    terms.append(finer * tables.product(q, 0, sign, part["k"], params))
        low.append(b + sum(term for term in terms if term < 0))
        high.append(b + sum(term for term in terms if term > 0) + extra)
    return min(low), max(high)


def fits(layer: Layer, params: Params, bits: set[str] = frozenset()) -> bool:  # type: ignore
    """Whether no membrane of the layer can overflow A bits."""
    low, high = membrane_bounds(layer, params, bits)
    return tables.wrap(low, params.A) == low and tables.wrap(high, params.A) == high


# ---- evaluation ---------------------------------------------------------------------------------------------------


def encode_pixels(pixels: Any, params: Params) -> list[int]:
    """The bytes of pixels in [0, 1], each a float, an int or a Fraction, of any nesting, in C order."""
    values = [Fraction(pixel) for pixel in flat(plain(pixels))]
    outside = [value for value in values if not 0 <= value <= 1]
    if outside:
        raise ValueError(f"pixels must be in [0, 1], not {outside[0]!r}")
    if params.planes:
        return [0 if fires else NO_SPIKE for value in values for fires in tables.plane_bits(value)]
    return [tables.time_byte(tables.encode(value, params)) for value in values]


def start(network: Network, times: Any) -> Result:
    """A result with the shapes and the input's spikes."""
    result = Result(shapes=check(network))
    flat_times = flat(plain(times))
    planes = network["params"].planes
    neurons = prod(result.shapes["input"]) * (8 if planes else 1)
    if len(flat_times) != neurons:
        raise ValueError(f"input must have {neurons} values, not {len(flat_times)}")
    T = 1 if planes else network["params"].T
    wrong = [t for t in flat_times if type(t) is not int or not (t == NO_SPIKE or 0 <= t < T)]
    if wrong:
        raise ValueError(f"times must be in 0 .. {T - 1} or {NO_SPIKE}, not {wrong[0]!r}")
    add_spikes(result, "input", flat_times)
    return result


def add_spikes(result: Result, name: str, times: list[int]) -> None:
    """Enter the spikes of the input or of a spiking layer, and count them."""
    result.times[name] = times
    result.spikes[name] = sum(t != NO_SPIKE for t in times)
    result.neurons[name] = len(times)


def finish(result: Result, layer: Layer, u: list[Any], times: list[int]) -> None:
    """Enter a weighted layer's membranes, and its spikes or its logits and the class."""
    result.membranes[layer["name"]] = u
    if layer["fires"]:
        add_spikes(result, layer["name"], times)
    else:
        result.logits = u
        result.label = u.index(max(u))


def unweighted(result: Result, layer: Layer) -> None:
    """Max pooling, flattening and rearranging channels, which compute nothing."""
    name, source = layer["name"], layer["inputs"][0]
    if layer["kind"] == "channels":
        area = prod(result.shapes[name][1:])
        behind = [t for other in layer["inputs"] for t in result.times[other]]
        picked = [
            [NO_SPIKE] * area if pick is None else behind[pick * area : (pick + 1) * area] for pick in layer["channels"]
        ]
        result.times[name] = [t for one in picked for t in one]
        return
    times = result.times[source]
    if layer["kind"] == "pixelshuffle":
        (rows, columns), (_, height, width) = layer["factor"], result.shapes[source]
        moved = []
        for c, y, x in grid(*map(range, result.shapes[name])):
            channel = (c * rows + y % rows) * columns + x % columns
            moved.append(times[(channel * height + y // rows) * width + x // columns])
        times = moved
    if layer["kind"] == "maxpool2d":
        times = pool(layer, times, result.shapes[source], result.shapes[name])
    result.times[name] = times


def run(network: Network, pixels: Any) -> Result:
    """Evaluate one sample, ``pixels`` in [0, 1], by the integers of section 3."""
    return run_times(network, encode_pixels(pixels, network["params"]))


def run_times(network: Network, times: Any) -> Result:
    """``run`` on spike times (bytes) of the input instead of pixels."""
    params: Params = network["params"]
    result = start(network, times)
    bits = plane_maps(network)
    for layer in network["layers"]:
        if layer["kind"] not in WEIGHTED:
            unweighted(result, layer)
            continue
        name = layer["name"]
        G = exponent(layer, bits, params)
        theta = tables.thresholds(G, params)
        membranes: list[int] = []
        sops = nonzero = adds = 0
        for index, out in enumerate(grid(*map(range, result.shapes[name]))):
            u = layer["bias"][out[0]]
            for part in connections(layer):
                source, k = part["inputs"][0], part["k"]
                arriving, finer = result.times[source], 2 ** (G - own_exponent(part, bits, params))
                for i, code in synapses_of_neuron(part, result.shapes[source], out):
                    q, sign = tables.unpack(code, params)
                    if source in bits:
                        fired = [j for j in range(8) if arriving[8 * i + j] != NO_SPIKE]
                        products = [tables.plane_product(q, j, sign, k, params) for j in fired]
                    elif arriving[i] == NO_SPIKE:
                        continue
                    else:
                        products = [tables.product(q, arriving[i], sign, k, params)]
                    u += finer * sum(products)
                    sops += len(products)
                    nonzero += len(products) * (q != params.zero_level)
            for other in layer["residual"]:
                t = result.times[other][index]
                if t != NO_SPIKE:
                    u += tables.residual(t, G, params)
                    adds += 1
            membranes.append(tables.wrap(u, params.A))
        result.sops[name], result.sops_nonzero[name], result.residual_adds[name] = sops, nonzero, adds
        area = prod(result.shapes[name][1:])
        shifted = [u // 2 ** layer["shifts"][index // area] for index, u in enumerate(membranes)]
        finish(result, layer, membranes, [tables.time_byte(tables.fire(u, theta)) for u in shifted])
    return result


def run_exact(network: Network, pixels: Any) -> Result:
    """Evaluate one sample by real values: fractions without limit, so nothing wraps. Membranes and logits are real."""
    params: Params = network["params"]
    result = start(network, encode_pixels(pixels, params))
    bits = plane_maps(network)
    for layer in network["layers"]:
        if layer["kind"] not in WEIGHTED:
            unweighted(result, layer)
            continue
        name = layer["name"]
        out_shape = result.shapes[name]
        G = exponent(layer, bits, params)
        area = prod(out_shape[1:])
        finer = [tables.power_of_two(-layer["shifts"][index // area]) for index in range(prod(out_shape))]
        u = [layer["bias"][i // area] * tables.power_of_two(-G) * finer[i] for i in range(prod(out_shape))]
        sops = nonzero = adds = 0
        for part in connections(layer):
            source = part["inputs"][0]
            shape = result.shapes[source]
            neurons = grid(*map(range, shape), range(8 if source in bits else 1))
            for t, (*spiking, plane) in zip(result.times[source], neurons, strict=True):
                if t == NO_SPIKE:
                    continue
                value = tables.plane_value(plane) if source in bits else tables.decode(t, params)
                for index, code in synapses_of_spike(part, shape, out_shape, tuple(spiking)):
                    q, sign = tables.unpack(code, params)
                    w = tables.weight(q, sign, part["k"], params) * finer[index]
                    u[index] += w * value
                    sops += 1
                    nonzero += w != 0
        for other in layer["residual"]:
            for index, t in enumerate(result.times[other]):
                u[index] += tables.decode(t, params)
                adds += t != NO_SPIKE
        result.sops[name], result.sops_nonzero[name], result.residual_adds[name] = sops, nonzero, adds
        finish(result, layer, u, [tables.time_byte(tables.encode(value, params)) for value in u])
    return result
