"""The kinds of layer that `prepare` takes beyond the plain ones, in RTL: every spike time, every logit and every cycle."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from structures import kinds
from structures.catalogue import NETWORKS
from structures.plain_nets import batch

import firstspike as fs
from firstspike.rtl.parameters import Parameters
from firstspike.spec import Network, ProcessorSpec
from firstspike.verify import Simulator, ToolMissing, run

from .conftest import SETS

Build = Callable[[str], Simulator]
PARAMETERS = SETS["sources"]
QUICK = ("dilation, stride, groups", "PixelShuffle", "ReLU6", "channels last")
"""Dilated windows, copies behind a layer of weight 1, pools and residuals of rearranged maps, a vector in another order."""


def converted(network: torch.nn.Module, x: torch.Tensor) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cat = fs.prepare(network, example=x, code=PARAMETERS.code, weights=PARAMETERS.weights).eval()
        cat.stage = "quantised"
        return fs.convert(cat, example=x).network


def exact(network: Network, times: np.ndarray, simulator: Simulator, processor: ProcessorSpec) -> None:
    record = run(network, times, processor, simulator=simulator)
    assert record.bit_exact and record.cycle_exact, record.differences
    assert Parameters.of(network, processor).shift_base <= PARAMETERS.shift_base


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "label",
    [pytest.param(label, marks=() if label in QUICK else pytest.mark.slow) for label in kinds.KINDS],
)
def test_kinds(label: str, simulator: Build) -> None:
    network = converted(kinds.network(label).double().eval(), batch())
    exact(network, fs.SpikingNetwork(network).encode(batch()), simulator("sources"), PARAMETERS.processor)


STRUCTURES = (
    *("lenet", "audio", "resnet-padded", "resnet-projected", "googlenet", "dla", "unet", "dilated", "sub-pixel"),
    *("two-heads", "mobilenet", "shufflenet", "densenet", "mobilenet-v2", "shufflenet-v2"),
)
"""The smallest of each kind of structure."""


@pytest.fixture(scope="module")
def processor() -> tuple[ProcessorSpec, Simulator]:
    """A processor for all of them, and its simulator."""
    spec = ProcessorSpec(pes=32, accumulator_bits=40, activation_buffer_kib=64, weight_buffer_kib=16, membrane_rows=64)
    try:
        return spec, Simulator(Parameters(processor=spec, code=fs.Code(), weights=fs.LogWeights(), largest_shift=40))
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str, processor: tuple[ProcessorSpec, Simulator]) -> None:
    """One image through each of the public structures that is small enough."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    x = torch.rand(1, *getattr(network, "shape", (3, 32, 32)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            cat = fs.prepare(network, example=x, accumulator_bits=40)
        except fs.UnsupportedError:
            cat = fs.prepare(fs.adapt(network, example=x).network, example=x, accumulator_bits=40)
        cat.stage = "quantised"
        snn = fs.convert(cat.eval(), example=x)
    record = run(snn.network, snn.encode(x), processor[0], simulator=processor[1])
    assert record.bit_exact and record.cycle_exact, record.differences
