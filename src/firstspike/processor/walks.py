"""Walks over one map: how many cycles and spikes the windows of an operation meet, for many images at once."""

import math
from functools import cached_property
from typing import Any

import numpy as np

from firstspike.arith import NO_SPIKE
from firstspike.arith.matrix import product


class Walks:
    """All walks over one map: pairs of a coverage (how many windows see each pixel) and a range of channel words.

    Args:
        words: channel words of a pixel; lanes: neurons of a word.
    """

    def __init__(self, words: int, lanes: int) -> None:
        self.words = words
        self.lanes = lanes
        self._keys: dict[tuple[bytes, int, int, int], int] = {}
        self._coverages: dict[bytes, int] = {}
        self._weights: list[np.ndarray] = []
        self._parts: list[tuple[int, int, int, int]] = []

    def share(self, rows: np.ndarray, columns: np.ndarray, word: int, words: int, outside: int, fresh: int) -> int:
        """Number of the walk of ``words`` words from ``word`` on; ``fresh`` if it is new.

        Args:
            rows: how many windows see each row of the map.
            columns: how many windows see each column.
            word: the first word of a pixel.
            words: how many.
            outside: window positions outside the map (walks that differ in it are not shared).
            fresh: the number of a walk that is new.
        """
        weights = np.outer(rows, columns).ravel()
        coverage = self._coverages.setdefault(weights.tobytes(), len(self._coverages))
        if coverage == len(self._weights):
            self._weights.append(weights)
        key = (weights.tobytes(), word, words, outside)
        if key not in self._keys:
            self._keys[key] = fresh
            self._parts.append((fresh, coverage, word, word + words))
        return self._keys[key]

    def record(self) -> dict[str, Any]:
        """The walks as lists: ``words``, ``lanes``, ``seen`` (windows that see each pixel, by coverage), ``parts`` (number of
        the walk, coverage, first word, word after the last)."""
        return {
            "words": self.words,
            "lanes": self.lanes,
            "seen": [weights.tolist() for weights in self._weights],
            "parts": [list(part) for part in self._parts],
        }

    def count(self, times: np.ndarray, walks: np.ndarray, spikes: np.ndarray) -> None:
        """Fill in the cycles inside the map and the spikes of every walk, ``[walks, n]``.

        A word costs a cycle per spike, but at least one. Both sums are products with the windows that see each pixel, then
        with 0 or 1 per word, in floating point that holds every partial sum exactly.
        """
        numbers, seen, chosen = self._tables
        images, channels = times.shape[:2]
        fired = np.not_equal(times, NO_SPIKE).view(np.uint8).reshape(images, channels, math.prod(times.shape[2:]))
        if channels % self.lanes:
            silent = np.zeros((images, -channels % self.lanes, fired.shape[2]), dtype=np.uint8)
            fired = np.concatenate([fired, silent], axis=1)
        per_word = np.empty((2, images, self.words, len(seen)), dtype=seen.dtype)
        counts = np.einsum("iwlp->iwp", fired.reshape(images, self.words, self.lanes, fired.shape[2]))
        per_word[0] = counts
        per_word[1] = counts == 0
        by_window = product(per_word.reshape(2 * images * self.words, len(seen)), seen)
        sums = product(by_window.reshape(2 * images, len(chosen)), chosen)
        spikes[numbers] = met = sums[:images].T
        walks[numbers] = met + sums[images:].T

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the walks; windows that see each pixel, by coverage; which sums each walk adds."""
        seen = np.stack(self._weights, axis=1)
        exact = np.float32 if self.lanes * self.words * int(seen.sum(axis=0).max()) < 1 << 24 else np.float64
        chosen = np.zeros((self.words, seen.shape[1], len(self._parts)), dtype=exact)
        for part, (_, coverage, first, last) in enumerate(self._parts):
            chosen[first:last, coverage, part] = 1
        return np.array(self._parts)[:, 0], seen.astype(exact), chosen.reshape(-1, len(self._parts))
