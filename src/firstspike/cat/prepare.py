"""`prepare`: rebuild a traced ReLU network from layers that can be converted, or say what cannot be."""

import warnings
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
from torch import Tensor, fx, nn

from firstspike.arith import Code, LogWeights, checks
from firstspike.cat import clips, tracing
from firstspike.cat.builder import Builder
from firstspike.cat.fitting import check_fits, example_shape, fitting
from firstspike.cat.layers import WeightScale
from firstspike.cat.operations import Operation, UnsupportedError
from firstspike.cat.outputs import check_final, output
from firstspike.cat.prepared import INPUT, Prepared
from firstspike.cat.recognition import operation
from firstspike.cat.reshaping import move, reshape, waiting
from firstspike.cat.sums import add, average, cat, channels, mean, relu
from firstspike.cat.values import Joined, Shifted, Spikes, Value, form_of
from firstspike.cat.weights import linear, norm
from firstspike.messages import brief

__all__ = ["UnsupportedError", "prepare"]


def prepare(
    net: nn.Module,
    *,
    example: Tensor | np.ndarray | None = None,
    code: Code | None = None,
    weights: LogWeights | None = None,
    accumulator_bits: int = 32,
    weight_scale: WeightScale = "layer",
) -> Prepared:
    """A copy of ``net`` for conversion-aware training, in stage ``"relu"``: the same function, ready for the other stages.

    What is supported stands in docs/reference/layers.md. An average over a number of pixels that is no power of two takes
    the weight level nearest to ``1/n`` from the start. A module that is called twice is two layers with tied weights.
    Every module keeps its own mode, training or evaluation. A last softmax or sigmoid is left out, with a warning.
    Sequences ``[n, channels, length]`` are images of one row.

    Args:
        net: any module that torch.fx can trace, with one input and one or more outputs; left as it is.
        example: images ``[n, *shape]``, of which only the shape counts; without it the network's first batch says how
            large an image is (`Prepared.input_shape`).
        code: spike code, by default ``Code()``.
        weights: weight format, by default ``LogWeights()``.
        accumulator_bits: ``A``, bits of a membrane, 8..48.
        weight_scale: "channel" lets stage "quantised" give each output channel a scale of its own, finer than the layer's by
            a power of two (numerics, section 8), in layers that fire, add no residual and have one source. Depthwise
            layers need it. By default "layer".

    Raises:
        TypeError: ``net`` is no module, ``example`` no images, or ``code`` or ``weights`` is of another type.
        ValueError: ``accumulator_bits`` is out of range, ``weight_scale`` is neither, or the network takes no image of the
            example's shape.
        UnsupportedError: ``net`` holds something else; the text names the module path and a replacement.
    """
    code, weights = code or Code(), weights or LogWeights()
    _check(net, code, weights, accumulator_bits)
    if weight_scale not in get_args(WeightScale):
        raise ValueError(f"weight_scale must be 'layer' or 'channel', not {weight_scale!r}")
    network = tracing.Traceable(net)
    build = partial(_build, network, code, weights, accumulator_bits)
    builder = fitting(network, build) if example is None else build(example_shape(example))
    prepared = Prepared(
        builder.steps,
        builder.layers,
        code=code,
        weights=weights,
        accumulator_bits=accumulator_bits,
        heads=builder.heads,
        weight_scale=weight_scale,
    )
    clips.rescale(prepared, builder.clips)
    for left_out in builder.left_out:
        warnings.warn(
            f"{left_out}: it is left out, since the largest logit stays the largest; train on logits "
            f"(torch.nn.functional.cross_entropy), and take a softmax of real ones where you need shares",
            UserWarning,
            stacklevel=2,
        )
    prepared.train(net.training)
    network.restore_modes()
    for module, owner in builder.owners:
        module.train(network.mode(owner))
    if example is not None:
        prepared.set_input_shape(example.shape[1:])
    return prepared


def _check(net: nn.Module, code: Code, weights: LogWeights, accumulator_bits: int) -> None:
    """The arguments of `prepare` are what it says."""
    if not isinstance(net, nn.Module):
        exported = "; give the module that was exported" if type(net).__name__ == "ExportedProgram" else ""
        raise TypeError(f"net must be a torch.nn.Module, not {brief(net)}{exported}")
    if not isinstance(code, Code):
        raise TypeError(f"code must be a firstspike.Code, not {code!r}")
    if not isinstance(weights, LogWeights):
        raise TypeError(f"weights must be firstspike.LogWeights, not {weights!r}")
    checks.integer("accumulator_bits", accumulator_bits, low=8, high=48)
    if isinstance(net, Prepared):
        raise TypeError("net must be a plain network, not one that is prepared already")


def _build(
    network: tracing.Traceable, code: Code, weights: LogWeights, accumulator_bits: int, shape: tuple[int, ...]
) -> Builder:
    builder = Builder(network.traced(shape), code, weights, accumulator_bits)
    _walk(builder)
    return builder


def _walk(builder: Builder) -> None:
    for node in builder.traced.nodes:
        if builder.traced.changes(node):
            _check_in_place(builder, node)
        if node.op == "placeholder":
            builder.values[node] = Spikes(name=INPUT)
            builder.forms[node] = form_of(node)
        elif node.op == "output":
            output(builder, node)
        elif builder.traced.live(node) and "constant" not in node.meta:
            found = operation(node, builder.traced.module, builder.traced.training[node])
            check_fits(node, found)
            builder.forms[node] = form_of(node.all_input_nodes[0] if found.kind == "pieces" else node)
            builder.values[node] = _operation(builder, node, found)


def _operation(builder: Builder, node: fx.Node, found: Operation) -> Value:
    kind, path, source = found.kind, found.path, found.inputs[0]
    if kind == "linear":
        return linear(builder, node, found)
    if kind in ("norm", "affine"):
        return norm(builder, node, found)
    if kind in ("relu", "same", "final"):
        if kind == "final":
            check_final(builder, node, found)
        value = builder.value(source, path, any_form=True)
        builder.forms[node] = builder.forms[source]
        if kind != "relu":
            return value
        if isinstance(value, Joined):
            return replace(value, members=tuple(relu(builder, member, found) for member in value.members))
        if isinstance(value, Shifted):
            raise UnsupportedError(value.unread(path))
        return relu(builder, value, found)
    if kind == "cat":
        return cat(builder, found)
    if kind == "pieces":
        return builder.spikes(source, path)
    if kind == "channels":
        return channels(builder, found)
    if kind == "add":
        return add(builder, found)
    if kind == "average":
        return average(builder, found)
    if kind == "reshape":
        return reshape(builder, node, found)
    if kind == "move":
        return move(builder, node, found)
    if kind == "mean":
        return mean(builder, node, found)
    if kind == "dropout" and found.module is not None and found.owner is not None:
        builder.owners.append((found.module, found.owner))
    if kind == "dropout":
        builder.forms[node] = builder.forms[source]
    return waiting(builder, node, found, any_form=kind == "dropout")


def _check_in_place(builder: Builder, node: fx.Node) -> None:
    """A ReLU changes nothing in spikes, and a concatenation is a copy; anything else must not be seen elsewhere."""
    spikes = all(isinstance(builder.values.get(source), Spikes | Joined) for source in node.all_input_nodes)
    live = builder.traced.live(node) and "constant" not in node.meta
    found = operation(node, builder.traced.module, node) if live else None
    if not (spikes and found is not None and found.kind == "relu" and found.clip is None):
        builder.traced.check_in_place(node)
