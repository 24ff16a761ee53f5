"""The browser's engine is bit-exact: spike times, logits, operations, cycles of images and of random networks of every kind."""

import base64
import json
import re
from dataclasses import dataclass, replace
from html import unescape
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from engine.networks import networks, spike_times
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import firstspike as fs
from firstspike.cli import main
from firstspike.data import load
from firstspike.engine.events import trace as trace_events
from firstspike.engine.reference import ReferenceEngine
from firstspike.pages.playground import payload, playground_page
from firstspike.processor import Processor, cycles, technology
from firstspike.processor.formula import formula
from firstspike.spec import Flatten, Network
from firstspike.spiking import SpikingNetwork
from tests.pages import example
from tests.pages.browser import browse, needs_browser, widths

RUN = """<!doctype html><pre id="seen"></pre><script>ENGINE</script><script>
const seen = CASES.map(({ data, stored, dram }) => {
  const engine = new Engine(data);
  return stored.map((image) => {
    const { times, logits, sops } = engine.run(bytes(image));
    const shown = Object.fromEntries(Object.entries(times).map(([name, spikes]) => [name, btoa(String.fromCharCode(...spikes))]));
    return { times: shown, logits, sops, cost: data.cost && engine.cost(times, dram) };
  });
});
document.getElementById("seen").textContent = JSON.stringify(seen);
</script>"""


def in_browser(folder: Path, cases: list[tuple[dict[str, object], np.ndarray]]) -> list[list[dict[str, object]]]:
    """What the page's engine finds for the stored inputs of each network."""
    engine = resources.files("firstspike.pages").joinpath("engine.js").read_text(encoding="utf-8")
    given = [
        {"data": data, "stored": [base64.b64encode(image.tobytes()).decode() for image in stored], "dram": "flat-4pj"}
        for data, stored in cases
    ]
    page = folder / "run.html"
    page.write_text(RUN.replace("ENGINE", engine).replace("CASES", json.dumps(given)), encoding="utf-8")
    found = re.search(r'<pre id="seen">(.*?)</pre>', browse(folder, page, "--dump-dom"), re.DOTALL)
    assert found
    return json.loads(unescape(found[1]))


def check(network: Network, stored: np.ndarray, found: list[dict[str, object]]) -> None:
    """Every spike time, logit and count of operations is the reference engine's."""
    engine = ReferenceEngine(network)
    trace = trace_events(engine, stored)
    outputs = {"input": stored, **engine.layers(stored)}
    assert len(found) == len(stored)
    for index, seen in enumerate(found):
        assert seen["logits"] == trace.logits[index].tolist()
        for layer in ("input", *(layer.name for layer in network.layers[:-1])):
            times = np.frombuffer(base64.b64decode(seen["times"][layer]), dtype=np.uint8)
            assert times.tolist() == outputs[layer][index].reshape(-1).tolist(), layer
        for name, layer in trace.layers.items():
            assert seen["sops"].get(name, 0) == layer.sops[index], name


@needs_browser
def test_a_hundred_images_are_bit_exact_and_cost_what_they_cost(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs pip install 'firstspike[data]'")
    snn = fs.zoo.load("digits")
    network, stored = snn.network, snn.encode(load("digits", split="test").limit(100).images)
    processors = (Processor(), Processor(banks=4))
    formulas = [formula(network, processor=each, technology=technology.default()) for each in processors]
    runs = in_browser(tmp_path, [(payload(network) | {"cost": each}, stored) for each in formulas])
    check(network, stored, runs[0])
    for processor, found in zip(processors, runs, strict=True):
        check_cost(network, stored, processor, found)


def check_cost(network: Network, stored: np.ndarray, processor: Processor, found: list[dict[str, object]]) -> None:
    """Cycles of every image, energy of two."""
    trace = trace_events(ReferenceEngine(network), stored)
    counted = cycles.count(network, trace.times, processor).cycles
    for index, seen in enumerate(found):
        assert seen["cost"]["cycles"] == counted[index]
    for index in (0, 41):
        one = trace_events(ReferenceEngine(network), stored[index : index + 1])
        for layer, energy in zip(processor.price(network, one).layers, found[index]["cost"]["energy"], strict=True):
            assert energy == pytest.approx([layer.energy.low, layer.energy.value, layer.energy.high], rel=1e-9)


DRAWN = 90
"""How many networks are drawn; of later ones, those with a kind of layer that none has yet."""


@dataclass
class Drawn:
    """Networks and inputs that Hypothesis drew."""

    cases: ClassVar[list[tuple[Network, np.ndarray]]] = []


@settings(
    max_examples=400,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def draw(data: st.DataObject) -> None:
    network = data.draw(networks())
    stored = data.draw(spike_times(network))
    kinds = {layer.kind for known, _ in Drawn.cases for layer in known.layers}
    if len(stored) and (len(Drawn.cases) < DRAWN or not kinds.issuperset(layer.kind for layer in network.layers)):
        Drawn.cases.append((network, stored))


@needs_browser
def test_networks_of_every_kind_are_bit_exact(tmp_path: Path) -> None:
    Drawn.cases.clear()
    draw()
    drawn = Drawn.cases
    kinds = {layer.kind for network, _ in drawn for layer in network.layers}
    assert kinds == {"conv2d", "linear", "maxpool2d", "flatten", "channels", "pixelshuffle"}
    assert any(network.code.planes for network, _ in drawn)
    assert any(network.accumulator_bits > 32 for network, _ in drawn)
    assert any(network.accumulator_bits <= 32 for network, _ in drawn)
    assert any(layer.parts for network, _ in drawn for layer in network.synaptic)
    assert any(layer.residuals for network, _ in drawn for layer in network.synaptic)
    assert any(any(layer.shifts) for network, _ in drawn for layer in network.synaptic)
    connections = [one for network, _ in drawn for one in network.connections]
    assert any(getattr(one, "dilation", (1, 1)) != (1, 1) for one in connections)
    found = in_browser(tmp_path, [(payload(network), stored) for network, stored in drawn])
    for (network, stored), seen in zip(drawn, found, strict=True):
        check(network, stored, seen)


@pytest.mark.parametrize("banks", [1, 4])
def test_the_formula_is_the_cost(tmp_path: Path, banks: int) -> None:
    """Without a browser: what the formula adds up to is what the processor's model says."""
    network, processor = example.network(), Processor(pes=16, banks=banks)
    found = formula(network, processor=processor, technology=technology.default())
    trace = example.trace()
    counted = cycles.count(network, trace.times, processor)
    assert found["layers"] == [layer.name for layer in counted.layers]
    for place, layer in enumerate(processor.price(network, trace, dram="lpddr3").layers):
        price = found["prices"]["lpddr3"][place]
        whole = np.array(price["constant"])
        for name, each in price["events"].items():
            whole = whole + layer.events[name] * np.array(each)
        assert whole == pytest.approx([layer.energy.low, layer.energy.value, layer.energy.high], rel=1e-9)


@needs_browser
def test_the_page_runs_wide_narrow_and_offline(tmp_path: Path) -> None:
    snn = SpikingNetwork(example.network(), engine="reference")
    samples = list(np.rint(255 * example.images()).astype(np.uint8))
    page = tmp_path / "page.html"
    fs.playground(snn, name="rings", samples=samples).save(page)
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in unescape(text)
    assert not re.search(r"https?:|@import|url\(", text)
    assert widths(tmp_path, page) == {"1280": 1280, "420": 420}
    dom = browse(tmp_path, page, "--dump-dom", "--force-prefers-reduced-motion", "--virtual-time-budget=8000")
    trace = snn.trace(samples[0][None])
    logits = np.ldexp(trace.logits[0].astype(float), -snn.logit_exponent)
    for logit in logits:
        assert f"<span>{logit:.2f}</span>" in dom
    for layer in trace.layers.values():
        if layer.neuron:
            assert f"{layer.spikes[0]:,} of {layer.times[0].size:,}" in dom
    assert "the logits are there" in dom


def test_names_from_outside_stay_text() -> None:
    hostile = "</script><script>alert(1)</script>"
    network = replace(example.network(), classes=(hostile, *"123456789"))
    text = playground_page(network, name=hostile)
    assert "alert(1)</script>" not in text
    assert text.count("<script") == 2


def test_what_the_page_cannot_show_is_refused() -> None:
    network = example.network()
    with pytest.raises(TypeError, match=r"snn must be of firstspike\.convert or firstspike\.load, not Network"):
        fs.playground(network)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"samples must be uint8 of shape \(1, 8, 8\), not uint8 \(1, 4, 4\)"):
        playground_page(network, name="a", samples=[np.zeros((1, 4, 4), dtype=np.uint8)])
    flat = replace(network, input_shape=(128,), layers=(replace(network.layers[-1], source="input"),))
    with pytest.raises(
        ValueError, match=r"a playground needs a network of images of 1 or 3 channels, not of inputs \(128,\)"
    ):
        playground_page(flat, name="a")

    class Odd(Flatten):
        kind = "odd"

    odd = replace(network, layers=(*network.layers[:5], Odd(name="flatten", source="pool2"), network.layers[6]))
    with pytest.raises(ValueError, match=r"layer 'flatten': the playground runs layers of conv2d, .*, not 'odd'"):
        playground_page(odd, name="a")


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SpikingNetwork(example.network(), engine="reference").save(tmp_path / "rings.safetensors")
    images = np.rint(255 * example.images()).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.array([1, 1, 1, 2, 2, 3, 3, 3]))
    page = tmp_path / "page.html"
    command = ["playground", str(tmp_path / "rings.safetensors"), "--data", str(tmp_path / "images.npz")]
    assert main([*command, "--samples", "4", "--out", str(page)]) == 0
    data = json.loads(re.findall(r'<script type="application/json" id="network">(.*?)</script>', page.read_text())[0])
    samples = [base64.b64decode(sample) for sample in data["samples"]]
    assert samples == [images[place].tobytes() for place in (0, 3, 5, 1)]
    assert main(["playground", str(tmp_path / "rings.safetensors"), "--out", str(page)]) == 0
    assert "wrote" in capsys.readouterr().out
