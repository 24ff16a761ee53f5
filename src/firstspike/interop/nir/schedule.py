"""`integrate_and_fire`: a network as a NIR graph of nodes that others know, with the schedule of its windows as metadata.

An integrate-and-fire neuron has a constant threshold ``C``. It becomes one that fires once at a falling threshold by a
current that all neurons of a layer share: at the first step of its window ``C - theta(0)``, at each later step
``theta(t-1) - theta(t)``, so that ``v >= C`` just when ``u >= theta(t)``. ``C`` is above every membrane: after its spike a
neuron, reset by ``C`` or to 0, never fires again. A spike at ``t`` stands for ``kappa(t)``: a layer's output is multiplied
by a gain that all its neurons share. Current and gain are known beforehand, and the same for every image.
"""

import nir
import numpy as np

from firstspike.arith import kernel
from firstspike.spec import network as spec
from firstspike.spec.limits import Shape
from firstspike.spec.network import INPUT, Network, Synaptic
from firstspike.spiking import SpikingNetwork

DT = 1e-4
"""Seconds of a step; resistances are ``1 / DT``, so that a current of 1 adds 1 to a membrane in a step."""


def integrate_and_fire(snn: SpikingNetwork | Network) -> nir.NIRGraph:
    """A network as a graph of ``Conv2d``, ``Linear``, ``SumPool2d``, ``Flatten``, ``IF`` and, for the logits, ``I``.

    Its metadata holds for every neuron node, under ``schedule``: ``name`` of the network's layer; ``current``, float64
    ``[steps]``, to be added to the input of all its neurons in each step; ``bias``, by channel, to be added in the first step;
    ``gain``, ``[steps]``, to multiply its spikes with in each step. The input receives in step ``t < T`` the kernel value of
    each pixel that fires then (with input planes, ``p / 256`` in step 0). After ``latency_steps`` steps the membranes of ``I``
    are the logits.

    In float64 a simulator that steps through time has the same spikes and logits as the engines, whether it fires at ``v >=
    C`` or at ``v > C``: no membrane comes nearer to ``C`` than half a unit.

    Raises:
        ValueError: a layer has no counterpart; the text names it.
    """
    return _Mapper(snn.network if isinstance(snn, SpikingNetwork) else snn).graph()


class _Mapper:
    """Adds nodes; ``ends`` names for every map the node that gives it, ``depth`` the window in which it fires."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.kernel = kernel(network.code)
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.ends: dict[str, str] = {}
        self.depth = {INPUT: 0}
        for layer in network.layers:
            fires = isinstance(layer, Synaptic) and layer.fires
            self.depth[layer.name] = max(self.depth[name] for name in layer.inputs) + fires
        # the read-out needs latency_steps; a branch that nobody reads may be deeper
        self.steps = (max(self.depth.values()) + 1) * network.code.T
        self.schedule: dict[str, dict[str, np.ndarray | str]] = {}

    def graph(self) -> nir.NIRGraph:
        shape = np.array(self.network.input_shape)
        self.ends[INPUT] = self._add(nir.Input(input_type={"input": shape}))
        for layer in self.network.layers:
            self._layer(layer)
        last = self.network.layers[-1].name
        output = nir.Output(output_type={"output": np.array(self.network.shapes[last])})
        self._add(output, self.ends[last])
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata={"schedule": self.schedule})

    def _add(self, node: nir.NIRNode, *sources: str) -> str:
        name = f"{len(self.nodes)}_{type(node).__name__.lower()}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def _layer(self, layer: spec.Layer) -> None:
        source, shapes = self.ends[layer.source], self.network.shapes
        if isinstance(layer, Synaptic):
            self._synaptic(layer)
        elif isinstance(layer, spec.Flatten):
            shape = np.array(shapes[layer.source])
            flat = nir.Flatten(input_type={"input": shape}, start_dim=0, end_dim=-1)
            self.ends[layer.name] = self._add(flat, source)
        elif isinstance(layer, spec.MaxPool2d):
            sizes = map(np.array, (layer.kernel, layer.stride, layer.padding))
            sums = self._add(nir.SumPool2d(*sizes), source)
            self.ends[layer.name] = self._pooled(layer, sums)
        elif isinstance(layer, spec.PixelShuffle):
            raise ValueError(
                f"layer {layer.name!r}: a pixel shuffle has no node in NIR; write the graph with neurons='ttfs'"
            )
        else:
            assert isinstance(layer, spec.Channels)
            self.ends[layer.name] = self._channels(layer)

    def _channels(self, layer: spec.Channels) -> str:
        """Weights of 1 from the channels that are taken, for each map that is read; their sums meet in neurons."""
        shapes, first, made = self.network.shapes, 0, []
        for name in layer.inputs:
            count = shapes[name][0]
            weight = np.array([[float(channel == first + one) for one in range(count)] for channel in layer.channels])
            made.append(self._add(self._weights(weight, shapes[name]), self.ends[name]))
            first += count
        return self._pooled(layer, *made)

    def _weights(self, weight: np.ndarray, shape: Shape) -> nir.NIRNode:
        """A linear layer, or a convolution of one pixel."""
        if len(shape) == 1:
            return nir.Linear(weight=weight)
        zeros = np.zeros(len(weight))
        return nir.Conv2d((shape[1], shape[2]), weight[:, :, None, None], (1, 1), (0, 0), (1, 1), 1, zeros)

    def _pooled(self, layer: spec.Layer, *sources: str) -> str:
        """Neurons that fire with the first of the spikes that they read, in the same step."""
        shape = self.network.shapes[layer.name]
        if self.depth[layer.name] == 0 and self.network.code.planes:
            raise ValueError(f"layer {layer.name!r}: input planes must be read by a layer with weights")
        threshold = float(1 << (layer.operations + 1).bit_length())
        current = np.zeros(self.steps)
        current[self.depth[layer.name] * self.network.code.T] = threshold - self.kernel[-1] / 2
        return self._neurons(layer.name, shape, threshold, current, np.zeros(shape[0]), *sources)

    def _synaptic(self, layer: Synaptic) -> None:
        network = self.network
        made = [self._connection(layer, connection) for connection in layer.connections]
        sources = [*made, *(self.ends[name] for name in layer.residuals)]
        exponent, shape = network.exponent(layer), network.shapes[layer.name]
        bias = network.real_bias(layer)
        if not layer.fires:
            node = self._add(nir.I(r=np.full(shape, 1 / DT)), *sources)
            self._note(layer.name, node, np.zeros(self.steps), bias)
            return
        low, high = network.membrane_bounds(layer)
        reach = max(high, -low, 1 << max(exponent, 0), 1)
        threshold = float(np.ldexp(1.0, reach.bit_length() + 1 - exponent))
        finest = max(layer.shifts, default=0)  # with shifts thresholds are exact, on finer grids too
        met = np.ldexp((network.thresholds(layer) << finest) - 0.5, -exponent - finest)
        current, start = np.zeros(self.steps), self.depth[layer.name] * network.code.T
        current[start : start + len(met)] = -np.diff(met, prepend=threshold)
        current[start] = threshold - met[0]
        self._neurons(layer.name, shape, threshold, current, bias, *sources)

    def _connection(self, layer: Synaptic, connection: Synaptic) -> str:
        weight = self.network.real_weights(layer, connection)
        source = self.ends[connection.source]
        if not isinstance(connection, spec.Conv2d):
            return self._add(nir.Linear(weight=weight), source)
        shape = self.network.shapes[connection.source]
        zeros = np.zeros(len(weight))
        node = nir.Conv2d(
            (shape[1], shape[2]),
            weight,
            connection.stride,
            connection.padding,
            connection.dilation,
            connection.groups,
            zeros,
        )
        node.input_type = {"input": np.array(shape)}
        node.output_type = {"output": np.array(connection.output_shape(shape))}
        return self._add(node, source)

    def _neurons(
        self, name: str, shape: Shape, threshold: float, current: np.ndarray, bias: np.ndarray, *sources: str
    ) -> str:
        node = nir.IF(r=np.full(shape, 1 / DT), v_threshold=np.full(shape, threshold))
        return self._note(name, self._add(node, *sources), current, bias)

    def _note(self, name: str, node: str, current: np.ndarray, bias: np.ndarray) -> str:
        """Write down a node's schedule; it now gives the layer's map."""
        gain = np.zeros(self.steps)
        start = self.depth[name] * self.network.code.T
        gain[start : start + len(self.kernel)] = self.kernel[: max(0, self.steps - start)]
        self.schedule[node] = {"name": name, "current": current, "bias": bias, "gain": gain}
        self.ends[name] = node
        return node
