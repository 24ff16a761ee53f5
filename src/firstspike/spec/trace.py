"""What a run of a network on images leaves behind: spike times and event counts (numerics, section 5)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.figures import Figure, Table, numbers
from firstspike.figures.histogram import multiples
from firstspike.figures.table import frame
from firstspike.messages import brief

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTrace:
    """Events of one layer over ``n`` images.

    Attributes:
        name, kind: as in the network; the encoded input is ``"input"`` of kind ``"input"``.
        shape: output shape of one image.
        times: spike times, uint8 ``[n, *shape]``, 255 for none; None for the read-out.
        spikes: number of output spikes per image, int64 ``[n]`` (zeros for the read-out).
        sops: synaptic operations per image, int64 ``[n]``: one product added to one membrane; padding does not count.
        sops_nonzero: the same without zero weights, int64 ``[n]``.
        neuron: True where the spikes are of neurons (input and firing layers), False for pooling and flattening.
        window: the window in which it fires, 0 for the input; of the read-out, the windows before its logits.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    times: np.ndarray | None
    spikes: np.ndarray
    sops: np.ndarray
    sops_nonzero: np.ndarray
    neuron: bool
    window: int

    @property
    def fired(self) -> float:
        """Share of its outputs with a spike, over all images; 0 for the read-out."""
        return 0.0 if self.times is None else float(self.spikes.sum()) / max(1, self.times.size)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        spikes = "" if self.times is None else f", {numbers.percent(self.fired)} fire"
        sops = numbers.count(float(self.sops.mean()) if len(self.sops) else 0.0)
        name = brief(self.name, 40)
        return f"LayerTrace({name}, {self.kind}, {shape}, {len(self.spikes)} images{spikes}, {sops} SOPs an image)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A run of a network on ``n`` images.

    Attributes:
        layers: by name in order of execution, the encoded input first.
        logits: int64 ``[n, classes]``, in units of ``2^-exponent`` of the read-out.
        latency_steps: ``(D+1) * T``.
        steps: ``T``, of a window.
    """

    layers: Mapping[str, LayerTrace] = field(default_factory=dict)
    logits: np.ndarray
    latency_steps: int
    steps: int

    def __repr__(self) -> str:
        return (
            f"Trace({self.images} images, {len(self.layers)} layers, {self.spikes_per_neuron:.3f} spikes per neuron, "
            f"{numbers.count(self.sops_per_image)} SOPs an image, {self.latency_steps} steps)"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def summary(self) -> Table:
        """What every layer did, as means over the images."""
        records = [_record(layer, self.steps) for layer in self.layers.values()]
        rows = [
            (
                record["name"],
                record["kind"],
                record["shape"],
                "" if record["fired"] is None else numbers.percent(record["fired"]),
                "" if record["saturated"] is None else numbers.percent(record["saturated"]),
                "" if record["mean_step"] is None else f"{record['mean_step']:.1f}",
                numbers.count(record["sops_per_image"]) if record["sops_per_image"] else "",
            )
            for record in records
        ]
        heads = ("layer", "kind", "output", "fire", "at step 0", "mean step", "SOPs")
        return Table(title=repr(self), heads=heads, rows=rows, words=3, records=records)

    def to_frame(self) -> "DataFrame":
        """The records of `summary` as a pandas table.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame(self.summary().records)

    def raster(self, image: int = 0) -> Figure:
        """The spikes of one image: every layer in its own window.

        Raises:
            ValueError: the trace has no such image.
        """
        from firstspike.figures.raster import Band, raster  # Pillow is loaded for it, and a trace needs none

        if not 0 <= image < self.images:
            raise ValueError(f"image must be in 0..{self.images - 1}, not {image!r}")
        bands = [
            Band(name=layer.name, times=layer.times[image], window=layer.window)
            for layer in self.layers.values()
            if layer.neuron and layer.times is not None
        ]
        title = f"Spike raster of image {image}"
        return Figure(title=title, svg=raster(bands, self.steps, self.latency_steps))

    def histogram(self, layer: str | None = None) -> Figure:
        """When the neurons of a layer fire, over all images; of every layer that fires, without a name.

        Raises:
            ValueError: the trace has no such layer, or it is the read-out, which does not fire.
        """
        times = self.times
        if layer is not None and layer not in times:
            raise ValueError(f"layer must be one of {', '.join(times)}, not {layer!r}")
        chosen = [layer] if layer is not None else [name for name, one in self.layers.items() if one.neuron]
        return Figure(
            title="Spike times", svg=multiples({name: times[name] for name in chosen if name in times}, self.steps)
        )

    @property
    def times(self) -> dict[str, np.ndarray]:
        """Spike times of every layer that has any, uint8 ``[n, *shape]``, by name in order of execution."""
        return {name: layer.times for name, layer in self.layers.items() if layer.times is not None}

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.logits)

    @property
    def predictions(self) -> np.ndarray:
        """Class of every image, int64 ``[n]``: the largest logit, the lowest index on a tie."""
        classes: np.ndarray = self.logits.argmax(axis=1)
        return classes

    @property
    def neurons(self) -> int:
        """Neurons of the input and of spiking layers."""
        return sum(int(np.prod(layer.shape)) for layer in self.layers.values() if layer.neuron)

    @property
    def spikes_per_neuron(self) -> float:
        """All spikes of the input and of spiking layers (before pooling), over all such neurons and images."""
        spikes = sum(int(layer.spikes.sum()) for layer in self.layers.values() if layer.neuron)
        return spikes / max(1, self.neurons * self.images)

    @property
    def sops_per_image(self) -> float:
        """Mean synaptic operations per image, zero weights included."""
        return sum(int(layer.sops.sum()) for layer in self.layers.values()) / max(1, self.images)

    @property
    def sops_nonzero_per_image(self) -> float:
        """Mean synaptic operations per image without zero weights."""
        return sum(int(layer.sops_nonzero.sum()) for layer in self.layers.values()) / max(1, self.images)


def join(traces: list[Trace]) -> Trace:
    """One trace of several runs of the same network, images in order."""
    first = traces[0]
    if len(traces) == 1:
        return first
    layers = {}
    for name, layer in first.layers.items():
        parts = [trace.layers[name] for trace in traces]
        times = [part.times for part in parts if part.times is not None]
        layers[name] = LayerTrace(
            name=name,
            kind=layer.kind,
            shape=layer.shape,
            times=np.concatenate(times) if times else None,
            spikes=np.concatenate([part.spikes for part in parts]),
            sops=np.concatenate([part.sops for part in parts]),
            sops_nonzero=np.concatenate([part.sops_nonzero for part in parts]),
            neuron=layer.neuron,
            window=layer.window,
        )
    logits = np.concatenate([trace.logits for trace in traces])
    return Trace(layers=layers, logits=logits, latency_steps=first.latency_steps, steps=first.steps)


def _record(layer: LayerTrace, steps: int) -> dict[str, Any]:
    """A layer as a flat dictionary; None where it does not fire."""
    record: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "shape": "x".join(map(str, layer.shape))}
    record |= {"window": layer.window, "fired": None, "silent": None, "saturated": None, "mean_step": None}
    if layer.times is not None:
        counts = np.bincount(layer.times.reshape(-1), minlength=256)[:steps]
        spikes = int(counts.sum())
        silent = (layer.times == NO_SPIKE).all(axis=0) if len(layer.times) else np.zeros(1, dtype=bool)
        record |= {
            "fired": layer.fired,
            "silent": float(silent.mean()),
            "saturated": int(counts[0]) / max(1, layer.times.size),
            "mean_step": float(counts @ np.arange(steps)) / spikes if spikes else None,
        }
    images = max(1, len(layer.sops))
    record |= {"spikes_per_image": int(layer.spikes.sum()) / images, "sops_per_image": int(layer.sops.sum()) / images}
    return record | {"sops_nonzero_per_image": int(layer.sops_nonzero.sum()) / images}


@dataclass(frozen=True, kw_only=True)
class LayerSums:
    """Events of one layer, summed over images: of `LayerTrace`, all but the times."""

    name: str
    kind: str
    shape: tuple[int, ...]
    spikes: int
    sops: int
    sops_nonzero: int
    neuron: bool


@dataclass(frozen=True, kw_only=True)
class Sums:
    """A run on any number of images in memory that does not grow with it.

    Attributes:
        layers: by name in order of execution, the encoded input first.
        images: number of images.
        hits: images whose class is their label.
        latency_steps: as in `Trace`.
    """

    layers: Mapping[str, LayerSums]
    images: int
    hits: int
    latency_steps: int

    @classmethod
    def of(cls, trace: Trace, labels: np.ndarray) -> "Sums":
        """The sums of a trace; ``labels``: int64 ``[n]``."""
        layers = {
            name: LayerSums(
                name=name,
                kind=layer.kind,
                shape=layer.shape,
                spikes=int(layer.spikes.sum()),
                sops=int(layer.sops.sum()),
                sops_nonzero=int(layer.sops_nonzero.sum()),
                neuron=layer.neuron,
            )
            for name, layer in trace.layers.items()
        }
        hits = int((trace.predictions == labels).sum())
        return cls(layers=layers, images=trace.images, hits=hits, latency_steps=trace.latency_steps)

    def __add__(self, other: "Sums") -> "Sums":
        """Both runs of the same network as one."""
        layers = {
            name: replace(
                mine,
                spikes=mine.spikes + other.layers[name].spikes,
                sops=mine.sops + other.layers[name].sops,
                sops_nonzero=mine.sops_nonzero + other.layers[name].sops_nonzero,
            )
            for name, mine in self.layers.items()
        }
        return replace(self, layers=layers, images=self.images + other.images, hits=self.hits + other.hits)

    @property
    def accuracy(self) -> float:
        """Share of images whose class is their label."""
        return self.hits / max(1, self.images)

    @property
    def spikes_per_neuron(self) -> float:
        """As in `Trace`."""
        counted = [layer for layer in self.layers.values() if layer.neuron]
        neurons = sum(math.prod(layer.shape) for layer in counted)
        return sum(layer.spikes for layer in counted) / max(1, neurons * self.images)

    @property
    def sops_per_image(self) -> float:
        """As in `Trace`."""
        return sum(layer.sops for layer in self.layers.values()) / max(1, self.images)

    @property
    def sops_nonzero_per_image(self) -> float:
        """As in `Trace`."""
        return sum(layer.sops_nonzero for layer in self.layers.values()) / max(1, self.images)
