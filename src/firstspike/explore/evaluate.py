"""What a design is worth: spikes are traced once per network and code, kept on disk, and priced for every processor."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from firstspike import files
from firstspike.arith import Code, LogWeights
from firstspike.conversion.recode import recode, thin
from firstspike.data import load as load_images
from firstspike.data import split_validation
from firstspike.explore.space import Design, Pruning, Space
from firstspike.processor import cycles, energy
from firstspike.processor.cycles import Counts
from firstspike.processor.rates import memory_ns
from firstspike.spec import Network
from firstspike.spec import load as load_network
from firstspike.spiking import SpikingNetwork

VERSION = 3
"""Of what is kept on disk."""

KEPT_NETWORKS, KEPT_COUNTS = 4, 256
"""How many recoded networks and event counts stay in memory."""

_BATCH = 64

Result = dict[str, Any]
"""Metrics of a design by name, units in the names; or one key ``refused`` with the rule that it breaks."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that an evaluation needs, on any machine: no file but the cache is read.

    Attributes:
        space: the designs.
        models: content of every model file by network name.
        pixels, labels: the validation images.
        cache: folder of traces.
    """

    space: Space
    models: dict[str, bytes]
    pixels: np.ndarray
    labels: np.ndarray
    cache: Path

    @property
    def digest(self) -> str:
        """Hash of everything that decides a result."""
        models = {name: _sha(content) for name, content in self.models.items()}
        constants = self.space.technology
        priced = [repr(part) for part in (constants.constants(), constants.sram, self.space.drams, self.space.base)]
        parts = [VERSION, models, self.images_digest, self.space.data.cost_images, *priced]
        return _sha(json.dumps(parts).encode())

    @property
    def images_digest(self) -> str:
        """Hash of the images and their labels."""
        head = f"{self.pixels.shape} {self.pixels.dtype} {self.labels.dtype}".encode()
        return _sha(head + self.pixels.tobytes() + self.labels.tobytes())


def prepare(space: Space, *, cache: Path) -> Job:
    """Read the models and the validation images of a space.

    Raises:
        ValueError: a model or the data breaks a rule, or they do not fit together.
        OSError: a file is not there.
    """
    models = {name: path.read_bytes() for name, path in space.networks.items()}
    networks = {name: load_network(path) for name, path in space.networks.items()}
    shapes = {network.input_shape for network in networks.values()}
    if len(shapes) > 1:
        raise ValueError(f"networks of a space must read images of one shape, not {sorted(shapes)!r}")
    (shape,) = shapes
    data = space.data
    images = load_images(
        data.name,
        split="train",
        data_root=data.root,
        expect_shape=(shape[0], shape[1], shape[2]) if len(shape) == 3 else None,
    )
    _, validation = split_validation(images, count=data.validation_images, seed=data.seed)
    for name, network in networks.items():
        if network.classes and network.classes != images.classes:
            raise ValueError(f"data {data.name!r} must have the classes of {name}, not {images.classes!r}")
    chosen = validation.limit(data.accuracy_images)
    return Job(
        space=space,
        models=models,
        pixels=chosen.images.reshape(len(chosen), *shape),
        labels=chosen.labels,
        cache=cache,
    )


class Evaluator:
    """Prices designs; keeps what they share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._images = job.images_digest
        self._models: dict[str, Network] = {}
        self._coded: dict[Any, tuple[Network, float, dict[str, np.ndarray]]] = {}
        self._counts: dict[Any, Counts] = {}
        self.traced = 0

    def evaluate(self, design: Design) -> Result:
        """Metrics of a design: a pure function of the job and the design."""
        try:
            return self._price(design)
        except (ValueError, TypeError) as error:
            return {"refused": " ".join(str(error).split())}

    def _price(self, design: Design) -> Result:
        space = self.job.space
        processor = replace(space.base, **space.group(design, "processor"))
        key, network, accuracy, times = self._trace(design)
        if network.accumulator_bits > processor.accumulator_bits:
            network = replace(network, accumulator_bits=processor.accumulator_bits)  # refused where a sum does not fit
        counted = replace(processor, clock_mhz=space.base.clock_mhz)  # events do not depend on the clock
        images, batch = space.data.cost_images, processor.images
        if images % batch:  # whole batches only, or latency and energy would be of smaller ones
            order = np.arange(-(-images // batch) * batch) % images
            times = {name: layer[order] for name, layer in times.items()}
        counts = self._kept(self._counts, (key, counted), KEPT_COUNTS, lambda: cycles.count(network, times, counted))
        bits = network.weights.bits
        costs = [
            energy.cost(replace(counts, processor=processor), weight_bits=bits, technology=space.technology, dram=dram)
            for dram in space.drams
        ]
        cost = costs[0]
        bounds, area = cost.energy, cost.area
        slowest = memory_ns(processor, bits, space.technology)
        return {
            "accuracy": accuracy,
            "energy_uj": bounds.value,
            "energy_uj_low": bounds.low,
            "energy_uj_high": bounds.high,
            **{f"energy_uj_{dram}": other.energy_uj for dram, other in zip(space.drams, costs, strict=True)},
            **{f"{key}_uj": part.value for key, part in cost.components.items()},
            "memory_ns": slowest,
            "meets_clock": None if slowest is None else slowest * processor.clock_mhz <= 1e3,
            "area_mm2": area.value,
            "area_mm2_low": area.low,
            "area_mm2_high": area.high,
            "latency_us": cost.latency_us,
            "latency_steps": network.latency_steps,
            "frames_per_second": cost.frames_per_second,
            "power_mw": cost.power_mw,
            "sops_per_image": cost.sops_per_image,
            "dram_bits_per_image": cost.dram_bits,
        }

    def _trace(self, design: Design) -> tuple[str, Network, float, dict[str, np.ndarray]]:
        """The design's network, its accuracy, and its spike times on the priced images."""
        name, space = str(design["network"]), self.job.space
        if name not in self._models:
            self._models[name] = self._load(self.job.models[name])
        model = self._models[name]
        code: Code = replace(model.code, **space.group(design, "code"))
        weights: LogWeights = replace(model.weights, **space.group(design, "weights"))
        pruning = Pruning(**space.group(design, "pruning"))
        parts = [
            VERSION,
            asdict(pruning),
            _sha(self.job.models[name]),
            asdict(code),
            asdict(weights),
            self._images,
            space.data.cost_images,
        ]
        key = _sha(json.dumps(parts, sort_keys=True).encode())
        kept = self._kept(
            self._coded,
            key,
            KEPT_NETWORKS,
            lambda: self._run(key, thin(recode(model, code=code, weights=weights), pruning.zeros)),
        )
        return key, *kept

    def _run(self, key: str, network: Network) -> tuple[Network, float, dict[str, np.ndarray]]:
        path = self.job.cache / f"{key}.trace"
        found = _stored(path)
        if found is None:
            self.traced += 1
            snn = SpikingNetwork(network)
            parts = [snn.classify(self.job.pixels[i : i + _BATCH]) for i in range(0, len(self.job.pixels), _BATCH)]
            accuracy = float(np.mean(np.concatenate(parts) == self.job.labels))
            number, total = self.job.space.data.cost_images, len(self.job.pixels)
            trace = snn.trace(self.job.pixels[[i * total // number for i in range(number)]])
            times = trace.times
            found = accuracy, times
            _store(path, accuracy, times)
        return network, *found

    def _load(self, content: bytes) -> Network:
        path = self.job.cache / f"{_sha(content)}.safetensors"
        if not path.is_file() or path.read_bytes() != content:
            _keep(path, content)
        return load_network(path)

    @staticmethod
    def _kept(store: dict[Any, Item], key: Any, most: int, make: Any) -> Item:
        if key in store:
            store[key] = store.pop(key)
            return store[key]
        made: Item = make()
        store[key] = made
        while len(store) > most:
            store.pop(next(iter(store)))
        return made


def defaults(job: Job) -> dict[str, Result]:
    """Every network as it is, on the processor that the parameters change, by the network's name: marks on the page."""
    evaluator = Evaluator(job)
    found = {name: evaluator.evaluate({"network": name}) for name in job.models}
    return {name: result for name, result in found.items() if "refused" not in result}


def evaluate_all(job: Job, designs: Sequence[Design]) -> list[Result]:
    """Metrics of several designs, in order, which share what they can."""
    evaluator = Evaluator(job)
    return [evaluator.evaluate(design) for design in designs]


def _keep(path: Path, *contents: files.Content) -> None:
    """Write a file into a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, *contents)


def _store(path: Path, accuracy: float, times: Mapping[str, np.ndarray]) -> None:
    """Write a trace behind its own SHA-256."""
    arrays: dict[str, Any] = {f"times {name}": value for name, value in times.items()}
    content = io.BytesIO()
    np.savez(content, accuracy=np.float64(accuracy), **arrays)
    _keep(path, hashlib.sha256(content.getbuffer()).digest(), content.getbuffer())


def _stored(path: Path) -> tuple[float, dict[str, np.ndarray]] | None:
    """What `_store` wrote, or None where it is missing or damaged."""
    try:
        with files.reading(path) as stream:
            whole = stream.read()
    except (OSError, ValueError):
        return None
    if hashlib.sha256(whole[32:]).digest() != whole[:32]:
        return None
    with np.load(io.BytesIO(whole[32:]), allow_pickle=False) as content:
        times = {name[6:]: content[name] for name in content.files if name.startswith("times ")}
        return float(content["accuracy"]), times


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
