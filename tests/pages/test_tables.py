"""Terminal tables and the layer table: what they say is what the record and the network hold."""

import io

import numpy as np
import pytest
from rich.console import Console

from firstspike.pages import demo_table, plain
from firstspike.pages.tables import KEYS
from firstspike.spec.summary import layer_table
from tests.pages import example


def printed(table: object) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_demo_table_names_accuracy_cost_and_every_component() -> None:
    cost = example.cost()
    text = printed(demo_table(example.record(), cost))
    for expected in ("98.33 %", "98.06 %", "99.72 %", "41.5 s", "28nm, flat-4pj", "DRAM reads", "processing elements"):
        assert expected in text
    for key, part in cost.components.items():
        assert (cost.labels[key][0] in text) == (part.high > 0)


@pytest.mark.parametrize("key", KEYS)
def test_record_that_lacks_a_key_is_refused(key) -> None:
    record = example.record()
    del record[key]
    with pytest.raises(ValueError, match=rf"a demo record must have the keys dataset, .*, not lack {key}$"):
        demo_table(record, example.cost())


def test_layer_table_counts_the_network() -> None:
    network = example.network()
    rows = {row["name"]: row for row in layer_table(network)}
    assert list(rows) == ["input", *(layer.name for layer in network.layers)]
    assert [row["window"] for row in rows.values()] == [0, 1, 2, 2, 3, 3, 3, 4]
    assert rows["pool1"]["output_shape"] == "16x4x4"
    assert rows["linear"]["output_shape"] == "10"
    assert sum(row["neurons"] for row in rows.values()) == example.trace().neurons + 10
    for layer in network.synaptic:
        row = rows[layer.name]
        zeros = sum(1 for code in layer.codes.reshape(-1).tolist() if code % 16 == 15)
        assert row["zero_weights"] == zeros / layer.codes.size
        assert row["weight_kib"] == layer.codes.size * 5 / 8 / 1024
        low, high = network.membrane_bounds(layer)
        assert -(1 << (row["membrane_bits"] - 1)) <= low
        assert high < 1 << (row["membrane_bits"] - 1)
        assert not (-(1 << (row["membrane_bits"] - 2)) <= low and high < 1 << (row["membrane_bits"] - 2))
    assert len({tuple(row) for row in rows.values()}) == 1


def test_plain_table_takes_records_with_the_same_keys() -> None:
    text = printed(plain(layer_table(example.network()), "layers"))
    assert "membrane_bits" in text
    assert "maxpool2d" in text
    with pytest.raises(ValueError, match="every row must have the keys a, not b"):
        plain([{"a": 1}, {"b": 2}])
    with pytest.raises(ValueError, match=r"a table needs at least one row, not \[\]"):
        plain([])


def test_layer_table_is_plain_data() -> None:
    for row in layer_table(example.network()):
        assert all(type(value) in (str, int, float) for value in row.values()), row
        assert not any(isinstance(value, np.generic) for value in row.values())
