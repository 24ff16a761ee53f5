"""Networks of few channels in RTL, neighbouring pixels computed together: every spike time, every logit and every cycle."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from firstspike.compiler import mapping, pixel_groups
from firstspike.compiler.channels import resolve
from firstspike.rtl.parameters import Parameters
from firstspike.spec import Flatten, Network, ProcessorSpec
from firstspike.spec.program import Convolve, Operation
from firstspike.verify import Simulator, run

from .conftest import SETS
from .networks import draw

QUICK = ("small", "planes", "packed-narrow", "sources", "shifts")
SEEDS = range(5)


@pytest.fixture(autouse=True)
def widest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest groups whatever they cost: maps as small as these would have few."""

    def largest(network: Network, processor: ProcessorSpec, work: Iterable[Operation]) -> float:
        return -1e9 * max(getattr(operation, "group", 1) for operation in work)

    monkeypatch.setattr(pixel_groups, "estimated_cycles", largest)


def _grouped(name: str, images: int = 1) -> Parameters:
    parameters = SETS[name]
    return replace(parameters, processor=replace(parameters.processor, pixel_groups=True, images=images))


def _exact(name: str, seeds: range, simulator: Simulator) -> None:
    for seed in seeds:
        parameters = _grouped(name, images=1 + 4 * (seed % 4 == 3))
        network, times = draw(seed, parameters)
        record = run(network, times, parameters.processor, simulator=simulator)
        assert record.bit_exact and record.cycle_exact, (name, seed, record.differences)
        assert record.layers_compared >= sum(not isinstance(one, Flatten) for one in resolve(network).layers)


@pytest.mark.parametrize("name", QUICK)
def test_random_networks(name: str, simulator: Callable[[str], Simulator]) -> None:
    """Bit-exact and cycle-exact, in the hardware of designs without groups."""
    _exact(name, SEEDS, simulator(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_hundreds_of_random_networks(name: str, simulator: Callable[[str], Simulator]) -> None:
    """The same, 200 networks of each parameter set."""
    _exact(name, range(100, 300), simulator(name))


def test_random_networks_cover_the_cases() -> None:
    """So that their agreement means something."""
    seen: set[object] = set()
    for name in QUICK:
        for seed in SEEDS:
            parameters = _grouped(name)
            network, _ = draw(seed, parameters)
            for operation in mapping.program(network, parameters.processor).operations:
                if not isinstance(operation, Convolve) or operation.group == 1:
                    continue
                layer = pixel_groups.layer_of(network, operation)
                cases = {
                    "chunks": not operation.first,
                    "blocks": operation.height * operation.width < network.shapes[operation.layer][1],
                    "residual": operation.residual is not None,
                    "part": operation.connection != operation.layer,
                    "strip": operation.in_first > 0,
                    "padding": operation.origin[1] < 0,
                    "shifts": any(layer.shifts),
                    "spare lanes": operation.outputs[1] < parameters.processor.pes,
                    "planes": network.planes(pixel_groups.connection_of(network, operation).source) > 1,
                }
                seen |= {case for case, there in cases.items() if there}
                seen |= {f"group of {operation.group}", f"stride {operation.stride[1] // operation.group}"}
    assert {"chunks", "blocks", "residual", "part", "strip", "padding", "shifts", "planes"} <= seen
    assert {"spare lanes", "group of 2", "group of 4", "stride 1", "stride 2", "stride 3"} <= seen
