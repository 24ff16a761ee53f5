"""Pruning without training: least squares against brute force, what stays the same, what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import firstspike as fs
from firstspike.cat.moments import moments
from firstspike.cat.prune import prune
from firstspike.cat.rebuild import real_weights, rebuild
from firstspike.cat.sparse import Sparse, whole_channels
from firstspike.cat.survey import SHARES, allocate
from firstspike.data import load

pytestmark = pytest.mark.usefixtures("single_thread")


def images(split: str = "train") -> Tensor:
    return torch.from_numpy(load("digits", split=split).pixels())  # type: ignore[arg-type]


def network(*, planes: bool = False) -> fs.Network:
    """Random weights, calibrated on digits: spikes everywhere."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 10)),
    )
    cat = fs.prepare(net, code=fs.Code(input="planes" if planes else "spike"))
    fs.calibrate(cat, images()[:100])
    return fs.convert(cat, example=images()[:8]).network


def logits(one: fs.Network, x: Tensor) -> np.ndarray:
    """As real numbers: scales may differ."""
    return np.ldexp(np.asarray(fs.SpikingNetwork(one)(x.numpy())).astype(float), -one.exponent(one.connections[-1]))


class TestMoments:
    def test_of_a_convolution_are_those_of_what_each_output_reads(self) -> None:
        torch.manual_seed(1)
        layer = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
        x = torch.rand(5, 3, 9, 8)
        with torch.no_grad():
            y = layer(x)
        found = moments(layer, [(x[:2], y[:2]), (x[2:], y[2:])], positions=10**6)
        rows = nn.functional.unfold(x, (3, 2), (1, 2), (1, 0), (2, 1)).permute(0, 2, 1).flatten(0, 1).numpy()
        wanted = y.flatten(2).permute(0, 2, 1).flatten(0, 1).numpy()
        np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), atol=1e-5)
        cross = (rows - rows.mean(0)).T @ (wanted - wanted.mean(0)) / len(rows)
        np.testing.assert_allclose(found.cross, cross, atol=1e-5)
        assert found.error(layer.weight.detach().flatten(1)) == pytest.approx(0, abs=1e-4)
        assert found.error(torch.zeros(4, 18)) == pytest.approx(1)

    def test_positions_are_drawn_from_all_of_a_map(self) -> None:
        layer = nn.Conv2d(1, 1, 1, bias=False)
        x = torch.arange(64.0).view(1, 1, 8, 8).repeat(400, 1, 1, 1)
        found = moments(layer, [(x, x)], positions=4)
        assert float(found.covariance) == pytest.approx((64**2 - 1) / 12, rel=0.1)  # of 0 .. 63, each as often


def least_squares(x: np.ndarray, y: np.ndarray, kept: tuple[int, ...]) -> float:
    """Residual sum of squares of the best weights on some inputs; numpy alone."""
    columns = x[:, list(kept)]
    solution = np.linalg.lstsq(columns, y, rcond=None)[0]
    return float(np.square(y - columns @ solution).sum())


class TestSparse:
    @pytest.mark.parametrize("seed", range(8))
    def test_weights_that_stay_solve_least_squares(self, seed: int) -> None:
        drawn = np.random.default_rng(seed)
        mix = 0.3 * drawn.normal(size=(8, 8)) + np.eye(8)  # as correlated as what layers read
        x = drawn.normal(size=(300, 8)) @ mix
        x -= x.mean(0)
        weight = drawn.normal(size=(1, 8))
        y = x @ weight.T
        layer = nn.Linear(8, 1, bias=False)
        found = moments(layer, [(torch.from_numpy(x).float(), torch.from_numpy(y).float())], positions=1)
        solved, kept = Sparse(found, torch.from_numpy(weight).float()).solve(0.5)
        assert int(kept.sum()) == 4
        assert torch.equal(solved != 0, kept)
        error = float(np.square(y - x @ solved.numpy().T).sum())
        best = least_squares(x, y, tuple(kept[0].nonzero().flatten().tolist()))
        assert best <= error <= 1.05 * best + 0.02 * np.square(y).sum()  # damped

    def test_takes_whole_channels(self) -> None:
        torch.manual_seed(0)
        x = torch.rand(500, 12)
        weight = torch.rand(3, 12)
        weight[:, 4:8] = 0  # the second of three channels with four taps weighs nothing
        found = moments(nn.Linear(12, 3), [(x, x @ weight.t())], positions=1)
        solved, kept = Sparse(found, weight, whole_channels(4)).solve(1 / 3)
        assert kept.view(3, 3, 4).all(dim=2)[0].tolist() == [True, False, True]
        assert found.error(solved) < 1e-3


class TestAllocate:
    def test_finds_the_least_sum_of_convex_curves(self) -> None:
        sizes = {"a": 100, "b": 300, "c": 50}
        curves = {name: [k * share**p for share in SHARES] for name, k, p in (("a", 1, 2), ("b", 2, 4), ("c", 0.5, 3))}
        shares = allocate(curves, sizes, 0.6)
        zeros = sum(shares[name] * sizes[name] for name in sizes)
        assert zeros == pytest.approx(0.6 * 450)

        def error(chosen: Mapping[str, float]) -> float:
            return sum(float(np.interp(chosen[name], SHARES, curves[name])) for name in sizes)

        every = [dict(zip(sizes, shares, strict=True)) for shares in product(SHARES, repeat=3)]
        enough = [one for one in every if sum(one[name] * sizes[name] for name in sizes) >= zeros]
        assert error(shares) <= min(map(error, enough))

    def test_no_zeros_wanted(self) -> None:
        assert allocate({"a": list(SHARES)}, {"a": 10}, 0.0) == {"a": 0.0}


class TestPrune:
    def test_without_zeros_nothing_changes(self) -> None:
        given = network()
        pruned, layers = prune(given, images()[:200])
        found = fs.convert(pruned, example=images()[:8]).network
        for own, before in zip(found.connections, given.connections, strict=True):
            weights = [real_weights(one, one, net)[0] for one, net in ((own, found), (before, given))]
            assert torch.equal(weights[0], weights[1])
        np.testing.assert_allclose(
            logits(found, images("test")), logits(given, images("test")), atol=1e-6
        )  # biases' grid
        assert max(layer.error for layer in layers) < 1e-5

    @pytest.mark.parametrize("planes", [False, True])
    def test_shares_of_zeros_hold_in_the_integer_network(self, planes: bool) -> None:
        given = network(planes=planes)
        pruned, layers = prune(given, images()[:200], zeros=0.6)
        found = fs.convert(pruned, example=images()[:8]).network
        zero = given.weights.zero_level
        zeros = {one.name: float((one.codes & zero == zero).mean()) for one in found.connections}
        assert zeros == pytest.approx({layer.name: layer.zeros for layer in layers})
        weights = sum(layer.weights for layer in layers)
        assert sum(layer.zeros * layer.weights for layer in layers) / weights == pytest.approx(0.6, abs=0.03)

    def test_beats_setting_the_smallest_weights_to_zero(self) -> None:
        given = network()
        x, unseen = images()[:400], images("test")
        wanted = logits(given, unseen)
        pruned, layers = prune(given, x, zeros=0.5)
        error = np.square(logits(fs.convert(pruned, example=x[:8]).network, unseen) - wanted).sum()
        plain = rebuild(given)
        shares = {layer.name: layer.zeros for layer in layers}
        with torch.no_grad():
            for name, layer in plain.synapses():
                weight = layer.linear.weight
                weight[weight.abs() < weight.abs().flatten().quantile(shares[name])] = 0
        smallest = np.square(logits(fs.convert(plain, example=x[:8]).network, unseen) - wanted).sum()
        assert error < 0.5 * smallest

    def test_channels_that_weigh_nothing_go_without_a_change(self) -> None:
        given = network()
        codes = given.layers[2].codes.copy()  # type: ignore[union-attr]
        codes[:, [1, 4, 6]] = 15
        layers = list(given.layers)
        layers[2] = replace(layers[2], codes=codes)  # type: ignore[type-var]
        dead = replace(given, layers=tuple(layers))
        pruned, _ = prune(dead, images()[:200], channels={given.layers[0].name: 5})
        found = fs.convert(pruned, example=images()[:8]).network
        assert found.layers[0].codes.shape[0] == 5  # type: ignore[union-attr]
        np.testing.assert_allclose(logits(found, images("test")), logits(dead, images("test")), atol=1e-6)

    def test_channels_of_a_flattened_map_go(self) -> None:
        given = network()
        name = given.layers[2].name
        pruned, layers = prune(given, images()[:200], zeros={name: 0.5}, channels={name: 6})
        found = {layer.name: layer for layer in layers}
        assert found[name].channels == 6
        assert found[name].zeros == pytest.approx(0.5, abs=0.02)
        assert found[given.connections[2].name].weights == 16 * 24
        fs.convert(pruned, example=images()[:8])

    def test_changes_the_code_and_the_format(self) -> None:
        given = network()
        code = fs.Code(T=16, mantissa_bits=3, input="planes")
        pruned, _ = prune(given, images()[:200], code=code, weights=fs.LogWeights(mantissa_bits=2))
        found = fs.convert(pruned, example=images()[:8]).network
        assert found.code == code
        assert found.weights.mantissa_bits == 2

    @pytest.mark.parametrize("bits", [15, 17, 24])  # at 15 and 17 a scale leaves no room once weights are rounded
    @pytest.mark.parametrize("planes", [False, True])
    def test_membranes_of_fewer_bits(self, bits: int, planes: bool) -> None:
        given, unseen = network(planes=planes), images("test")
        with pytest.raises(ValueError, match=f"must fit {bits} bits"):
            replace(given, accumulator_bits=bits)
        pruned, _ = prune(given, images()[:200], accumulator_bits=bits)
        found = fs.convert(pruned, example=images()[:8]).network
        assert found.accumulator_bits == bits
        if bits == 24:
            wanted = logits(given, unseen)
            change = logits(found, unseen) - wanted
            assert change.std(axis=0).mean() < 0.7 * wanted.std(axis=0).mean()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"zeros": 1.0}, "zeros must be a share of weights from 0 to below 1, not 1.0"),
            ({"zeros": {"x": 0.5}}, "zeros must name a layer with weights: one of .*, not 'x'"),
            ({"channels": {"0": 9}}, "channels of '0' must be .*8.*, not 9"),
            ({"accumulator_bits": 7}, "accumulator_bits must be .*8.*, not 7"),
            ({"channels": {"8": 4}}, "layer '8' can lose channels only where .* reads it"),
        ],
    )
    def test_refuses(self, arguments: dict[str, object], message: str) -> None:
        given = network()
        names = {"0": given.connections[0].name, "8": given.connections[-1].name}
        arguments = {
            key: {names.get(name, name): count for name, count in value.items()} if isinstance(value, dict) else value
            for key, value in arguments.items()
        }
        for key, name in names.items():
            message = message.replace(f"'{key}'", f"'{name}'")
        with pytest.raises(ValueError, match=message):
            prune(given, images()[:20], **arguments)  # type: ignore[arg-type]

    def test_depthwise_layers_keep_their_weights(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(512, 10)),
        )
        cat = fs.prepare(net)
        fs.calibrate(cat, images()[:50])
        given = fs.convert(cat, example=images()[:8]).network
        _, depthwise, _ = given.connections
        pruned, layers = prune(given, images()[:100], zeros=0.5)
        found = fs.convert(pruned, example=images()[:8]).network
        assert np.array_equal(found.connections[1].codes, depthwise.codes)
        assert [layer.error is None for layer in layers] == [False, True, False]
        with pytest.raises(
            ValueError, match=f"layers without groups, which keep their weights, not '{depthwise.name}'"
        ):
            prune(given, images()[:20], zeros={depthwise.name: 0.5})

    def test_refuses_images_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"images must have the network's shape \(1, 8, 8\), not \(1, 8, 9\)"):
            prune(network(), torch.zeros(3, 1, 8, 9))

    def test_needs_images(self) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            prune(network(), images()[:0])
