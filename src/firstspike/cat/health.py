"""`health`: which layers of a prepared network saturate or stay silent, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from firstspike.cat.prepared import Prepared

SATURATED = 0.03
"""Share of membranes above 1 from which on a layer loses accuracy that calibration would keep."""

SILENT = 0.5
"""Share of neurons that never fire from which on a layer's activations are too small for the code."""


@dataclass(frozen=True, kw_only=True)
class LayerHealth:
    """State of a layer that fires, over some images.

    Attributes:
        name: of the layer; ``"input"`` for the encoded image.
        saturated: share of membrane values above 1, which all stand for 1.
        silent: share of neurons that fire for none of the images.
        advice: what to do, empty for a layer that is well.
    """

    name: str
    saturated: float
    silent: float
    advice: str


def health(prepared: "Prepared", images: Tensor) -> tuple[LayerHealth, ...]:
    """Saturated and silent neurons of every layer that fires, in the network's present stage.

    Args:
        prepared: made by `firstspike.prepare`.
        images: ``[n, *shape]`` in [0, 1]; the more, the surer that a silent neuron is.
    """
    found: list[LayerHealth] = []
    lowest = float(prepared.code.kappa(prepared.code.T - 1))

    def look(name: str):  # type: ignore[no-untyped-def]
        def hook(module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            membrane = inputs[0]
            saturated = float((membrane > 1).float().mean())
            silent = float((membrane < lowest).all(dim=0).float().mean())
            found.append(
                LayerHealth(name=name, saturated=saturated, silent=silent, advice=_advice(name, saturated, silent))
            )

        return hook

    modes = [(module, module.training) for module in prepared.modules()]
    handles = [fire.register_forward_hook(look(name)) for name, fire in prepared.fires.items()]
    try:
        with torch.no_grad():
            prepared.eval()(images)
    finally:
        for module, mode in modes:
            module.training = mode
        for handle in handles:
            handle.remove()
    return tuple(found)


def _advice(name: str, saturated: float, silent: float) -> str:
    if name == "input":
        return "scale the images to [0, 1]" if saturated > 0 else ""
    if saturated > SATURATED:
        return "activations above 1 are cut: firstspike.calibrate, or train in stage 'clip'"
    if silent > SILENT:
        return "activations are too small for the code: firstspike.calibrate, or more steps (Code.T)"
    return ""


def saturation(shares: Mapping[str, float]) -> str:
    """One line about the layers of which too much saturates, the worst first; empty if all is well. ``shares`` by name."""
    bad = sorted((name for name in shares if shares[name] > SATURATED), key=lambda name: -shares[name])
    told = ", ".join(f"{name} ({100 * shares[name]:.0f} %)" for name in bad[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    remedy = _advice("", 1.0, 0.0)
    return f"values of layers {told}{more} stand at 1, the largest that a spike can say: {remedy}" if bad else ""
