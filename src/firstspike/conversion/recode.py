"""A network in another code or weight format, after training: weights to the nearest new level, biases to the new grid."""

from dataclasses import replace

import numpy as np
import torch

from firstspike.arith import Code, LogWeights, decode_weights, encode_weights, membrane_exponent
from firstspike.cat.layers import nearest_level
from firstspike.cat.quantiser import best_scale, level_index, rising_levels
from firstspike.spec.network import Conv2d, Layer, Network, Synaptic


def recode(network: Network, *, code: Code, weights: LogWeights) -> Network:
    """The network with spikes in ``code`` and weights in the format ``weights``.

    Weights go to the nearest level at the scale of least squared error, without the room for membranes that training
    leaves; where only the mantissas of the levels change, each weight keeps its level. An average that is a layer of its
    own takes the new level nearest to its ``1/n`` (numerics, section 4). Biases are rounded to the new grid ``2^-G``
    (section 3). Another code of the input (section 6) is one too. Nothing is trained again. In its own code and format a
    network stays as it is.

    Raises:
        ValueError: a layer does not fit; the text names the layer, the rule and the value.
    """
    if code == network.code and weights == network.weights:
        return network
    layers = tuple(_layer(layer, network, code, weights) for layer in network.layers)
    return replace(network, code=code, weights=weights, layers=layers)


def _layer(layer: Layer, network: Network, code: Code, weights: LogWeights) -> Layer:
    if not isinstance(layer, Synaptic):
        return layer
    own, *parts = (_connection(connection, network, code, weights) for connection in layer.connections)
    exponent = max(
        membrane_exponent(code, weights, one.scale, planes=code.planes and one.source in network.input_maps)
        for one in (own, *parts)
    )
    scaled = np.ldexp(layer.bias.astype(np.longdouble), exponent - network.exponent(layer))
    if (np.abs(scaled) >= 2.0**62).any():
        raise ValueError(
            f"layer {layer.name!r}: its bias must be below 2^62 steps, not {float(np.abs(scaled).max())!r}"
        )
    return replace(own, bias=np.rint(scaled).astype(np.int64), parts=tuple(parts))


def _connection(layer: Synaptic, network: Network, code: Code, weights: LogWeights) -> Synaptic:
    """A connection with its weights on the levels of the new format."""
    codes, scale, old = layer.codes, layer.scale, network.weights
    planes = code.planes and layer.source in network.input_maps
    pixels = _averaged(layer, old)
    if pixels:
        level = nearest_level(pixels, weights)
        q = min(level, weights.q_max)
        codes, scale = np.full_like(codes, q), level - q
    elif (weights.bits, weights.levels_per_octave) != (old.bits, old.levels_per_octave):
        values = torch.from_numpy(decode_weights(codes, old, scale))
        scale = best_scale(values, code, weights, accumulator_bits=network.accumulator_bits, planes=planes)
        index = level_index(values, rising_levels(weights, scale)[1]).numpy().astype(np.int64)
        codes = encode_weights(weights.zero_level - index, values.numpy() < 0, weights)
    return replace(layer, codes=codes, scale=scale)


def _averaged(layer: Synaptic, weights: LogWeights) -> int:
    """Inputs of a layer that `firstspike.convert` makes of an average: one channel a group, all weights one level; or 0."""
    codes = layer.codes
    if not isinstance(layer, Conv2d) or codes.shape[1] != 1 or layer.groups != layer.outputs or layer.bias.any():
        return 0
    pixels = codes[0, 0].size
    level = nearest_level(pixels, weights)
    q = min(level, weights.q_max)
    return pixels if layer.scale == level - q and bool((codes == q).all()) else 0


def thin(network: Network, share: float) -> Network:
    """The network with a share of every layer's weights zero, those of least magnitude, but of the first layer's.

    A layer whose weights are all one, an average, keeps them.
    """
    zero, first = network.weights.zero_level, network.synaptic[0].name

    def thinned(layer: Synaptic) -> Synaptic:
        codes = layer.codes.copy()
        if np.ptp(codes):
            order = np.argsort(-(codes & zero).astype(np.int64), axis=None, kind="stable")
            codes.reshape(-1)[order[: round(share * codes.size)]] = zero
        return replace(layer, codes=codes, parts=tuple(thinned(part) for part in layer.parts))

    layers = (
        thinned(layer) if isinstance(layer, Synaptic) and layer.name != first else layer for layer in network.layers
    )
    return replace(network, layers=tuple(layers)) if share else network
