"""The compiled training activations against numerics section 1, element for element."""

import numpy as np
import pytest
import torch

from firstspike.arith import Code, decode, encode, kernel

native = pytest.importorskip("firstspike._native", reason="the extension is not built")

CODES = [
    Code(),
    Code(T=1),
    Code(T=3),
    Code(T=2, tau=2, mantissa_bits=1),
    Code(T=20, tau=1, mantissa_bits=0),
    Code(T=40, tau=8, mantissa_bits=6),
    Code(T=255, tau=128, mantissa_bits=12),
]
DTYPES = [torch.float32, torch.bfloat16]


def _inputs(code: Code, dtype: torch.dtype) -> torch.Tensor:
    """Every kernel value and both its neighbours, special values, and noise; an odd number of elements."""
    levels = kernel(code).astype(np.float32)
    near = [levels, np.nextafter(levels, np.float32(0)), np.nextafter(levels, np.float32(9))]
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42], dtype=np.float32)
    noise = np.random.default_rng(0).normal(size=40_001).astype(np.float32)
    values = torch.from_numpy(np.concatenate([*near, special, noise])).to(dtype)
    if dtype == torch.bfloat16:  # neighbours in bfloat16 too
        bits = torch.from_numpy(levels).to(dtype).view(torch.int16)
        values = torch.cat([values, (bits - 1).view(dtype), (bits + 1).view(dtype)])
    return values.contiguous()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=_name)
@pytest.mark.parametrize("code", CODES, ids=str)
def test_ttfs_is_decode_of_encode(code: Code, dtype: torch.dtype, threads: int) -> None:
    levels = kernel(code)[::-1].astype(np.float32)
    if dtype == torch.bfloat16 and code.mantissa_bits > 8:
        pytest.skip("kernel not exact in bfloat16")
    x = _inputs(code, dtype)
    out, mask = torch.empty_like(x), torch.empty(len(x), dtype=torch.uint8)
    native.ttfs_forward(x.data_ptr(), out.data_ptr(), mask.data_ptr(), len(x), levels, _name(dtype), threads)
    exact = x.double().numpy()
    expected = np.where(np.isnan(exact), np.nan, decode(encode(np.nan_to_num(exact), code), code))
    assert np.array_equal(out.double().numpy(), expected, equal_nan=True)
    assert np.array_equal(mask.numpy(), (exact > 0) & (exact < 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=_name)
def test_clip_and_masked_backward(dtype: torch.dtype) -> None:
    x = _inputs(Code(), dtype)
    out, mask = torch.empty_like(x), torch.empty(len(x), dtype=torch.uint8)
    native.clip_forward(x.data_ptr(), out.data_ptr(), mask.data_ptr(), len(x), _name(dtype), 2)
    exact = x.double().numpy()
    assert np.array_equal(out.double().numpy(), np.clip(exact, 0, 1), equal_nan=True)
    grad = torch.randn(len(x), generator=torch.Generator().manual_seed(1)).to(dtype)
    native.masked_backward(grad.data_ptr(), mask.data_ptr(), out.data_ptr(), len(x), _name(dtype), 2)
    assert torch.equal(out, torch.where(mask.bool(), grad, torch.zeros_like(grad)))


def test_in_place_and_without_mask() -> None:
    x = _inputs(Code(), torch.float32)
    out = torch.empty_like(x)
    levels = kernel(Code())[::-1].astype(np.float32)
    native.ttfs_forward(x.data_ptr(), out.data_ptr(), 0, len(x), levels, "float32")
    native.ttfs_forward(x.data_ptr(), x.data_ptr(), 0, len(x), levels, "float32")
    assert np.array_equal(out.numpy(), x.numpy(), equal_nan=True)


def test_quantise_ties_go_up() -> None:
    rng = np.random.default_rng(2)
    boundaries = np.sort(rng.random(15)).astype(np.float32)
    levels = np.append(0, np.sort(rng.random(15))).astype(np.float32)
    w = np.concatenate([rng.normal(size=1001), boundaries, -boundaries, [0.0]]).astype(np.float32)
    out = np.empty_like(w)
    native.quantise_forward(w.ctypes.data, out.ctypes.data, len(w), boundaries, levels, 2)
    expected = np.sign(w) * levels[np.searchsorted(boundaries, np.abs(w), side="right")]
    assert np.array_equal(out, expected)


def test_errors_name_rule_and_value() -> None:
    levels = kernel(Code())[::-1].astype(np.float32)
    with pytest.raises(ValueError, match="dtype must be float32 or bfloat16, not 'float64'"):
        native.ttfs_forward(0, 0, 0, 0, levels, "float64")
    with pytest.raises(ValueError, match=r"threads must be in 1\.\.1024, not 0"):
        native.clip_forward(0, 0, 0, 0, "float32", 0)
    with pytest.raises(ValueError, match="kernel must rise strictly"):
        native.ttfs_forward(0, 0, 0, 0, levels[::-1].copy(), "float32")
    with pytest.raises(ValueError, match="kernel must be exact in bfloat16"):
        fine = kernel(Code(T=255, tau=128, mantissa_bits=12))[::-1].astype(np.float32)
        native.ttfs_forward(0, 0, 0, 0, fine, "bfloat16")
