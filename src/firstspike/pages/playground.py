"""The playground: one page in which a visitor draws or drops an image and watches the spikes run through the layers."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from firstspike.arith import NO_SPIKE, encode, integer_kernel
from firstspike.pages.templates import asset, render, style
from firstspike.spec.network import INPUT, Channels, Conv2d, Layer, Linear, MaxPool2d, Network, PixelShuffle, Synaptic

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the browser may load for the page: nothing from outside."""

KINDS = ("conv2d", "linear", "maxpool2d", "channels", "pixelshuffle", "flatten")
"""Kinds of layers that ``engine.js`` runs."""


def playground_page(
    network: Network,
    *,
    name: str,
    samples: Sequence[np.ndarray] = (),
    cost: Mapping[str, Any] | None = None,
    note: str = "",
) -> str:
    """The page as HTML.

    Args:
        network: the integer network, of images of 1 or 3 channels.
        name: what the page calls it.
        samples: images that the visitor can choose, uint8 ``[channels, height, width]``.
        cost: `firstspike.processor.formula.formula` of the network; None for a page without cycles and energy.
        note: a sentence about the network.

    Raises:
        ValueError: the network takes no such images, a sample has another shape, or a layer is of a kind that the page's engine
            does not know.
    """
    shape = network.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"a playground needs a network of images of 1 or 3 channels, not of inputs {shape!r}")
    for sample in samples:
        if sample.shape != shape or sample.dtype != np.uint8:
            raise ValueError(f"samples must be uint8 of shape {shape!r}, not {sample.dtype} {sample.shape!r}")
    data = payload(network) | {
        "name": name,
        "samples": [_text(np.ascontiguousarray(sample)) for sample in samples],
        "cost": None if cost is None else dict(cost),
    }
    return render(
        "firstspike.pages",
        "playground.html",
        title=name,
        policy=POLICY,
        style=style(asset("firstspike.pages", "playground.css")),
        note=note,
        network=network,
        drams=list(cost["prices"]) if cost else [],
        data=Markup(_script_safe(json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False))),
        script=asset("firstspike.pages", "engine.js") + Markup("\n") + asset("firstspike.pages", "playground.js"),
    )


def payload(network: Network) -> dict[str, Any]:
    """The network as the page's engine takes it, ready for JSON.

    Raises:
        ValueError: a layer is of a kind that the engine does not know.
    """
    code = network.code
    pixels = np.arange(256, dtype=np.uint8)
    stored = NO_SPIKE - pixels if code.planes else encode(pixels.astype(np.float32) / np.float32(255), code)
    return {
        "input": list(network.input_shape),
        "T": code.T,
        "tau": code.tau,
        "latency_steps": network.latency_steps,
        "accumulator_bits": network.accumulator_bits,
        "weight_bits": network.weights.bits,
        "classes": list(network.classes),
        "exponent": network.exponent(network.synaptic[-1]),
        "stored": stored.tolist(),
        "spike_values": integer_kernel(code).tolist(),
        "plane_values": network.spike_values(INPUT).tolist() if code.planes else None,
        "layers": [_layer(network, layer) for layer in network.layers],
    }


def _layer(network: Network, layer: Layer) -> dict[str, Any]:
    if layer.kind not in KINDS:
        raise ValueError(f"layer {layer.name!r}: the playground runs layers of {', '.join(KINDS)}, not {layer.kind!r}")
    made: dict[str, Any] = {
        "name": layer.name,
        "kind": layer.kind,
        "inputs": list(layer.inputs),
        "shape": list(network.shapes[layer.name]),
        "window": network.windows[layer.name],
    }
    if isinstance(layer, Conv2d | Linear):
        identity = integer_kernel(network.code)
        if layer.residuals:
            identity = identity << (network.exponent(layer) - network.code.exponent)
        return made | {
            "fires": layer.fires,
            "bias": layer.bias.tolist(),
            "theta": network.thresholds(layer).tolist() if layer.fires else [],
            "shifts": list(layer.shifts),
            "residuals": list(layer.residuals),
            "identity": identity.tolist(),
            "connections": [_connection(network, layer, one) for one in layer.connections],
        }
    if isinstance(layer, MaxPool2d):
        return made | {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
    if isinstance(layer, Channels):
        return made | {"channels": layer.channels}
    if isinstance(layer, PixelShuffle):
        return made | {"factor": layer.factor}
    return made


def _connection(network: Network, layer: Synaptic, one: Synaptic) -> dict[str, Any]:
    window = one if isinstance(one, Conv2d) else None
    return {
        "kind": one.kind,
        "source": one.source,
        "planes": network.planes(one.source) > 1,
        "shape": list(one.weight_shape),
        "codes": _text(one.packed(network.weights.bits)),
        "weights": network.integer_weights(layer, one).tolist(),
        "stride": window.stride if window else (1, 1),
        "padding": window.padding if window else (0, 0),
        "dilation": window.dilation if window else (1, 1),
        "groups": window.groups if window else 1,
    }


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _script_safe(text: str) -> str:
    """JSON as it may stand in a script: names of layers and classes come from outside."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
