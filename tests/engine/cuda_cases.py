"""Networks on the GPU engine and on the reference engine; run by test_cuda.py: cuda_cases.py NUMBER_OF_RANDOM_NETWORKS."""

import sys
import warnings
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from engine.networks import networks, spike_times
from firstspike.arith import Code, LogWeights
from firstspike.engine.reference import ReferenceEngine
from firstspike.spec.network import INPUT, Conv2d, Flatten, Linear, Network


def assert_equal(network: Network, times: np.ndarray) -> None:
    """Every spike time and logit with ``==``."""
    from firstspike.engine.cuda import CudaEngine

    engine = CudaEngine(network)
    expected, found = ReferenceEngine(network).layers(times), engine.layers(times)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values), name
    assert np.array_equal(engine.logits(times), expected[network.layers[-1].name])


def fixed() -> list[Network]:
    """More than one tile of positions, of output channels and of input channels; 32 and 48 bits."""
    rng = np.random.default_rng(0)

    def codes(*shape: int) -> np.ndarray:
        return (rng.integers(5, 16, shape) | rng.integers(0, 2, shape) << 4).astype(np.uint8)

    layers = (
        Conv2d(
            name="a", source=INPUT, codes=codes(70, 3, 3, 3), scale=2, bias=rng.integers(0, 1 << 20, 70), padding=(1, 1)
        ),
        Conv2d(
            name="b", source="a", codes=codes(36, 70, 2, 2), scale=6, bias=rng.integers(0, 1 << 20, 36), stride=(2, 2)
        ),
        Conv2d(
            name="c",
            source="b",
            codes=codes(36, 18, 3, 3),
            scale=4,
            bias=rng.integers(0, 1 << 20, 36),
            groups=2,
            padding=(1, 1),
            residuals=("b",),
        ),
        Flatten(name="d", source="c"),
        Linear(name="e", source="d", codes=codes(10, 36 * 16), scale=4, bias=rng.integers(-9, 9, 10), fires=False),
    )
    narrow = Network(code=Code(), weights=LogWeights(), input_shape=(3, 9, 9), layers=layers)
    return [narrow, replace(narrow, accumulator_bits=48)]


def main(examples: int) -> None:
    """Check fixed and random networks."""
    for network in fixed():
        assert_equal(network, np.random.default_rng(1).integers(0, 40, (3, 3, 9, 9)).astype(np.uint8))

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        network = data.draw(networks(max_layers=3, size=5))
        assert_equal(network, data.draw(spike_times(network)))

    check()
    print(f"{examples} random networks equal to the reference")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # numpy reports the wrap-around that the kernels rely on
    main(int(sys.argv[1]))
