"""Run a network on images in RTL and compare everything: spike times, logits and cycles."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from firstspike import engine
from firstspike.compiler import mapping
from firstspike.compiler.channels import resolve
from firstspike.compiler.image import assemble, store_input, store_map
from firstspike.compiler.stages import Stage, stages
from firstspike.compiler.storage import Map
from firstspike.engine.reference import ReferenceEngine
from firstspike.processor import cycles, planner
from firstspike.rtl.parameters import Parameters
from firstspike.spec.network import INPUT, Flatten, MaxPool2d, Network, Synaptic
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Pool, Program
from firstspike.spec.windows import max_pool
from firstspike.verify.simulator import Checkpoint, Simulated, Simulator, Stalls

COUNTS = 100
"""Counts of the model that are timed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """The comparison of a run.

    Attributes:
        images: images run.
        bit_exact: every spike time of every layer and every logit equals the engine's.
        cycle_exact: the RTL took the model's cycles in every layer of every batch, and its memories were on
            for as many as in the model.
        layers_compared: layers compared per image, the input's and the logits included.
        spikes_compared: spike times compared (silence included), over all images.
        rtl_cycles, model_cycles: clock cycles over all images (the model's expectation if the DRAM stalls at random).
        cycles_per_second: simulated cycles per second of wall time.
        rtl_seconds: processor time of the simulation.
        model_seconds: processor time of the model, the mean of a hundred counts right after the simulation (its plan, made once
            a network and processor, not included).
        model_speedup: ``rtl_seconds`` over ``model_seconds``.
        differences: what differs, as text, one line a layer; empty if nothing does.
        layer_cycles: by layer, the RTL's cycles and the model's, one entry a batch, int64.
    """

    images: int
    bit_exact: bool
    cycle_exact: bool
    layers_compared: int
    spikes_compared: int
    rtl_cycles: int
    model_cycles: int
    cycles_per_second: float
    rtl_seconds: float
    model_seconds: float
    model_speedup: float
    differences: tuple[str, ...] = ()
    layer_cycles: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def json(self) -> dict[str, bool | int | float | list[str]]:
        """The record's keys for ``--json``."""
        return {
            "images": self.images,
            "bit_exact": self.bit_exact,
            "cycle_exact": self.cycle_exact,
            "layers_compared": self.layers_compared,
            "spikes_compared": self.spikes_compared,
            "rtl_cycles": self.rtl_cycles,
            "model_cycles": self.model_cycles,
            "cycles_per_second": self.cycles_per_second,
            "rtl_seconds": self.rtl_seconds,
            "model_seconds": self.model_seconds,
            "model_speedup": self.model_speedup,
            "differences": list(self.differences),
        }


def run(
    network: Network,
    times: np.ndarray,
    processor: ProcessorSpec,
    *,
    simulator: Simulator | None = None,
    stalls: Stalls | None = None,
    engine_name: str = "reference",
    waveform: tuple[Path, int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Record:
    """Run images through the RTL, in batches of ``processor.images``, and hold it against the engine and the model.

    What is left of the last batch is a smaller batch with a program of its own.

    Args:
        network: the integer network.
        times: encoded inputs, uint8 ``[n, *input_shape]``.
        processor: the processor that is built.
        simulator: its compiled model, if at hand (any network with the same code and weight format may share it).
        stalls: random stalls of the DRAM and of the streams inside; with them cycles are compared but `cycle_exact` is
            False in general.
        engine_name: the engine to compare with.
        waveform: file (.vcd or .fst), first and last cycle (the simulator must have been built with that ``trace``).
        progress: called with the images done and the cycles of the batch that runs, or has just ended.

    Raises:
        ValueError: the network does not fit the processor.
        RuntimeError: a tool is missing (`ToolMissing`) or the simulation failed.
    """
    if simulator is None:
        trace = None if waveform is None else waveform[0].suffix.removeprefix(".").lower()
        simulator = Simulator(Parameters.of(network, processor), trace=trace, holds=bool(stalls and stalls.inside))
    network, expected = _expected(network, times, engine_name)
    whole = len(times) // processor.images * processor.images
    parts = []
    for begin, end, size in ((0, whole, processor.images), (whole, len(times), len(times) - whole)):
        if begin == end:
            continue

        def advance(done: int, spent: int, begin: int = begin, size: int = size) -> None:
            if progress is not None:
                progress(begin + done * size, spent)

        parts.append(
            _batches(
                network,
                {name: values[begin:end] for name, values in expected.items()},
                replace(processor, images=size),
                simulator,
                stalls=stalls or Stalls(),
                waveform=waveform if begin == 0 else None,
                progress=advance,
            )
        )
    return _record(parts, expected, images=len(times))


def _expected(network: Network, times: np.ndarray, engine_name: str) -> tuple[Network, dict[str, np.ndarray]]:
    """The network that runs, and what its maps must hold by their names."""
    expected = {INPUT: network.neuron_times(times), **engine.create(network, engine_name).layers(times)}
    for name in network.input_maps - {INPUT}:  # the input's own map, in another order
        expected[name] = expected[INPUT].reshape(len(times), -1)
    network = resolve(network)  # what runs; the engine ran the network as it is
    if any(layer.name not in expected for layer in network.layers):  # maps that only the processor has
        expected |= _of_new_layers(network, expected)
    return network, expected


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Runs of one program: what the RTL did, the model's counts, and what differs from the engine."""

    result: Simulated
    counts: cycles.Counts
    model_seconds: float
    compared: set[str]
    differences: list[str]
    layer_cycles: dict[str, tuple[np.ndarray, np.ndarray]]

    def resting(self) -> list[str]:
        """Memories that were on for other bank-cycles than the model says, a line each."""
        processor = self.counts.processor
        if not processor.switched:
            return []
        found = []
        for index, (name, banks) in enumerate((("activation", processor.banks), ("membrane", 1), ("weight", 2))):
            on = banks * self.counts.cycles - self.counts.total(f"{name}_off_cycles")
            if not np.array_equal(self.result.on[:, index], on):
                found.append(
                    f"{name} memory on for {self.result.on[:, index].sum()} bank-cycles, not the model's {on.sum()}"
                )
        return found


def _record(parts: list[_Part], expected: dict[str, np.ndarray], *, images: int) -> Record:
    """What the parts found together."""
    total = sum(int(part.result.taken[:, -1].sum()) for part in parts)
    seconds = sum(part.result.seconds for part in parts)
    rtl_seconds = sum(part.result.processor_seconds for part in parts)
    model_seconds = sum(part.model_seconds for part in parts)
    layer_cycles = {
        name: (
            np.concatenate([part.layer_cycles[name][0] for part in parts]),
            np.concatenate([part.layer_cycles[name][1] for part in parts]),
        )
        for name in parts[0].layer_cycles
    }
    wrong = [
        f"layer {name!r}: {int(rtl.sum())} cycles, not the model's {int(model.sum())}"
        for name, (rtl, model) in layer_cycles.items()
        if not np.array_equal(rtl, model)
    ]
    wrong += [line for part in parts for line in part.resting()]
    differences = [line for part in parts for line in part.differences]
    compared = {name for part in parts for name in part.compared}
    return Record(
        images=images,
        bit_exact=not differences,
        cycle_exact=not wrong,
        layers_compared=len(compared) + 1,
        spikes_compared=sum(int(expected[name].size) for name in compared),
        rtl_cycles=total,
        model_cycles=sum(int(part.counts.cycles.sum()) for part in parts),
        cycles_per_second=total / seconds,
        rtl_seconds=rtl_seconds,
        model_seconds=model_seconds,
        model_speedup=rtl_seconds / model_seconds,
        differences=tuple(differences + wrong),
        layer_cycles=layer_cycles,
    )


def _batches(
    network: Network,
    expected: dict[str, np.ndarray],
    processor: ProcessorSpec,
    simulator: Simulator,
    *,
    stalls: Stalls,
    waveform: tuple[Path, int, int] | None,
    progress: Callable[[int, int], None],
) -> _Part:
    """Run whole batches."""
    program = mapping.program(network, processor)
    result = simulator.run(
        assemble(network, program, processor),
        _by_batch(store_input(network, expected[INPUT], processor), processor),
        _checkpoints(network, program, stages(network, processor)),
        stalls=stalls,
        waveform=waveform,
        progress=progress,
    )
    plan = planner.plan(network, processor, program)
    begin = time.process_time()
    for _ in range(COUNTS):
        counts = cycles.count(network, expected, processor, plan=plan, stall=stalls.per_mille / 1000)
    model_seconds = (time.process_time() - begin) / COUNTS
    compared = {point.layer for point in result.maps} | {name[4:] for name in result.regions if name != "logits"}
    return _Part(
        result=result,
        counts=counts,
        model_seconds=model_seconds,
        compared=compared,
        differences=_compare(network, processor, result, expected),
        layer_cycles=_layer_cycles(program, result, counts),
    )


def _of_new_layers(network: Network, known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spike times of the layers of a resolved network that the network itself does not have, from those that it has."""
    reference, found = ReferenceEngine(network), dict(known)
    for layer in network.layers:
        if layer.name in found:
            continue
        if isinstance(layer, Flatten):
            found[layer.name] = found[layer.source].reshape(len(found[layer.source]), -1)
        elif isinstance(layer, MaxPool2d):
            found[layer.name] = max_pool(layer, found[layer.source])
        else:
            assert isinstance(layer, Synaptic)
            found[layer.name] = reference.fire(layer, reference.membranes(layer, found))
    return found


def _by_batch(stored: np.ndarray, processor: ProcessorSpec) -> np.ndarray:
    """Bytes of every image ``[n, bytes]`` as those of every batch."""
    return stored.reshape(len(stored) // processor.images, -1)


def _checkpoints(network: Network, program: Program, parts: tuple[Stage, ...]) -> list[Checkpoint]:
    """Every map on chip but the logits is looked at when the operation after its layer's last one is taken; every strip
    of a map that is never whole, when the first operation that reads it is."""
    last = network.layers[-1].name
    after = {(operation.layer, operation.image): number + 1 for number, operation in enumerate(program.operations)}
    points = []
    for stage in parts:
        made = {operation.layer for operation in program.operations} & {
            *(network.layers[index].name for index in stage.layers),
            *([INPUT] if stage.layers.start == 0 else []),
        }
        for pool, name in stage.layout.fused.items():
            points += _strips(program, stage.layout.maps[name], pool, name)
        for name in made - {last, *stage.layout.fused.values()}:
            m = stage.layout.maps[name]
            if m.region is not None:
                continue
            for image in range(0, program.images, stage.images):
                number = max(after.get((name, other), 0) for other in range(image, image + stage.images))
                points.append(Checkpoint(operation=number, layer=name, image=image, map=m))
    return sorted(points, key=lambda point: point.operation)


def _strips(program: Program, strip: Map, pool: str, layer: str) -> list[Checkpoint]:
    """Every strip of a layer that runs with the pooling layer behind it."""
    points = []
    for number, (before, operation) in enumerate(pairwise(program.operations), start=1):
        if isinstance(operation, Pool) and (before.layer, operation.layer) == (layer, pool):
            rows = replace(strip, height=operation.in_size[0])
            points.append(
                Checkpoint(operation=number, layer=layer, image=operation.image, map=rows, row=operation.in_first)
            )
    return points


def _compare(
    network: Network, processor: ProcessorSpec, result: Simulated, expected: dict[str, np.ndarray]
) -> list[str]:
    differences = []

    def compare(name: str, where: str, seen: np.ndarray, wanted: np.ndarray) -> None:
        if not np.array_equal(seen, wanted):
            differences.append(
                f"layer {name!r}{where}: {int((seen != wanted).sum())} of {wanted.size} spike times differ"
            )

    stored = {
        name: _by_batch(store_map(values, processor), processor)
        for name, values in expected.items()
        if values.dtype == np.uint8
    }
    stored[INPUT] = _by_batch(store_input(network, expected[INPUT], processor), processor)
    for point, seen in result.maps.items():
        whole = stored[point.layer].shape[1] // processor.images
        begin = point.image * whole + point.row * point.map.row * processor.word_bits // 8
        part = slice(begin, begin + seen.shape[1])
        where = f", image {point.image} of a batch" if point.map.images < processor.images else ""
        compare(point.layer, where, seen, stored[point.layer][:, part])
    for name, seen in result.regions.items():
        if name.startswith("map "):
            compare(name[4:], " in DRAM", seen, stored[name[4:]])
    last = network.layers[-1].name
    images = len(result.taken) * processor.images
    logits = np.ascontiguousarray(result.regions["logits"]).reshape(images, -1, processor.word_bits // 8)
    values = np.zeros(logits.shape[:2], dtype=np.int64)
    for byte in range(min(8, logits.shape[2])):
        values |= logits[:, :, byte].astype(np.int64) << (8 * byte)
    if logits.shape[2] < 8:
        values -= (values >> (8 * logits.shape[2] - 1)) << (8 * logits.shape[2])
    wanted = expected[last]
    wanted = wanted if wanted.ndim == 2 else wanted.transpose(0, 2, 3, 1).reshape(images, -1)
    if not np.array_equal(values, wanted):
        differences.append(f"layer {last!r}: {int((values != wanted).sum())} of {wanted.size} logits differ")
    return differences


def _layer_cycles(
    program: Program, result: Simulated, counts: cycles.Counts
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cycles of every layer: until the next layer's first operation is taken; the input's begin with ``start``."""
    names = np.array([operation.layer for operation in program.operations])
    spans = np.diff(result.taken, axis=1)
    rtl = {}
    for index, layer in enumerate(counts.layers):
        rtl[layer.name] = spans[:, names == layer.name].sum(axis=1) + (result.taken[:, 0] if index == 0 else 0)
    return {layer.name: (rtl[layer.name], layer.cycles) for layer in counts.layers}
