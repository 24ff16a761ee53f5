"""What one sees of an object: a short repr, a table in a notebook, figures that are returned, frames of pandas."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import firstspike as fs
from firstspike.figures import Figure, Table
from firstspike.processor import technology
from firstspike.spiking import SpikingNetwork
from tests.pages import example


def nested(text: str) -> HTMLParser:
    """Checks that the elements of a piece of HTML nest."""

    class Reader(HTMLParser):
        open: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            """Closed at once."""

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def seen() -> list[object]:
    """One of everything that a user meets in a notebook."""
    network, trace, cost = example.network(), example.trace(), example.cost()
    return [
        network,
        *network.layers,
        SpikingNetwork(network, engine="reference"),
        trace,
        *trace.layers.values(),
        cost,
        *cost.layers,
        technology.default(),
        trace.raster(),
        trace.histogram(),
        cost.breakdown(),
    ]


@pytest.mark.parametrize("thing", seen(), ids=lambda thing: type(thing).__name__)
def test_a_repr_is_one_short_line(thing: object) -> None:
    text = repr(thing)
    assert len(text) < 260, text
    assert "\n" not in text
    assert text.startswith(type(thing).__name__ + "(")
    if hasattr(thing, "_repr_html_"):
        nested(thing._repr_html_())


def test_a_large_network_and_its_trace_are_short_too() -> None:
    snn = fs.zoo.load("vgg16-cifar10")
    trace = snn.trace(np.zeros((1, 3, 32, 32), dtype=np.uint8))
    for thing in (snn, snn.network, trace):
        assert len(repr(thing)) < 200
        assert len(thing._repr_html_()) < 20_000


def test_a_prepared_network_is_a_line_and_a_table() -> None:
    torch = pytest.importorskip("torch", reason="needs pip install 'firstspike[train]'")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    cat = fs.prepare(net)
    assert repr(cat).startswith("Prepared(stage 'relu', 2 layers with weights, size of an image not yet known")
    cat(torch.zeros(1, 1, 2, 2))
    assert "input 1x2x2" in repr(cat)
    assert [record["parameters"] for record in cat.summary().records if record["kind"] == "synapses"] == [40, 18]
    nested(cat._repr_html_())


def test_the_trace_says_what_its_spike_times_say() -> None:
    trace = example.trace()
    for record in trace.summary().records:
        times = trace.layers[record["name"]].times
        if times is None:
            assert record["fired"] is None
            continue
        flat = times.reshape(len(times), -1).tolist()
        spikes = [t for image in flat for t in image if t != 255]
        neurons = len(flat[0])
        assert record["fired"] == len(spikes) / (neurons * len(flat))
        assert record["saturated"] == spikes.count(0) / (neurons * len(flat))
        assert record["mean_step"] == pytest.approx(sum(spikes) / len(spikes))
        assert record["silent"] == sum(all(image[i] == 255 for image in flat) for i in range(neurons)) / neurons
    assert [layer.window for layer in trace.layers.values()] == [0, 1, 2, 2, 3, 3, 3, 4]


def test_figures_are_drawings_with_a_title(tmp_path) -> None:
    trace, cost = example.trace(), example.cost()
    for figure in (
        trace.raster(3),
        trace.histogram(),
        trace.histogram("conv1"),
        cost.breakdown(),
        cost.breakdown("layer"),
    ):
        assert isinstance(figure, Figure)
        figure.save(tmp_path / "figure.svg")
        root = ElementTree.parse(tmp_path / "figure.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label")
        assert "var(--ink)" in figure.standalone()
        assert "--ink: #14140f" in figure.standalone()
    assert len(re.findall("<image ", trace.raster(3).svg)) == 4
    assert trace.histogram("conv1").svg.count("<svg") == 2


def test_what_is_not_there_is_refused() -> None:
    trace = example.trace()
    with pytest.raises(ValueError, match=r"image must be in 0\.\.7, not 8"):
        trace.raster(8)
    with pytest.raises(ValueError, match=r"layer must be one of input, .*, not 'linear'"):
        trace.histogram("linear")
    with pytest.raises(ValueError, match="by must be component or layer, not 'colour'"):
        example.cost().breakdown("colour")


def test_a_summary_has_the_layers_and_their_records() -> None:
    table = SpikingNetwork(example.network(), engine="reference").summary()
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["input", *(layer.name for layer in example.network().layers)]
    assert len({len(row) for row in (table.heads, *table.rows)}) == 1
    assert "membrane" in repr(table).splitlines()[1]
    nested(table._repr_html_())


def test_frames_hold_the_records() -> None:
    pytest.importorskip("pandas", reason="needs pip install 'firstspike[notebook]'")
    cost, trace = example.cost(), example.trace()
    frame = cost.to_frame()
    assert frame["energy_uj"].sum() == pytest.approx(cost.energy_uj)
    assert list(frame["name"]) == [layer.name for layer in cost.layers]
    assert trace.to_frame()["sops_per_image"].sum() == trace.sops_per_image
    constants = technology.default().summary().to_frame()
    assert (constants["low"] <= constants["high"]).all()


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"to_frame needs pandas; install it with: pip install 'firstspike\[notebook\]'"
    ):
        example.cost().to_frame()
