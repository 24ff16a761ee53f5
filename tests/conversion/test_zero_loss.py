"""Zero conversion loss: random PyTorch networks in float64, the integer network and the oracle, spike for spike."""

from copy import deepcopy
from fractions import Fraction

import numpy as np
import torch
from engine.networks import codes, params, plain, weight_formats
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from oracles import network as oracle
from oracles import tables

from conversion.modules import SEEDS, RandomNet, Shape, plain_networks
from firstspike.arith import Code, LogWeights
from firstspike.cat.layers import AveragePool, Synapses, WeightScale
from firstspike.cat.prepare import UnsupportedError, prepare
from firstspike.cat.prepared import Prepared
from firstspike.conversion import ConversionError, lower
from firstspike.converter import convert
from firstspike.spec import INPUT, Conv2d, Linear, Network, Synaptic
from firstspike.spiking import SpikingNetwork

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
FORMATS = st.one_of(st.just((Code(), LogWeights())), st.tuples(codes(), weight_formats()))
NARROW = ("must fit 32 bits", "must fit 48 bits", "needs G >=", "must have products of at most 62 bits")


def images(shape: Shape, code: Code, seed: int, style: str) -> np.ndarray:
    """Two images: any numbers, pixels of 8 bits, or numbers at a tie and just below one."""
    rng = np.random.default_rng(seed)
    ties = rng.choice([float(code.kappa(t)) for t in range(code.T)], (2, *shape))
    return {
        "any": rng.random((2, *shape)),
        "bytes": rng.integers(0, 256, (2, *shape)).astype(np.float32) / np.float32(255),
        "ties": np.where(rng.random((2, *shape)) < 0.5, ties, np.nextafter(ties, 0)),
    }[style]


def converted(
    net: RandomNet, x: np.ndarray, formats: tuple[Code, LogWeights], bits: int, way: WeightScale = "layer"
) -> tuple[Prepared, SpikingNetwork]:
    """The prepared network in its last stage and the integer one; the example is another than what is tested."""
    try:
        prepared = prepare(net, example=x, code=formats[0], weights=formats[1], accumulator_bits=bits, weight_scale=way)
    except UnsupportedError as error:
        if "input planes must be read by" not in str(error):
            raise
        reject()
    prepared.stage = "quantised"
    try:
        return prepared, convert(prepared, example=np.zeros((1, *x.shape[1:])))
    except ConversionError as error:
        if not any(text in str(error) for text in NARROW):
            raise
        event("too wide for the accumulator")
        reject()


def times_of(values: torch.Tensor, code: Code, *, planes: bool = False) -> np.ndarray:
    """Spike times of decoded values, which must be kernel values or 0 exactly; of each plane of p / 256."""
    if planes:
        pixels = (values * 256).numpy().astype(np.uint8)
        assert np.array_equal(pixels / 256, values.numpy())
        return np.stack([255 - (pixels >> (7 - j) & 1) * 255 for j in range(8)], axis=-1)
    p = params(code, LogWeights())
    table = {float(tables.kappa(t, p)): t for t in range(code.T)} | {0.0: tables.NO_SPIKE}
    return np.array([table[value] for value in values.flatten().tolist()], dtype=np.uint8).reshape(values.shape)


@settings(SLOW, max_examples=200)
@given(
    plain_networks(),
    FORMATS,
    st.sampled_from([32, 48]),
    SEEDS,
    st.sampled_from(["any", "bytes", "ties"]),
    st.sampled_from(["layer", "channel"]),
)
def test_torch_integers_and_oracle_agree_in_every_neuron(
    drawn: tuple[RandomNet, Shape],
    formats: tuple[Code, LogWeights],
    bits: int,
    seed: int,
    style: str,
    way: WeightScale,
) -> None:
    net, shape = drawn
    x = images(shape, formats[0], seed, style)
    prepared, snn = converted(net, x, formats, bits, way)
    network = snn.network
    event(f"shifts: {any(any(layer.shifts) for layer in network.synaptic)}")
    with torch.no_grad():
        expected = prepared.double().eval().spike_values(torch.from_numpy(x).double())
    trace = snn.trace(x)
    last = network.synaptic[-1]
    compared = set()
    for name, layer in trace.layers.items():
        if name == INPUT and formats[0].planes:
            neurons = times_of(expected[name], formats[0], planes=True)
            assert np.array_equal(np.moveaxis(neurons, -1, 2).reshape(layer.times.shape), layer.times)
        elif name in expected and layer.times is not None and network.planes(name) == 1:
            assert np.array_equal(times_of(expected[name].reshape(layer.times.shape), formats[0]), layer.times), name
            compared.add(name)
    assert {layer.name for layer in network.synaptic} - {last.name} <= compared  # no neuron was left out
    unit = tables.power_of_two(-network.exponent(last))
    logits = expected[prepared.steps[-1].name].flatten(1).tolist()
    assert [[Fraction(v) for v in row] for row in logits] == [[u * unit for u in row] for row in trace.logits.tolist()]
    assert np.array_equal(snn(x), trace.logits)
    written = plain(network)
    for index, image in enumerate(x):
        result = oracle.run(written, image)
        for name, layer in trace.layers.items():
            if name == INPUT and formats[0].planes:
                times = layer.times[index].reshape(shape[0], 8, -1).transpose(0, 2, 1)
                assert times.flatten().tolist() == result.times[name]
            elif layer.times is not None and network.planes(name) == 1:
                assert layer.times[index].flatten().tolist() == result.times[name], name
            if name in result.sops:
                assert int(layer.sops[index]) == result.sops[name], name
                assert int(layer.sops_nonzero[index]) == result.sops_nonzero[name], name
            assert layer.neuron == (name in result.spikes)
            if layer.neuron:
                assert int(layer.spikes[index]) == result.spikes[name], name
        assert trace.logits[index].tolist() == result.logits
        assert int(trace.predictions[index]) == result.label
        assert trace.neurons == sum(result.neurons.values())
    event(f"input {formats[0].input}")
    for kind in net.kinds:
        event(kind)
    hidden = [layer for name, layer in trace.layers.items() if layer.neuron and name != INPUT]
    share = sum(int(layer.spikes.sum()) for layer in hidden) / max(1, sum(layer.times.size for layer in hidden))  # type: ignore[union-attr]
    event(
        f"hidden neurons that fire: {'none' if share == 0 else 'some' if share < 1 else 'all'}"
        if hidden
        else "no hidden layer"
    )
    if any(step.merges and step.name not in trace.layers for step in prepared.steps):
        event("merged average")


@settings(SLOW, max_examples=80)
@given(plain_networks(max_steps=3), FORMATS)
def test_codes_and_biases_are_the_independent_quantisers(
    drawn: tuple[RandomNet, Shape], formats: tuple[Code, LogWeights]
) -> None:
    net, shape = drawn
    prepared, snn = converted(net, np.zeros((1, *shape)), formats, 48)
    network = snn.network
    biases: dict[str, tuple[list[int], int]] = {}
    for name, layer in prepared.layers.items():
        if isinstance(layer, Synapses):
            found = network.connection(name)
            assert isinstance(found, Conv2d | Linear)
            biases[name] = check_layer(layer, found, network, window(prepared, name, network))
    for found in network.synaptic:
        own = [biases[one.name] for one in found.connections if one.name in biases]
        if own:  # an average has no module of weights
            finest = max(exponent for _, exponent in own)
            assert network.exponent(found) == finest
            sums = zip(*([b << (finest - exponent) for b in bias] for bias, exponent in own), strict=True)
            assert found.bias.tolist() == [sum(terms) for terms in sums]


def window(prepared: Prepared, name: str, network: Network) -> tuple[int, int]:
    """The window of the average that merged into a layer, (1, 1) where none did."""
    steps = {step.name: step for step in prepared.steps}
    source = steps.get(steps[name].source)
    while source is not None and source.kind in ("flatten", "dropout"):
        source = steps.get(source.source)
    if source is None or source.kind != "average" or source.name in network.shapes:
        return (1, 1)
    pool = prepared.layers[source.name]
    assert isinstance(pool, AveragePool)
    before = network.shapes[network.connection(name).source]
    if len(before) == 1:  # a flatten of the image itself stands between
        before = network.shapes[network.layer(network.connection(name).source).source]
    event("merged average")
    return pool.kernel or (before[1], before[2])


def check_layer(
    layer: Synapses, found: Conv2d | Linear, network: Network, merged: tuple[int, int]
) -> tuple[list[int], int]:
    """Weights, the norm folded as docs/reference/numerics.md says, then the nearest level; the bias and its exponent."""
    p = params(network.code, network.weights)
    weight = layer.linear.weight.detach()
    bias = torch.zeros(len(weight), dtype=torch.float64) if layer.linear.bias is None else layer.linear.bias.detach()
    if layer.norm is not None:
        norm = layer.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gamma = norm.weight.detach() if norm.affine else torch.ones(len(weight), dtype=torch.float64)
        beta = norm.bias.detach() if norm.affine else torch.zeros(len(weight), dtype=torch.float64)
        factor = (norm.running_var + norm.eps).rsqrt() * gamma
        weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
        bias = (bias - norm.running_mean) * factor + beta
    scale = int(layer.scale)
    octaves = (merged[0] * merged[1]).bit_length() - 1
    assert found.scale == scale + octaves * p.rho
    values = {tables.weight(q, 0, scale, p) for q in range(p.zero_level + 1)}
    if isinstance(found, Conv2d):
        weight = weight.repeat_interleave(merged[0], 2).repeat_interleave(merged[1], 3)
    elif merged != (1, 1):
        channels, height, width = network.shapes[network.layer(found.source).source]
        grid = weight.reshape(len(weight), channels, height // merged[0], width // merged[1])
        weight = grid.repeat_interleave(merged[0], 2).repeat_interleave(merged[1], 3).flatten(1)
    assert found.codes.shape == weight.shape
    taken = [tables.unpack(int(c), p) for c in found.codes.flatten()]
    for (q, sign), value in zip(taken, weight.flatten().tolist(), strict=True):
        exact = abs(Fraction(value))
        best = min(values, key=lambda level: (abs(level - exact), -level))
        assert tables.weight(q, 0, scale, p) == best
        assert sign == (value < 0 and best != 0)
    exponent = tables.exponent_of_planes(scale, p) if layer.planes else tables.exponent_g(scale, p)
    return [tables.integer_bias(b, exponent) << octaves for b in bias.tolist()], exponent + octaves


@settings(SLOW, max_examples=30)
@given(plain_networks(max_steps=3), SEEDS)
def test_codes_do_not_depend_on_the_type_of_the_parameters(drawn: tuple[RandomNet, Shape], seed: int) -> None:
    net, shape = drawn
    prepared = prepare(net.float(), example=torch.zeros(1, *shape), accumulator_bits=48)
    prepared.stage = "quantised"
    double = deepcopy(prepared).double()
    try:
        networks = [lower(p, shape) for p in (prepared, prepared.train(), double, double.eval())]
    except ConversionError as error:
        if not any(text in str(error) for text in NARROW):
            raise
        reject()
    for other in networks[1:]:
        for layer, twin in zip(networks[0].layers, other.layers, strict=True):
            assert layer.name == twin.name
            if isinstance(layer, Synaptic):
                assert isinstance(twin, Synaptic)
                assert np.array_equal(layer.codes, twin.codes)
                assert np.array_equal(layer.bias, twin.bias)
                assert layer.scale == twin.scale
    x = torch.from_numpy(images(shape, Code(), seed, "any")).float()
    with torch.no_grad():
        first = prepared.eval().spike_values(x)[INPUT]
        assert torch.equal(first.double(), double.eval().spike_values(x.double())[INPUT])
