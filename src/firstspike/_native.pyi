"""Compiled kernels (src/native): training activations and the native inference engine."""

from collections.abc import Sequence

import numpy as np

def instruction_sets() -> list[str]: ...
def encode(values: np.ndarray, times: np.ndarray, kernel: np.ndarray, threads: int = 1) -> None: ...
def ttfs_forward(
    in_ptr: int,
    out_ptr: int,
    mask_ptr: int,
    count: int,
    kernel: np.ndarray,
    dtype: str,
    threads: int = 1,
    summed: bool = False,
) -> float: ...
def clip_forward(
    in_ptr: int, out_ptr: int, mask_ptr: int, count: int, dtype: str, threads: int = 1, summed: bool = False
) -> float: ...
def masked_backward(
    grad_ptr: int, mask_ptr: int, out_ptr: int, count: int, dtype: str, threads: int = 1, constant: float = 0.0
) -> None: ...
def quantise_forward(
    w_ptr: int, out_ptr: int, count: int, boundaries: np.ndarray, levels: np.ndarray, threads: int = 1
) -> None: ...

class Engine:
    """One network, ready to run. Shapes are (channels, height, width)."""

    def __init__(
        self,
        input: tuple[int, ...],
        T: int,
        weight_bits: int,
        accumulator_bits: int,
        instructions: str,
        path: str,
    ) -> None: ...
    def add_synaptic(
        self,
        source: int,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        stream: np.ndarray,
        kernel: tuple[int, ...],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        fires: bool,
        silence: int,
        spike_values: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        thresholds: np.ndarray,
        identity: np.ndarray,
        residuals: Sequence[int],
        parts: Sequence[int],
        partial: bool,
        shifts: np.ndarray,
    ) -> None: ...
    def add_channels(self, sources: Sequence[int], out_shape: tuple[int, ...], channels: Sequence[int]) -> None: ...
    def add_pool(
        self,
        source: int,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> None: ...
    def add_flatten(self, source: int, in_shape: tuple[int, ...]) -> None: ...
    def codes(self, number: int, stream: np.ndarray) -> None: ...
    def run(self, times: np.ndarray, logits: np.ndarray, traces: Sequence[np.ndarray], threads: int) -> None: ...
    @property
    def instructions(self) -> str: ...
    @property
    def weight_bytes(self) -> int: ...
