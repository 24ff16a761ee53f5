"""Random networks for a parameter set, and inputs of all densities."""

from dataclasses import replace

import numpy as np
from rtl.narrow_networks import narrow_network
from rtl.random_networks import random_network, random_times, with_shifts

from firstspike.compiler import mapping
from firstspike.rtl.parameters import Parameters
from firstspike.spec import Network
from firstspike.spec.network import Layer, Synaptic


def draw(seed: int, parameters: Parameters) -> tuple[Network, np.ndarray]:
    """A network that the parameters' accumulators can hold, and five inputs: half, empty, all firing, all early, few.

    Where the processor has pixel groups, one of few channels.
    """
    attempt = 0
    while True:
        try:
            network = _network(1000 * attempt + seed, parameters)
            if parameters.channel_shifts:
                network = with_shifts(np.random.default_rng(seed), network)
            shifts = [network.shift(layer, part) for layer in network.synaptic for part in layer.connections]
            if parameters.largest_shift is not None and max(shifts) > parameters.largest_shift:
                raise ValueError("shifts must fit the design")
            if parameters.processor.packed_rows and seed % 3:
                network = thinned(network, seed)
            mapping.program(network, parameters.processor)
            break
        except ValueError as error:
            if "must fit" not in str(error):
                raise
            attempt += 1
    rng = np.random.default_rng(seed)
    times = [random_times(rng, network.code, (1, *network.input_shape), density) for density in (0.5, 0, 1, 1, 0.1)]
    times[3] = np.zeros_like(times[3])
    return network, np.concatenate(times)


def _network(seed: int, parameters: Parameters) -> Network:
    if parameters.processor.pixel_groups:
        return narrow_network(seed, parameters)
    return random_network(
        seed,
        parameters.code,
        parameters.weights,
        accumulator_bits=parameters.processor.accumulator_bits,
        octaves=None if parameters.largest_shift is None else 4,
    )


def thinned(network: Network, seed: int) -> Network:
    """The network with 60 or 93 % of its weights zero."""
    rng = np.random.default_rng(seed)
    share = (0.6, 0.93)[seed % 2]

    def thin(layer: Layer) -> Layer:
        if not isinstance(layer, Synaptic):
            return layer
        codes = layer.codes.copy()
        codes[rng.random(codes.shape) < share] = network.weights.zero_level
        return replace(layer, codes=codes, parts=tuple(thin(part) for part in layer.parts))

    return replace(network, layers=tuple(thin(layer) for layer in network.layers))
