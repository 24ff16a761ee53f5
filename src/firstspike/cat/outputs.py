"""What a network returns: one membrane or several, whose values are the logits."""

from dataclasses import replace
from math import prod
from typing import Any

from torch import fx

from firstspike.cat.builder import Builder
from firstspike.cat.layers import Heads
from firstspike.cat.operations import Operation, UnsupportedError, path_of
from firstspike.cat.recognition import operation
from firstspike.cat.values import Membrane, Spikes


def output(builder: Builder, node: fx.Node) -> None:
    """The last steps: the logits, or several heads."""
    result = node.args[0]
    if isinstance(result, fx.Node):
        builder.emit(_last(builder, result, "output"), fires=False)
        return
    named = dict(result) if isinstance(result, dict) else {str(i): one for i, one in enumerate(_listed(result))}
    heads = {str(name): one for name, one in named.items() if one is not None}
    if not heads or not all(isinstance(one, fx.Node) for one in heads.values()):
        raise UnsupportedError(f"output: a network must return a tensor, or several, not {result!r}")
    if len(heads) == 1:
        builder.emit(_last(builder, next(iter(heads.values())), "output"), fires=False)
        return
    names = []
    for name, one in heads.items():
        head = _last(builder, one, f"output {name!r}")
        if head.pools or head.residuals or head.parts or head.shift or getattr(head.linear, "groups", 1) > 1:
            raise UnsupportedError(
                f"{head.path}: each of several outputs must be one nn.Linear or nn.Conv2d without groups, not an average "
                f"or a sum"
            )
        names.append(builder.emit(replace(head, after=()), fires=False).name)
        builder.heads[name] = int(head.linear.weight.shape[0])  # type: ignore[index]
    shapes = {builder.forms[one].map[1:] for one in heads.values()}
    if len(shapes) > 1:
        raise UnsupportedError(
            f"output: several outputs must have the same rows and columns, not {sorted(shapes)!r}; convert a network for each"
        )
    builder.step("heads", "heads", names[0], Heads(), others=tuple(names[1:]))


def _last(builder: Builder, result: fx.Node, path: str) -> Membrane:
    """What a network returns: a membrane, whose values are the logits."""
    value, form = builder.value(result, path, any_form=True), builder.forms[result]
    if form.order is not None or prod(form.seen) != prod(form.map):
        raise UnsupportedError(form.rule)
    if isinstance(value, Membrane) and all(kind in ("flatten", "dropout") for _, kind, _ in value.after):
        return replace(value, after=tuple(entry for entry in value.after if entry[1] == "flatten"))
    if isinstance(value, Membrane):
        path = value.after[-1][0]
    else:
        path = value.name if isinstance(value, Spikes) else value.path
    raise UnsupportedError(
        f"{path}: the last layer must be linear or an average (its values are the logits), not one that fires or "
        f"pools; end with an nn.Linear"
    )


def check_final(builder: Builder, node: fx.Node, found: Operation) -> None:
    """Refuse a softmax or sigmoid that is not the last, or not over the classes."""
    waiting, form = [node], builder.forms[found.inputs[0]]
    while waiting:
        for reader in builder.traced.readers(waiting.pop()):
            if reader.op == "output":
                continue
            kind = operation(reader, builder.traced.module, builder.traced.training[reader]).kind
            if kind not in ("reshape", "same", "final"):
                raise UnsupportedError(
                    f"{found.path}: it can only be the last, where it is left out, not before {path_of(reader)!r}; "
                    f"replace it by nn.ReLU"
                )
            waiting.append(reader)
    if form.seen[found.axes[0] - 1] != form.map[0] and "sigmoid" not in found.path:
        raise UnsupportedError(f"{found.path}: it must be over the classes, dim=1, not {found.axes[0]!r}")
    builder.left_out.append(found.path)


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]
