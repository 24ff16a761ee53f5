"""What the cycle model knows before it sees an image: every operation's constants, and which spikes it will meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.arith.matrix import product
from firstspike.compiler.timing import LATENCY
from firstspike.processor.walks import Walks
from firstspike.spec.network import INPUT
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import descriptor_words

RESTING = ("activation_off_cycles", "membrane_off_cycles", "weight_off_cycles")
"""Events that say how long memories are off."""

EVENTS = (
    "cycles",
    "walk_cycles",
    "fire_cycles",
    "wait_cycles",
    "rows",
    "sops",
    "lane_adds",
    "nonzero_adds",
    "threshold_steps",
    "activation_read_bits",
    "activation_write_bits",
    "weight_read_bits",
    "weight_write_bits",
    "unpacked_bits",
    "bias_read_bits",
    "bias_write_bits",
    "membrane_read_bits",
    "membrane_write_bits",
    "dram_read_bits",
    "dram_write_bits",
    *RESTING,
    "woken_bits",
)
"""Names of the counted fields of `LayerCounts`, in order."""

TAKE = 1
"""Cycles in which the controller takes an operation from the loader."""
BURST = 1
"""Cycles of a burst request that is accepted at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Static part of the model of one network on one processor: of a run, which is one batch of ``processor.images`` images.

    The walk of a window box over a map is linear in two numbers per word, its spikes and whether it has none; so all walks
    over a map are one product with the number of windows that see each pixel. Equal walks of different tiles are shared.
    Made by `firstspike.processor.planner.plan`.

    Attributes:
        processor: the processor.
        layers: name and kind of every layer that takes operations, by execution, ``"input"`` first.
        sources: walks over each map, by its name.
        offsets: cycles of every walk outside its map, int64 ``[walks]``.
        layer_of: index of every operation's layer, int64 ``[operations]``.
        walk_of: number of its walk, -1 without one.
        images: first image of the batch that it works on and the one after its last, int64 ``[operations, 2]``.
        constant: cycles that do not depend on spikes.
        bursts: bursts and words that the loader fetches for every operation, and for the end, and cycles that it passes
            where there is no payload to ask for, int64 ``[operations + 1, 3]``.
        transfer: whether it is a transfer, whether a load, and its words, int64 ``[operations, 3]``.
        payload: whether the loader fetches weight rows for it, and for the end, int64 ``[operations + 1]``.
        resting: banks of the activation buffer that are off in it, whether the membrane memory is, and weight banks that
            are until rows are fetched for the next, int64 ``[operations, 3]``.
        static: counts whatever the spikes, int64 ``[events, layers]``.
        dynamic: counts in proportion to the spikes and to the cycles of each walk, float64 ``[2, rows, walks]``.
        synapses: of every connection: its map, its layer's index, and the synapses of non-zero weight that leave each
            neuron of the map, float64.
        dynamic_rows: rows of ``static``, flattened, that they belong to.
    """

    processor: ProcessorSpec
    layers: tuple[tuple[str, str], ...]
    sources: Mapping[str, Walks]
    offsets: np.ndarray
    layer_of: np.ndarray
    walk_of: np.ndarray
    images: np.ndarray
    constant: np.ndarray
    bursts: np.ndarray
    transfer: np.ndarray
    payload: np.ndarray
    resting: np.ndarray
    static: np.ndarray
    dynamic: np.ndarray
    dynamic_rows: np.ndarray
    synapses: tuple[tuple[str, int, np.ndarray], ...]

    def walk(self, times: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Cycles of every shared walk and spikes met in it, int64 ``[walks, runs, images of a run]`` each."""
        images = len(times[INPUT])
        walks = np.zeros((len(self.offsets), images), dtype=np.int64)
        spikes = np.zeros_like(walks)
        for name, source in self.sources.items():
            source.count(times[name], walks, spikes)
        walks += self.offsets[:, None]
        shape = (len(walks), -1, self.processor.images)
        return walks.reshape(shape), spikes.reshape(shape)

    def base(self, stall: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Cycles of every operation without its walk, and of the loader's fetch before each and at the end.

        Args:
            stall: probability that the DRAM holds a stream of its port back in a cycle.
        """
        request, latency, beat = self._dram(stall)
        fetch = self.bursts[:, 0] * (request + latency) + self.bursts[:, 1] * beat + self.bursts[:, 2]
        transfers, loads, words = self.transfer.T
        single = stall == 0 and self.processor.dram_cycles_per_word == 1
        static: np.ndarray = (
            self.constant + transfers * request + words * beat + np.where(loads, latency, transfers * LATENCY * single)
        )
        return static, fetch

    def _dram(self, stall: float) -> tuple[float, int, float]:
        """Cycles of a request, from there to the first word, and of a word."""
        beat = self.processor.dram_cycles_per_word - 1 + 1 / (1 - stall)
        return BURST / (1 - stall), self.processor.dram_latency_cycles, beat

    def _slots(self, walks: np.ndarray, stall: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cycles of every operation, and with the wait for the next fetch, ``[operations, runs]``; of the fetches."""
        static, fetch = self.base(stall)
        execute = np.repeat(static[:, None], walks.shape[1], axis=1)
        before = np.zeros((*walks.shape[:2], walks.shape[2] + 1), dtype=np.int64)
        np.cumsum(walks, axis=2, out=before[:, :, 1:])
        walk, (first, last) = self.walk_of[self._walking], self.images[self._walking].T
        execute[self._walking] += before[walk, :, last] - before[walk, :, first]
        ahead = fetch[1:, None]
        slots = np.maximum(execute, ahead)
        slots[self._transfers] = execute[self._transfers] + ahead[self._transfers]
        return execute, slots, fetch

    def schedule(self, walks: np.ndarray, stall: float) -> tuple[np.ndarray, np.ndarray]:
        """Cycles of every layer, and of these the cycles of waiting for DRAM, int64 ``[layers, runs]`` each."""
        execute, slots, fetch = self._slots(walks, stall)
        taking = TAKE * self._of_layer.sum(axis=1, keepdims=True)
        cycles = self._of_layer @ slots + taking
        waits = cycles - (self._of_layer @ execute + taking)
        cycles[0] += fetch[0] + TAKE
        waits[0] += fetch[0]
        return np.rint(cycles).astype(np.int64), np.rint(waits).astype(np.int64)

    def off(self, stall: float = 0.0) -> np.ndarray:
        """Bank-cycles off by operation: what each of its cycles counts, and what is added, ``[3, 2, operations]``.

        Of activation buffer, membrane memory, weight banks. What is on changes the cycle after an
        operation is taken, so an operation has the cycles from its taking to the next one's. A weight
        bank is on from the request of its payload until the operation behind the last one that uses it is taken.
        """
        _, fetch = self.base(stall)
        request, latency, beat = self._dram(stall)
        descriptor = request + latency + descriptor_words(self.processor) * beat
        then, transfers = self.payload[1:], self.transfer[:, 0]
        # The next payload is asked for once its descriptor is there. The fetch of that begins when the
        # operation is taken, or when a transfer is over.
        ahead = np.where(transfers, descriptor - fetch[1:], TAKE + descriptor) * then
        none = np.zeros(len(ahead))
        activations, membranes, weights = self.resting.T
        factors = np.stack([activations, membranes, weights - then * (1 - transfers)])
        return np.stack([factors, np.stack([none, none, ahead])], axis=1)

    @property
    def banks(self) -> tuple[int, int, int]:
        """Banks of activation buffer, membrane memory, weight buffer; before the first operation all are off."""
        return self.processor.banks, 1, 2

    def rest(self, walks: np.ndarray, stall: float) -> np.ndarray:
        """Bank-cycles in which memories are off, int64 ``[3, layers, runs]``, in the order of `off`."""
        _, slots, fetch = self._slots(walks, stall)
        cycles = slots + TAKE
        rest = np.stack([self._of_layer @ (each[:, None] * cycles + more[:, None]) for each, more in self.off(stall)])
        rest[:, 0] += np.array(self.banks)[:, None] * (fetch[0] + TAKE)
        rounded: np.ndarray = np.rint(rest).astype(np.int64)
        return rounded

    def events(self, walks: np.ndarray, spikes: np.ndarray, times: Mapping[str, np.ndarray]) -> np.ndarray:
        """All other counts, int64 ``[events, layers, runs]``."""
        walks, spikes = walks.sum(axis=2), spikes.sum(axis=2)
        events = np.repeat(self.static.reshape(-1, 1), walks.shape[1], axis=1)
        counted = product(self.dynamic[0], spikes.astype(np.float64)) + product(
            self.dynamic[1], walks.astype(np.float64)
        )
        events[self.dynamic_rows] += counted.astype(np.int64)
        events = events.reshape(len(EVENTS), len(self.layers), -1)
        for name, layer, leaving in self.synapses:
            fired = np.not_equal(times[name], NO_SPIKE).reshape(len(times[name]), -1)
            added = product(fired.astype(np.float64), leaving).reshape(-1, self.processor.images).sum(axis=1)
            events[EVENTS.index("nonzero_adds"), layer] += added.astype(np.int64)
        return events

    @cached_property
    def _walking(self) -> np.ndarray:
        return np.flatnonzero(self.walk_of >= 0)

    @cached_property
    def _transfers(self) -> np.ndarray:
        return np.flatnonzero(self.transfer[:, 0])

    @cached_property
    def _of_layer(self) -> np.ndarray:
        """Which operations are a layer's, as 0 and 1, float64 ``[layers, operations]``."""
        of_layer: np.ndarray = self.layer_of == np.arange(len(self.layers))[:, None]
        return of_layer.astype(np.float64)
