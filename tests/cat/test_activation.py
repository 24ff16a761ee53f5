"""Training activations against the oracle's encode and decode, element for element, in every type and layout."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from oracles import tables

from firstspike.arith import Code
from firstspike.cat import kernels
from firstspike.cat.activation import clip, kernel_levels, summed_clip, summed_ttfs, ttfs

CODES = [
    Code(),
    Code(T=1),
    Code(T=3),
    Code(T=2, tau=2, mantissa_bits=1),
    Code(T=20, tau=1, mantissa_bits=0),
    Code(T=25, tau=1, mantissa_bits=3),
    Code(T=40, tau=8, mantissa_bits=6),
    Code(T=33, tau=16, mantissa_bits=7),
    Code(T=255, tau=128, mantissa_bits=12),
]
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NATIVE = pytest.mark.skipif(kernels._native is None, reason="the extension is not built")


def name(value: object) -> str:
    return str(value).removeprefix("torch.").replace("mantissa_bits", "M")


def params(code: Code) -> tables.Params:
    return tables.Params(T=code.T, tau=code.tau, M=code.mantissa_bits)


@cache
def kappas(code: Code) -> list[Fraction]:
    return [tables.kappa(t, params(code)) for t in range(code.T)]


def exact(code: Code, dtype: torch.dtype) -> bool:
    """Whether the type holds every kernel value."""
    values = torch.tensor([float(value) for value in kappas(code)], dtype=torch.float64)
    return values.to(dtype).double().tolist() == [float(value) for value in kappas(code)]


def decoded(value: float, code: Code) -> float:
    """What the oracle makes of one membrane value; NaN stays, so that training notices."""
    if math.isnan(value):
        return math.nan
    if math.isinf(value):
        return 1.0 if value > 0 else 0.0
    return float(tables.decode(tables.encode(Fraction(value), params(code)), params(code)))


def neighbours(values: torch.Tensor) -> torch.Tensor:
    """The next floats below and above positive values, by their bits."""
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    return torch.cat([(values.view(bits) + step).view(values.dtype) for step in (-1, 1)])


@cache
def inputs(code: Code, dtype: torch.dtype) -> torch.Tensor:
    """Every kernel value with both neighbours, special values, and noise, in a number that no vector length divides."""
    levels = torch.tensor([float(value) for value in kappas(code)], dtype=torch.float64).to(dtype)
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, -0.84375, 2.0, 65000.0, torch.finfo(dtype).tiny]
    rng = np.random.default_rng(5)
    noise = np.concatenate([rng.normal(size=150), rng.random(150), 2.0 ** rng.uniform(-26, 1, 151)])
    values = [levels, neighbours(levels), torch.tensor(special).to(dtype), torch.from_numpy(noise).to(dtype)]
    return torch.cat(values)


def equal(found: torch.Tensor, expected: list[float]) -> bool:
    return bool(np.array_equal(found.double().numpy(), np.array(expected), equal_nan=True))


def each(*, plain: bool) -> list[object]:
    """Every code in every type that holds its kernel, and whether to go without the extension."""
    pairs = [(code, dtype) for code in CODES for dtype in FLOATS if exact(code, dtype)]
    return [pytest.param(*pair, plain, id=f"{name(pair[0])}-{name(pair[1])}") for pair in pairs]


def test_types_that_hold_the_default_kernel() -> None:
    assert all(exact(Code(), dtype) for dtype in FLOATS)
    assert not exact(Code(T=255, tau=128, mantissa_bits=12), torch.bfloat16)


@pytest.mark.parametrize(("code", "dtype", "plain"), [*each(plain=False), *each(plain=True)])
def test_ttfs_is_the_oracles_decode_of_encode(
    code: Code, dtype: torch.dtype, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain:
        monkeypatch.setattr(kernels, "_native", None)
    u = inputs(code, dtype).clone().requires_grad_()
    x = ttfs(u, kernel_levels(code).to(dtype))
    assert x.dtype == dtype
    values = u.detach().double().tolist()
    assert equal(x.detach(), [decoded(value, code) for value in values])
    gradient = torch.arange(1.0, len(values) + 1).remainder(97).to(dtype)
    x.backward(gradient)
    assert u.grad is not None
    assert equal(u.grad, [g if 0 < v < 1 else 0.0 for g, v in zip(gradient.tolist(), values, strict=True)])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_clip(dtype: torch.dtype, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if plain:
        monkeypatch.setattr(kernels, "_native", None)
    u = inputs(Code(), dtype).clone().requires_grad_()
    x = clip(u)
    assert x.dtype == dtype
    values = u.detach().double().tolist()
    assert equal(x.detach(), [v if math.isnan(v) else min(max(v, 0.0), 1.0) for v in values])
    gradient = torch.arange(1.0, len(values) + 1).remainder(89).to(dtype)
    x.backward(gradient)
    assert u.grad is not None
    assert equal(u.grad, [g if 0 < v < 1 else 0.0 for g, v in zip(gradient.tolist(), values, strict=True)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=name)
@pytest.mark.parametrize(
    "code", [Code(), Code(T=40, tau=8, mantissa_bits=6), Code(T=20, tau=1, mantissa_bits=0)], ids=name
)
def test_every_number_of_16_bits(code: Code, dtype: torch.dtype) -> None:
    u = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
    if not exact(code, dtype):
        pytest.skip("the type does not hold the kernel")
    rising = np.array([float(value) for value in reversed(kappas(code))])
    values = u.double().numpy()
    passed = np.array([0.0, *rising])[np.searchsorted(rising, np.nan_to_num(values), side="right")]
    expected = np.where(np.isnan(values), np.nan, passed)
    assert np.array_equal(ttfs(u, kernel_levels(code).to(dtype)).double().numpy(), expected, equal_nan=True)


def layouts(u: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same values ``[3, 4, 5, 7]`` in other orders of memory."""
    wide = torch.zeros(3, 4, 5, 14, dtype=u.dtype)
    wide[..., ::2] = u
    return {
        "channels last": u.contiguous(memory_format=torch.channels_last),
        "every other": wide[..., ::2],
        "transposed": u.transpose(0, 3).contiguous().transpose(0, 3),
        "rows last": u.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3),
        "part": torch.cat([u, u])[:3],
        "three axes": u.flatten(2),
    }


@pytest.mark.parametrize("function", [clip, lambda u: ttfs(u, kernel_levels(Code()).to(u))], ids=["clip", "ttfs"])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_layouts_do_not_matter(dtype: torch.dtype, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    u = inputs(Code(), dtype)[:420].nan_to_num().reshape(3, 4, 5, 7)
    gradient = torch.randn(u.shape, generator=torch.Generator().manual_seed(1)).to(dtype)

    def run(values: torch.Tensor, towards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = values.detach().requires_grad_()
        out = function(leaf)
        out.backward(towards)
        assert leaf.grad is not None
        return out.detach(), leaf.grad

    expected = run(u, gradient)
    for label, other in layouts(u).items():
        for kind, towards in {"plain": gradient, **layouts(gradient)}.items():
            found = run(other, towards.reshape(other.shape))
            assert torch.equal(found[0].reshape(u.shape), expected[0]), label
            assert torch.equal(found[1].reshape(u.shape), expected[1]), (label, kind)
    leaf = u.detach().requires_grad_()
    function(leaf).sum().backward()  # a gradient that is one number, expanded
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, ((u > 0) & (u < 1)).to(dtype))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3, 2, 2), (1, 1, 1, 1)])
def test_small_shapes(shape: tuple[int, ...]) -> None:
    u = torch.full(shape, 0.9)
    assert torch.equal(ttfs(u, kernel_levels(Code()).float()), torch.full(shape, 0.84375))
    assert torch.equal(clip(u), u)


@NATIVE
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=name)
def test_the_extension_takes_part(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    class Spy:
        def __getattr__(self, function: str) -> object:
            called.append(function)
            return getattr(native, function)

    native = kernels._native
    monkeypatch.setattr(kernels, "_native", Spy())
    for layout in (torch.contiguous_format, torch.channels_last):
        u = torch.rand(2, 3, 4, 4).to(dtype).contiguous(memory_format=layout).requires_grad_()
        ttfs(u, kernel_levels(Code()).to(dtype)).backward(torch.ones_like(u))
        clip(u).backward(torch.ones_like(u))
    assert called == ["ttfs_forward", "masked_backward", "clip_forward", "masked_backward"] * 2


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_gradients_that_are_not_finite_are_cut_off(
    dtype: torch.dtype, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain:
        monkeypatch.setattr(kernels, "_native", None)
    u = torch.tensor([-1.0, 2.0, 0.5, math.nan, 0.5], dtype=dtype, requires_grad=True)
    clip(u).backward(torch.tensor([math.inf, math.nan, math.inf, 1.0, -3.0], dtype=dtype))
    assert u.grad is not None
    assert u.grad.tolist() == [0.0, 0.0, math.inf, 0.0, -3.0]


def test_levels_rise_from_silence() -> None:
    assert kernel_levels(Code(T=5)).tolist() == [0.0, 0.5, 19 / 32, 23 / 32, 27 / 32, 1.0]
    assert kernel_levels(Code()).dtype == torch.float64


@pytest.mark.parametrize("used", ["values and sum", "sum alone"])
@pytest.mark.parametrize("function", ["clip", "ttfs"])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_sums_and_their_gradients(
    dtype: torch.dtype, plain: bool, function: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain:
        monkeypatch.setattr(kernels, "_native", None)
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(2, 5, 67, 59, generator=generator).to(dtype).requires_grad_()  # more than one chunk of the kernels
    towards = (torch.randint(-8, 9, u.shape, generator=generator) / 8).to(dtype)
    if function == "clip":
        x, total = summed_clip(u)
        expected = u.detach().double().clamp(0, 1)
    else:
        x, total = summed_ttfs(u, kernel_levels(Code()).to(dtype))
        expected = ttfs(u.detach().double(), kernel_levels(Code()))
    assert total is not None and total.dtype == torch.float32
    assert torch.equal(x.double(), expected)
    assert float(total.detach()) == pytest.approx(float(expected.sum()), rel=1e-6)
    loss = 0.25 * total  # exact in every type
    if used == "values and sum":
        loss = loss + (x.double() * towards.double()).sum()
    loss.backward()
    inside = (u > 0) & (u < 1)
    gradient = torch.where(inside, (towards.double() if used == "values and sum" else 0.0) + 0.25, 0.0)
    assert u.grad is not None
    assert torch.equal(u.grad.double(), gradient)
