"""The oracle against values worked out by hand, and its two evaluators against each other."""

import random
import struct
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product as grid
from typing import Any

import pytest

from . import layers, tables
from . import network as nets
from .tables import NO_SPIKE, Params

DEFAULT = Params()
G0 = 22  # of a layer with k = 0 by default: 5 + 5 + (23 div 4 = 5) + (15 div 2 = 7) + 0
POWERS = (1, 2, 4, 8)
REFUSED = {(4, 2), (8, 2), (8, 3), (8, 4)}  # (tau, M) in 2..8 whose rounded mantissas are not all different
Z = 15  # the default code of zero, sign 0


def plain_network(shape: tuple[int, ...], *stack: dict[str, Any], params: Params = DEFAULT) -> dict[str, Any]:
    return {"params": params, "input_shape": shape, "layers": list(stack)}


# ---- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "bits", "expected"),
    [
        (1, 5, [32]),
        (2, 5, [32, 23]),  # 22.63
        (4, 5, [32, 27, 23, 19]),  # 26.91 22.63 19.03
        (8, 5, [32, 29, 27, 25, 23, 21, 19, 17]),  # 29.34 26.91 24.68 22.63 20.75 19.03 17.45
        (4, 3, [8, 7, 6, 5]),  # 6.73 5.66 4.76
        (8, 8, [256, 235, 215, 197, 181, 166, 152, 140]),  # 234.75 215.27 197.40 181.02 165.995 152.22 139.58
        (4, 2, [4, 3, 3, 2]),  # 3.36 2.83 2.38
        (2, 0, [1, 1]),  # 0.707
    ],
)
def test_mantissas_by_hand(steps: int, bits: int, expected: list[int]) -> None:
    assert [tables.mantissa(bits, f, steps) for f in range(steps)] == expected


@pytest.mark.parametrize(("steps", "bits"), list(grid(POWERS, range(13))))
def test_mantissas_by_decimals(steps: int, bits: int) -> None:
    with localcontext() as context:
        context.prec = 60
        for f in range(steps):
            exact = Decimal(2) ** (bits - Decimal(f) / steps)
            assert f == 0 or abs(exact % 1 - Decimal("0.5")) > Decimal("1e-6")  # far from a tie, so 60 digits decide
            assert tables.mantissa(bits, f, steps) == int((exact + Decimal("0.5")).to_integral_value("ROUND_FLOOR"))


def test_kernel_by_hand() -> None:
    assert tables.mx(DEFAULT) == [32, 27, 23, 19]
    assert [tables.kappa(t, DEFAULT) for t in (0, 1, 3, 4, 5, 23)] == [
        1,
        Fraction(27, 32),
        Fraction(19, 32),
        Fraction(1, 2),
        Fraction(27, 64),
        Fraction(19, 1024),
    ]
    with pytest.raises(ValueError, match=r"t must be in 0 .. 23, not 24"):
        tables.kappa(24, DEFAULT)


@pytest.mark.parametrize(("tau", "M"), list(grid(POWERS, range(2, 9))))
def test_kernels_that_do_not_fall_are_refused(tau: int, M: int) -> None:
    if (tau, M) in REFUSED:
        with pytest.raises(ValueError, match="kernel must fall strictly"):
            Params(tau=tau, M=M)
    else:
        params = Params(tau=tau, M=M)
        assert [tables.encode(tables.kappa(t, params), params) for t in range(24)] == list(range(24))


def test_fall_is_required_within_the_window_only() -> None:
    assert tables.mx(Params(T=6, tau=8, M=4)) == [16, 15, 13, 12, 11, 10, 10, 9]
    with pytest.raises(ValueError, match="kernel must fall strictly"):
        Params(T=7, tau=8, M=4)


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (TypeError, {"T": 24.0}, r"T must be an int, not 24\.0"),
        (TypeError, {"M": True}, "M must be an int, not True"),
        (ValueError, {"tau": 3}, "tau must be a power of two, not 3"),
        (ValueError, {"rho": 0}, "rho must be a power of two, not 0"),
        (ValueError, {"bits": 1}, "bits must be at least 2 and at most 8, not 1"),
        (ValueError, {"bits": 9}, "bits must be at least 2 and at most 8, not 9"),
        (ValueError, {"T": 256, "tau": 8, "M": 8}, "T must be at least 1 and at most 255, not 256"),
        (ValueError, {"M_w": -1}, "M_w must be at least 0"),
    ],
)
def test_params_are_checked(kind: type[Exception], values: dict[str, Any], text: str) -> None:
    with pytest.raises(kind, match=text):
        Params(**values)


def test_encode_by_hand() -> None:
    tiny = Fraction(1, 10**9)
    cases = {
        Fraction(7): 0,  # u >= 1 fires at once
        Fraction(1): 0,
        1 - tiny: 1,
        Fraction(27, 32): 1,  # a tie fires
        Fraction(27, 32) - tiny: 2,
        Fraction(1, 2): 4,
        Fraction(19, 1024): 23,
        Fraction(19, 1024) - tiny: None,
        Fraction(0): None,
        Fraction(-3): None,
    }
    assert {u: tables.encode(u, DEFAULT) for u in cases} == cases
    assert tables.encode(0, DEFAULT) is None
    assert tables.decode(None, DEFAULT) == tables.decode(NO_SPIKE, DEFAULT) == 0
    assert tables.decode(5, DEFAULT) == Fraction(27, 64)
    with pytest.raises(TypeError, match=r"u must be an int or a Fraction, not 0\.5"):
        tables.encode(0.5, DEFAULT)  # type: ignore[arg-type]


def test_pixels_of_eight_bits_do_not_depend_on_the_float_type() -> None:
    for v in range(256):
        exact = Fraction(v, 255)
        single = struct.unpack("f", struct.pack("f", v / 255))[0]
        times = nets.encode_pixels([exact, v / 255, single], DEFAULT)
        assert times == [times[0]] * 3
    assert nets.encode_pixels([[1.0, 0.5], [0.0, 0.84375]], DEFAULT) == [0, 4, NO_SPIKE, 1]
    with pytest.raises(ValueError, match=r"pixels must be in \[0, 1\], not Fraction\(9, 8\)"):
        nets.encode_pixels([0.0, 1.125], DEFAULT)


def test_weights_by_hand() -> None:
    assert tables.mw(DEFAULT) == [32, 23]
    assert [tables.level(j, DEFAULT) for j in (-3, -2, -1, 0, 1, 2, 3)] == [
        Fraction(23, 8),  # -3 = 2 * -2 + 1
        2,
        Fraction(23, 16),
        1,
        Fraction(23, 32),
        Fraction(1, 2),
        Fraction(23, 64),
    ]
    assert tables.weight(0, 0, 0, DEFAULT) == 1
    assert tables.weight(3, 1, -5, DEFAULT) == -2
    assert tables.weight(14, 0, 1, DEFAULT) == Fraction(23, 32 * 128)
    assert tables.weight(15, 0, -99, DEFAULT) == tables.weight(15, 1, 99, DEFAULT) == 0  # the last level is zero
    two_bits = Params(bits=2)
    assert [tables.weight(*tables.unpack(code, two_bits), 0, two_bits) for code in range(4)] == [1, 0, -1, 0]
    with pytest.raises(ValueError, match=r"q must be in 0 .. 15 and sign 0 or 1, not \(16, 0\)"):
        tables.weight(16, 0, 0, DEFAULT)


@pytest.mark.parametrize("bits", range(2, 9))
def test_code_bytes(bits: int) -> None:
    params = Params(bits=bits)
    codes = [tables.pack(q, sign, params) for sign, q in grid((0, 1), range(2 ** (bits - 1)))]
    assert codes == list(range(2**bits))
    assert [tables.pack(*tables.unpack(code, params), params) for code in codes] == codes
    with pytest.raises(ValueError, match=f"code must be in 0 .. {2**bits - 1}, not {2**bits}"):
        tables.unpack(2**bits, params)


def test_code_bytes_by_hand() -> None:
    assert [tables.pack(q, sign, DEFAULT) for q, sign in [(0, 0), (0, 1), (14, 1), (15, 0), (15, 1)]] == [
        0,
        16,
        30,
        15,
        31,
    ]


@pytest.mark.parametrize(
    ("n", "rho", "j"),
    [
        (1, 2, 0),
        (4, 2, 4),
        (3, 2, 3),  # 23/64
        (9, 2, 6),  # 1/8, for 1/9 lies 0.0139 below it and 0.0213 above 23/256
        (49, 2, 11),  # 23/1024
        (11, 1, 4),  # 1/16 is nearest; by logarithms it would be 1/8
        (16, 8, 32),
        (3, 1, 2),
        (7, 4, 11),  # 4 / 7 = 0.571 is nearer to 19/32 = 0.594 than to 1/2
    ],
)
def test_nearest_level_by_hand(n: int, rho: int, j: int) -> None:
    assert tables.nearest_level(Fraction(1, n), Params(rho=rho)) == (0, j)


@pytest.mark.parametrize(("rho", "M_w"), list(grid(POWERS, (0, 2, 5))))
def test_nearest_level_by_search(rho: int, M_w: int) -> None:
    params = Params(rho=rho, M_w=M_w)
    for value in [Fraction(1, n) for n in range(1, 66)] + [Fraction(3, 4), Fraction(5), Fraction(100, 7)]:
        best = min(abs(tables.level(j, params) - value) for j in range(-64, 96))
        q, k = tables.nearest_level(value, params)
        assert abs(tables.weight(q, 0, k, params) - value) == best
    # 3/4 lies amid 1/2 and 1; with M_w = 0 and rho = 2 the levels come in equal pairs. The smaller j is taken.
    assert tables.nearest_level(Fraction(3, 4), Params(rho=1)) == (0, 0)
    assert tables.nearest_level(Fraction(1, 2), Params(rho=2, M_w=0)) == (0, 2)
    with pytest.raises(ValueError, match="value must be above 0"):
        tables.nearest_level(Fraction(0), params)


# ---- integers -----------------------------------------------------------------------------------------------------


def test_products_by_hand() -> None:
    assert DEFAULT.S == 12
    assert [tables.exponent_g(k, DEFAULT) for k in (0, 1, 2, -1, -2, -3)] == [22, 22, 23, 21, 21, 20]
    assert tables.product_table(DEFAULT) == [[1024, 736], [864, 621], [736, 529], [608, 437]]
    assert tables.product(0, 0, 0, 0, DEFAULT) == 2**22  # 1 * 1
    assert tables.product(3, 6, 1, 1, DEFAULT) == -736 * 2**9  # r = 1 wraps 3 + 1: 1/4 * 23/64, shift 12 - 1 - 2
    assert tables.product(0, 0, 0, -3, DEFAULT) == 736 * 2**12  # r = 1, e = -2: 23/8 at G = 20
    assert tables.product(14, 23, 0, 1, DEFAULT) == 437  # the least product shifts by 12 - 5 - 7 = 0
    assert tables.product(15, 0, 1, 1, DEFAULT) == 0
    # T no multiple of tau, rho = 8: S = 9 div 4 + (6 + 7) div 8 = 3; q + r = 6 + 7 = 13, 19 * m_w[5] << 3 - 1 - 1
    odd = Params(T=10, bits=4, rho=8)
    assert (odd.S, tables.product(6, 7, 0, 7, odd)) == (3, 19 * 21 * 2)


@pytest.mark.parametrize(("tau", "rho"), list(grid(POWERS, POWERS)))
def test_product_is_exact(tau: int, rho: int) -> None:
    rng = random.Random(100 * tau + rho)
    for bits in range(2, 9):
        M = rng.choice([M for M in range(2, 9) if (tau, M) not in REFUSED])
        params = Params(T=rng.randint(1, 30), tau=tau, M=M, bits=bits, rho=rho, M_w=rng.randint(2, 8))
        for k in (-3 * rho - 1, -1, 0, rng.randint(1, 3 * rho)):
            unit = tables.power_of_two(-tables.exponent_g(k, params))
            for t, code in grid(range(params.T), rng.sample(range(2**bits), min(2**bits, 16))):
                q, sign = tables.unpack(code, params)
                exact = tables.weight(q, sign, k, params) * tables.kappa(t, params)
                assert tables.product(q, t, sign, k, params) * unit == exact
        # S is the least shift that serves all products: the last one of r = rho - 1 is not shifted at all.
        last = tables.product(params.q_max, params.T - 1, 0, rho - 1, params)
        assert last == tables.mx(params)[(params.T - 1) % tau] * tables.mw(params)[(params.q_max + rho - 1) % rho]


def test_thresholds_by_hand() -> None:
    theta = tables.thresholds(G0, DEFAULT)
    assert len(theta) == 24
    assert (theta[0], theta[1], theta[23]) == (2**22, 27 * 2**17, 19 * 2**12)
    assert tables.thresholds(4, DEFAULT)[:10] == [16, 14, 12, 10, 8, 7, 6, 5, 4, 4]  # 13.5 11.5 9.5 ... 3.375
    assert tables.thresholds(-1, DEFAULT) == [1] * 24
    assert [tables.fire(u, theta) for u in (2**30, 2**22, 2**22 - 1, 27 * 2**17, 27 * 2**17 - 1)] == [0, 0, 1, 1, 2]
    assert [tables.fire(u, theta) for u in (19 * 2**12, 19 * 2**12 - 1, 0, -(2**31))] == [23, None, None, None]
    # With k = 18, G = 31: kappa(0) is beyond 32 bits. No membrane reaches it, so the first possible spike is t = 1.
    assert tables.fire(2**31 - 1, tables.thresholds(31, DEFAULT)) == 1


@pytest.mark.parametrize("G", [-3, 0, 1, 4, 9, 12])
def test_integer_thresholds_fire_as_real_values_do(G: int) -> None:
    theta = tables.thresholds(G, DEFAULT)
    for u in range(-5, 2 ** max(G, 0) + 5):
        assert tables.fire(u, theta) == tables.encode(u * tables.power_of_two(-G), DEFAULT)


def test_rounding_by_hand() -> None:
    halves = [Fraction(n, 2) for n in (-5, -3, -1, 0, 1, 3, 5)]
    assert [tables.round_half_even(value) for value in halves] == [-2, -2, 0, 0, 0, 2, 2]
    assert [tables.round_half_even(Fraction(n, 3)) for n in (-5, -4, 4, 5)] == [-2, -1, 1, 2]
    assert [tables.ceiling(Fraction(n, 3)) for n in (-4, -3, 0, 1, 3, 4)] == [-1, -1, 0, 1, 1, 2]
    assert tables.integer_bias(0.1, 22) == 419430  # 419430.4
    assert [tables.integer_bias(b, -1) for b in (1, 3, 5, -1)] == [0, 2, 2, 0]
    assert tables.integer_bias(Fraction(-3, 2), 22) == -3 * 2**21


def test_wrap_by_hand() -> None:
    assert [tables.wrap(u, 8) for u in (0, 127, 128, 255, 256, -128, -129)] == [0, 127, -128, -1, 0, -128, 127]


def test_residual_by_hand() -> None:
    assert tables.residual(0, 22, DEFAULT) == 2**22
    assert tables.residual(23, 22, DEFAULT) == 19 * 2**12
    assert tables.residual(23, 10, DEFAULT) == 19
    with pytest.raises(ValueError, match=r"residual at t = 23 must be an integer .* not Fraction\(19, 2\)"):
        tables.residual(23, 9, DEFAULT)


# ---- networks by hand ---------------------------------------------------------------------------------------------


def test_linear_by_hand() -> None:
    # 1/2 * 1 + 1/2 * 27/32 = 59/64, under 1 and over 27/32; -1 * 1 + 23/32 * 27/32 < 0; zeros of both signs and the
    # bias 27/32: a tie.
    codes = [[2, 2], [16, 1], [15, 31]]
    net = plain_network((2,), nets.linear("a", "input", codes, 0, [0, 0, 27 * 2**17]))
    result = nets.run(net, [1.0, 0.9])
    assert result.times == {"input": [0, 1], "a": [1, NO_SPIKE, 1]}
    assert result.membranes["a"] == [59 * 2**16, -(2**22) + 621 * 2**12, 27 * 2**17]
    assert (result.sops, result.sops_nonzero) == ({"a": 6}, {"a": 4})
    assert (result.spikes, result.neurons) == ({"input": 2, "a": 2}, {"input": 2, "a": 3})
    assert result.spikes_per_neuron() == Fraction(4, 5)
    assert (result.logits, result.label) == (None, None)
    assert nets.run(net, [0.0, 0.0]).sops == {"a": 0}


def test_logits_and_the_lowest_index_on_a_tie() -> None:
    net = plain_network((1,), nets.linear("out", "input", [[16], [2], [2], [3]], 2, [0, 7, 7, 0], fires=False))
    result = nets.run(net, [1])
    assert result.logits == [-(2**22), 2**21 + 7, 2**21 + 7, 736 * 2**11]  # G = 23 and e = 1: -1/2, 1/4, 1/4, 23/128
    assert result.label == 1
    assert result.times == {"input": [0]}
    assert result.spikes_per_neuron() == 1
    assert nets.run_exact(net, [1]).logits == [Fraction(u, 2**23) for u in result.logits]


def test_membranes_wrap() -> None:
    stack = nets.linear("a", "input", [[0, 0], [0, 16]], 0, [0, 0])
    net = plain_network((2,), stack, params=Params(A=23))
    result = nets.run(net, [1, 1])
    assert result.membranes["a"] == [0, 0]  # 2^23 wraps to 0; 2^22 - 2^22 wraps on its way, and back
    assert nets.run(net, [1, 0]).membranes["a"] == [-(2**22), -(2**22)]
    assert nets.run(net, [1, 0]).times["a"] == [NO_SPIKE, NO_SPIKE]
    assert not nets.fits(stack, Params(A=24))
    assert nets.fits(stack, Params(A=25))


def test_bounds_by_hand() -> None:
    layer = nets.linear("a", "input", [[0, 17, 15], [31, 31, 31]], 0, [5, -1])
    assert nets.membrane_bounds(layer, DEFAULT) == (5 - 736 * 2**12, 5 + 2**22)
    layer["residual"] = ["input"]
    assert nets.membrane_bounds(layer, DEFAULT) == (5 - 736 * 2**12, 5 + 2**23)


def one_tap(row: int, column: int) -> list[Any]:
    """A 3 x 3 kernel of zeros with one weight 1."""
    return [[[[0 if (i, j) == (row, column) else Z for j in range(3)] for i in range(3)]]]


@pytest.mark.parametrize(
    ("tap", "expected"),
    [((1, 1), [0, 4, 8, 255]), ((0, 0), [255, 255, 255, 0]), ((2, 1), [8, 255, 255, 255]), ((1, 0), [255, 0, 255, 8])],
)
def test_conv_correlates(tap: tuple[int, int], expected: list[int]) -> None:
    net = plain_network((1, 2, 2), nets.conv2d("a", "input", one_tap(*tap), 0, [0], padding=1))
    result = nets.run(net, [[[1.0, 0.5], [0.25, 0.0]]])
    assert result.times["a"] == expected
    assert result.shapes["a"] == (1, 2, 2)
    assert result.sops["a"] == 12  # three spikes, each within reach of all four neurons; padding adds none
    assert result.sops_nonzero["a"] == sum(t != NO_SPIKE for t in expected)


def test_conv_stride_padding_and_groups() -> None:
    # Rows: height 3, kernel 2, stride 1, no padding: 2. Columns: width 3, kernel 1, stride 2, padding 1: -1, 1, 3: 3.
    net = plain_network(
        (1, 3, 3), nets.conv2d("a", "input", [[[[0], [Z]]]], 0, [0], stride=(1, 2), padding=(0, 1), fires=True)
    )
    result = nets.run_times(net, [0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert result.shapes["a"] == (1, 2, 3)
    assert result.times["a"] == [255, 1, 255, 255, 4, 255]
    assert (result.sops["a"], result.sops_nonzero["a"]) == (4, 2)
    # Two groups of one input and two outputs each.
    codes = [[[[0]]], [[[2]]], [[[0]]], [[[4]]]]
    net = plain_network((2, 1, 1), nets.conv2d("a", "input", codes, 0, [0, 0, 0, 0], groups=2))
    assert nets.run_times(net, [4, 8]).times["a"] == [4, 8, 8, 16]
    assert nets.run_times(net, [4, 8]).sops["a"] == 4


def test_pooling_by_hand() -> None:
    pool = nets.maxpool2d("p", "input", 2)
    result = nets.run_times(plain_network((2, 2, 3), pool), [5, 255, 0, 3, 7, 0, 255, 255, 0, 255, 255, 1])
    assert (result.shapes["p"], result.times["p"]) == ((2, 1, 1), [3, 255])
    assert result.sops == {}
    assert result.spikes == {"input": 7}  # pooling is not counted
    pool = nets.maxpool2d("p", "input", 3, stride=2, padding=1)
    result = nets.run_times(
        plain_network((1, 3, 3), pool, nets.flatten("f", "p")), [[[9, 8, 7], [6, 5, 4], [3, 2, 23]]]
    )
    assert result.times["p"] == result.times["f"] == [5, 4, 2, 2]
    assert result.shapes["f"] == (4,)
    pool = nets.maxpool2d("p", "input", (2, 1), stride=(1, 2), padding=(0, 1))  # columns -1, 1 and 3
    result = nets.run_times(plain_network((1, 3, 3), pool), [[[9, 8, 7], [6, 5, 4], [3, 2, 23]]])
    assert (result.shapes["p"], result.times["p"]) == ((1, 2, 3), [255, 5, 255, 255, 2, 255])


def test_average_pooling_is_a_depthwise_layer() -> None:
    codes, k = nets.avgpool2d_codes(2, (1, 3), DEFAULT)
    assert (codes, k) == ([[[[0, 0, 0]]], [[[0, 0, 0]]]], 3)
    net = plain_network((2, 1, 3), nets.conv2d("p", "input", codes, k, [0, 0], stride=3, groups=2))
    # 3 * 23/64 = 69/64 fires at once; 23/64 * (1/2 + 1/4) = 69/256 = 17.25/64, over kappa(8) = 1/4: t = 8
    result = nets.run_times(net, [0, 0, 0, 4, 8, 255])
    assert result.times["p"] == [0, 8]
    assert result.sops["p"] == 5


def test_residual_adds_exactly_one() -> None:
    stack = [
        nets.linear("a", "input", [[Z, Z], [2, Z]], 0, [0, 0], residual=["input"]),
        nets.linear("b", "a", [[Z, Z], [Z, Z]], 1, [0, 0], residual=["a", "input"]),
    ]
    result = nets.run(plain_network((2,), *stack), [Fraction(27, 32), Fraction(1, 2)])
    # a: 27/32, a tie; 1/2 + 1/2 * 27/32 = 59/64: t = 1. b: 27/16; 27/32 + 1/2: both over 1.
    assert (result.times["a"], result.times["b"]) == ([1, 1], [0, 0])
    assert result.membranes["b"] == [27 * 2**18, 43 * 2**17]
    assert (result.sops, result.sops_nonzero) == ({"a": 4, "b": 4}, {"a": 1, "b": 0})
    assert result.residual_adds == {"a": 2, "b": 4}


def test_exponent_below_zero() -> None:
    # k = -46: weights up to 2^23, G = -1, so a unit is 2. q = 14 at t = 23: 608 units.
    for bias, expected in [(-608, NO_SPIKE), (-607, 0)]:
        net = plain_network((1,), nets.linear("a", "input", [[14]], -46, [bias]))
        for result in (nets.run_times(net, [23]), nets.run_exact(net, [Fraction(19, 1024)])):
            assert result.times["a"] == [expected]
    net = plain_network((1,), nets.linear("a", "input", [[14]], -46, [0], residual=["input"]))
    with pytest.raises(ValueError, match="residual at t = 0 must be an integer"):
        nets.run_times(net, [0])


def test_hand_made_network_end_to_end() -> None:
    """Pixels 1 x 2 x 2 -> conv 1 x 1 of two channels -> pool -> flatten -> logits."""
    stack = [
        nets.conv2d("c", "input", [[[[2]]], [[[16]]]], 0, [0, 2**22]),  # x / 2 and 1 - x
        nets.maxpool2d("p", "c", 2),
        nets.flatten("f", "p"),
        nets.linear("out", "f", [[0, 16], [1, 1]], 0, [0, 0], fires=False),
    ]
    result = nets.run(plain_network((1, 2, 2), *stack), [[[1.0, 0.5], [0.25, 0.3]]])
    # kappa(4 .. 8) = 1/2 27/64 23/64 19/64 1/4, so 0.3 is read as 19/64.
    assert result.times["input"] == [0, 4, 8, 7]
    # x / 2: 1/2 1/4 1/8 19/128, each a kernel value; 1 - x: 0 1/2 3/4 45/64, read as none 1/2 23/32 19/32.
    assert result.times["c"] == [4, 8, 12, 11, 255, 4, 2, 3]
    assert result.times["p"] == result.times["f"] == [4, 2]
    assert result.logits == [2**21 - 23 * 2**17, 736 * 2**11 + 529 * 2**12]  # 1/2 - 23/32; 23/32 * (1/2 + 23/32)
    assert result.label == 1
    assert result.sops == {"c": 8, "out": 4}
    assert result.spikes == {"input": 4, "c": 7}


def test_arrays_are_taken_by_tolist() -> None:
    class Array:
        def tolist(self) -> list[Any]:
            return [[2, 2]]

    assert nets.linear("a", "input", Array(), 0, [0])["codes"] == [[2, 2]]


def test_networks_are_checked() -> None:
    good = nets.linear("a", "input", [[0, 0]], 0, [0])
    cases: list[tuple[type[Exception], list[dict[str, Any]], str]] = [
        (ValueError, [good | {"scale": 1}], "layer 'a' must be of a known kind with its keys"),
        (ValueError, [good | {"kind": "conv3d"}], "layer 'a' must be of a known kind"),
        (ValueError, [good | {"inputs": ["b"]}], "layer 'a' must have a new name and one earlier input"),
        (ValueError, [good, good], "layer 'a' must have a new name"),
        (ValueError, [good | {"codes": [[0, 0, 0]]}], r"layer 'a' must have codes \[out\]\[in\] for input \(2,\)"),
        (ValueError, [good | {"codes": [[0, 32]]}], "code must be in 0 .. 31, not 32"),
        (ValueError, [good | {"codes": [[0, 0], [0]]}], "nested list must be rectangular"),
        (ValueError, [good | {"bias": [0.5]}], r"bias of 'a' must be 1 integers, not \[0\.5\]"),
        (ValueError, [good | {"residual": ["input"]}], r"residual of 'a' must have the shape \(1,\)"),
        (ValueError, [good | {"fires": False}, nets.flatten("f", "a")], "layer 'a' must fire"),
        (TypeError, [good | {"k": 0.0}], r"k of 'a' must be an int, not 0\.0"),
        (ValueError, [nets.maxpool2d("p", "input", 2)], r"layer 'p' must have an input \(C, H, W\)"),
    ]
    for kind, stack, text in cases:
        with pytest.raises(kind, match=text):
            nets.check(plain_network((2,), *stack))
    with pytest.raises(ValueError, match="layer 'p' must have at least one window"):
        nets.check(plain_network((1, 2, 2), nets.maxpool2d("p", "input", 3)))
    with pytest.raises(ValueError, match="layer 'c' must have codes of 3 inputs in 2 groups"):
        nets.check(plain_network((3, 1, 1), nets.conv2d("c", "input", [[[[0]]], [[[0]]]], 0, [0, 0], groups=2)))
    with pytest.raises(ValueError, match="input must have 2 values, not 1"):
        nets.run(plain_network((2,), good), [1])
    with pytest.raises(ValueError, match=r"times must be in 0 .. 23 or 255, not 24"):
        nets.run_times(plain_network((2,), good), [0, 24])


# ---- random networks ----------------------------------------------------------------------------------------------


def random_codes(rng: random.Random, shape: tuple[int, ...], params: Params) -> Any:
    if not shape:
        return rng.randrange(2**params.bits)
    return [random_codes(rng, shape[1:], params) for _ in range(shape[0])]


def random_network(rng: random.Random) -> dict[str, Any]:
    """Convolution, residual convolution, pooling of either kind, dense layer and read-out, with random settings."""
    tau = rng.choice(POWERS)
    M = rng.choice([M for M in range(2, 9) if (tau, M) not in REFUSED])
    params = Params(
        T=rng.choice([5, 8, 17, 24]),
        tau=tau,
        M=M,
        bits=rng.randint(2, 8),
        rho=rng.choice(POWERS),
        M_w=rng.randint(2, 8),
        A=160,
    )

    def biases(number: int, k: int) -> list[int]:
        G = tables.exponent_g(k, params)
        return [tables.integer_bias(rng.uniform(-0.5, 0.7), G) for _ in range(number)]

    def scale() -> int:
        return rng.randint(-params.rho, 2 * params.rho)

    channels, groups = rng.choice([(1, 1), (2, 1), (2, 2)])
    height, width, mid = rng.randint(2, 5), rng.randint(2, 5), 2 * rng.randint(1, 2)
    rows, columns = rng.randint(1, 3), rng.randint(1, 3)
    shape = (channels, height, width)
    k = scale()
    stack = [
        nets.conv2d(
            "first",
            "input",
            random_codes(rng, (mid, channels // groups, rows, columns), params),
            k,
            biases(mid, k),
            stride=(rng.randint(1, 3), rng.randint(1, 3)),
            padding=(rows // 2 + rng.randint(0, 1), columns // 2),
            groups=groups,
        )
    ]
    k = scale()
    codes = random_codes(rng, (mid, mid, 3, 3), params)
    stack.append(nets.conv2d("second", "first", codes, k, biases(mid, k), padding=1, residual=["first"]))
    k = scale()
    codes = random_codes(rng, (mid, 1, 1, 1), params)
    other = ["first", "second"][: rng.randint(1, 2)]
    stack.append(nets.conv2d("third", "second", codes, k, biases(mid, k), groups=mid, residual=other))
    if rng.random() < 0.5:
        stack.append(nets.maxpool2d("pool", "third", 2, stride=rng.randint(1, 2), padding=1))
    else:
        codes, k = nets.avgpool2d_codes(mid, (1, 3), params)
        stack.append(nets.conv2d("pool", "third", codes, k, [0] * mid, padding=(0, 1), groups=mid))
    stack.append(nets.flatten("flat", "pool"))
    (size,) = nets.check(plain_network(shape, *stack, params=params))["flat"]
    k = scale()
    stack.append(nets.linear("dense", "flat", random_codes(rng, (4, size), params), k, biases(4, k)))
    k = scale()
    codes = random_codes(rng, (4, 4), params)
    stack.append(nets.linear("out", "dense", codes, k, biases(4, k), fires=False, residual=["dense"]))
    return plain_network(shape, *stack, params=params)


@pytest.mark.parametrize("seed", range(60))
def test_integers_equal_fractions(seed: int) -> None:
    rng = random.Random(seed)
    net = random_network(rng)
    params = net["params"]
    channels, height, width = net["input_shape"]
    pixels = [[[rng.random() ** 2 for _ in range(width)] for _ in range(height)] for _ in range(channels)]
    whole, exact = nets.run(net, pixels), nets.run_exact(net, pixels)
    for layer in net["layers"]:
        if layer["kind"] in layers.WEIGHTED:
            name, unit = layer["name"], tables.power_of_two(-tables.exponent_g(layer["k"], params))
            assert [u * unit for u in whole.membranes[name]] == exact.membranes[name]
            low, high = nets.membrane_bounds(layer, params)
            assert nets.fits(layer, params)
            assert all(low <= u <= high for u in whole.membranes[name])
    assert whole.times == exact.times
    assert whole.label == exact.label
    for count in ("sops", "sops_nonzero", "residual_adds", "spikes", "neurons"):
        assert getattr(whole, count) == getattr(exact, count)


@pytest.mark.parametrize("seed", range(60, 80))
def test_a_neuron_and_a_spike_see_the_same_synapses(seed: int) -> None:
    net = random_network(random.Random(seed))
    shapes = nets.check(net)
    for layer in net["layers"]:
        if layer["kind"] in layers.WEIGHTED:
            shape, out = shapes[layer["inputs"][0]], shapes[layer["name"]]
            backward = [
                (i, o, code)
                for o, neuron in enumerate(grid(*map(range, out)))
                for i, code in layers.synapses_of_neuron(layer, shape, neuron)
            ]
            forward = [
                (i, o, code)
                for i, source in enumerate(grid(*map(range, shape)))
                for o, code in layers.synapses_of_spike(layer, shape, out, source)
            ]
            assert sorted(backward) == sorted(forward)


def test_random_networks_are_alive() -> None:
    """The comparisons above would mean little among silent layers."""
    fired = total = inner = 0
    for seed in range(60):
        rng = random.Random(seed)
        net = random_network(rng)
        channels, height, width = net["input_shape"]
        result = nets.run(net, [rng.random() for _ in range(channels * height * width)])
        fired += sum(result.spikes.values())
        total += sum(result.neurons.values())
        inner += sum(0 < t < NO_SPIKE for name in ("second", "third", "dense") for t in result.times[name])
    assert fired > total // 4
    assert inner > 100


# ---- input planes -------------------------------------------------------------------------------------------------

PLANAR = Params(T=16, M=3, M_w=2, planes=True)


def test_planes_by_hand() -> None:
    assert tables.plane_bits(0) == [False] * 8
    assert tables.plane_bits(1) == [True] * 8
    assert tables.plane_bits(Fraction(1, 2)) == [True] + [False] * 7  # 127.5: the even 128
    assert tables.plane_bits(Fraction(1, 2) - Fraction(1, 2**40)) == [False] + [True] * 7
    assert tables.plane_bits(0.5 / 255) == [False] * 8  # just below a tie in float64
    assert sum(tables.plane_value(j) for j in range(8)) == Fraction(255, 256)
    # M = 3, M_w = 2, 7 octaves of levels: G = 3 + 2 + 7 + 8 = 20; spikes of the code have S = 10, G = 15
    assert (tables.exponent_of_planes(0, PLANAR), tables.exponent_g(0, PLANAR)) == (20, 15)
    assert tables.plane_product(0, 0, 0, 0, PLANAR) == 2**19
    assert tables.plane_product(1, 7, 1, 0, PLANAR) == -3 * 2**10  # 3/4 of 2^-8
    assert tables.plane_product(14, 7, 0, 1, PLANAR) == 3 * 2**3 * 2**1 // 2  # r = 1: m_w = 3/4, 15 div 2 octaves
    assert tables.plane_product(15, 3, 1, 5, PLANAR) == 0


def test_a_layer_of_planes_by_hand() -> None:
    # p = 160 and 1 through +1 and -1/2: 160/256 - 1/512 = 0.623, just below kappa(3) = 5/8
    net = plain_network((2,), nets.linear("a", "input", [[0, 18], [15, 2]], 0, [0, 2**15]), params=PLANAR)
    result = nets.run(net, [160 / 255, 1 / 255])
    assert result.times["input"] == [0, 255, 0, 255, 255, 255, 255, 255, *[255] * 7, 0]
    assert result.membranes["a"] == [160 * 2**12 - 2**11, 2**11 + 2**15]
    assert result.times["a"] == [4, NO_SPIKE]  # 0.033 < kappa(15) = 5/64
    assert (result.sops, result.sops_nonzero) == ({"a": 6}, {"a": 4})
    assert (result.spikes, result.neurons) == ({"input": 3, "a": 1}, {"input": 16, "a": 2})
    assert nets.membrane_bounds(net["layers"][0], PLANAR, nets.plane_maps(net)) == (-255 * 2**11, 255 * 2**12)


@pytest.mark.parametrize("seed", range(8))
def test_planes_in_both_evaluators(seed: int) -> None:
    rng = random.Random(seed)
    params = Params(T=16, tau=4, M=3, bits=4, rho=2, M_w=rng.randint(0, 4), planes=True)

    def codes(*shape: int) -> Any:
        return rng.randrange(16) if not shape else [codes(*shape[1:]) for _ in range(shape[0])]

    k = rng.randint(-3, 4)
    bias = [rng.randint(-(2**18), 2**18) for _ in range(4)]
    first = nets.conv2d("a", "input", codes(4, 1, 3, 2), k, bias, padding=1, groups=2, stride=(1, 2))
    net = plain_network(
        (2, 4, 3),
        first,
        nets.flatten("flat", "input"),
        nets.linear("b", "flat", codes(2, 24), k, [0, 5]),
        params=params,
    )
    image = [rng.random() for _ in range(24)]
    result, exact = nets.run(net, image), nets.run_exact(net, image)
    assert (result.times, result.sops, result.sops_nonzero, result.spikes) == (
        exact.times,
        exact.sops,
        exact.sops_nonzero,
        exact.spikes,
    )
    unit = tables.power_of_two(-tables.exponent_of_planes(k, params))
    assert [u * unit for u in result.membranes["b"]] == exact.membranes["b"]
    p = [tables.round_half_even(255 * Fraction(x)) for x in image]
    for row, b, u in zip(net["layers"][2]["codes"], (0, 5), result.membranes["b"], strict=True):
        weights = [tables.weight(*tables.unpack(code, params), k, params) for code in row]
        assert sum(w * Fraction(x, 256) for w, x in zip(weights, p, strict=True)) == (u - b) * unit


def test_planes_are_no_numbers() -> None:
    pool = plain_network((1, 2, 2), nets.maxpool2d("p", "input", 2), params=PLANAR)
    added = plain_network((1,), nets.linear("a", "input", [[0]], 0, [0], residual=["input"]), params=PLANAR)
    for net in (pool, added):
        with pytest.raises(ValueError, match="must read numbers, not the bits of the input"):
            nets.check(net)


# ---- several sources ----------------------------------------------------------------------------------------------


def test_a_part_by_hand() -> None:
    # k = 0 and k = 3 (r = 1, e = 1): G = 22 and 23. u = 1 * 1 * 2^23 + W(0 + 3) * 27/32 * 2^23, W(3) = 23/64
    part = nets.linear("p", "b", [[0, 15]], 3, [0])
    layer = nets.linear("a", "input", [[0]], 0, [5], parts=[part])
    hidden = nets.linear("b", "input", [[1], [15]], 0, [27 * 2**17 - 23 * 2**17, 0])  # 23/32 + 4/32 = 27/32: t = 1
    net = plain_network((1,), hidden, layer)
    result = nets.run(net, [1.0])
    assert nets.exponent(layer, set(), DEFAULT) == 23
    assert result.times["b"] == [1, NO_SPIKE]
    assert result.membranes["a"] == [5 + 2**23 + 27 * 23 * 2**12]
    assert (result.sops["a"], result.sops_nonzero["a"]) == (2, 2)
    assert nets.membrane_bounds(layer, DEFAULT) == (5, 5 + 2**23 + 23 * 2**17)
    assert nets.run_exact(net, [1.0]).membranes["a"] == [Fraction(5 + 2**23 + 27 * 23 * 2**12, 2**23)]


def test_channels_by_hand() -> None:
    picks = nets.channels("c", ["input", "input"], [3, None, 0, 0])
    net = plain_network((2, 1, 2), picks, nets.flatten("f", "c"))
    assert nets.run_times(net, [1, 2, 3, 255]).times["f"] == [3, 255, 255, 255, 1, 2, 1, 2]
    with pytest.raises(ValueError, match="must take channels of maps of one size"):
        nets.check(plain_network((2, 1, 2), nets.channels("c", ["input"], [2])))


@pytest.mark.parametrize("seed", range(8))
def test_parts_in_both_evaluators(seed: int) -> None:
    rng = random.Random(seed)
    params = Params(T=9, tau=2, M=3, bits=4, rho=2, M_w=3, A=40, planes=seed % 2 == 1)

    def codes(*shape: int) -> Any:
        return rng.randrange(16) if not shape else [codes(*shape[1:]) for _ in range(shape[0])]

    first = nets.conv2d("a", "input", codes(4, 2, 1, 1), rng.randint(-2, 3), [2**12] * 4)
    shortcut = nets.conv2d("s", "input", codes(2, 2, 1, 1), rng.randint(-4, 6), [0, 0], stride=2)
    mixed = nets.channels("m", ["a", "a"], [7, 1, None, 2])
    third = nets.conv2d("t", "m", codes(2, 2, 2, 2), rng.randint(-4, 6), [0, 0], stride=2, groups=2)
    main = nets.conv2d(
        "b", "a", codes(2, 4, 3, 3), rng.randint(-2, 3), [99, -5], stride=2, padding=1, parts=[shortcut, third]
    )
    net = plain_network((2, 4, 4), first, mixed, main, params=params)
    nets.check(net)
    image = [rng.random() for _ in range(32)]
    result, exact = nets.run(net, image), nets.run_exact(net, image)
    assert (result.times, result.sops, result.sops_nonzero) == (exact.times, exact.sops, exact.sops_nonzero)
    unit = tables.power_of_two(-nets.exponent(main, nets.plane_maps(net), params))
    assert [u * unit for u in result.membranes["b"]] == exact.membranes["b"]
    assert nets.fits(main, params, nets.plane_maps(net))
