"""Scales of channels: whatever moves values, the network computes the same; and the scale of least error is that."""

import pytest
import torch
from structures.kinds import KINDS, network
from structures.plain_nets import batch

import firstspike as fs
from firstspike.arith import Code, decode, encode
from firstspike.cat import calibrate as module
from firstspike.cat.ties import TRIED, Channel, Scaling

CLIPPED = ("ReLU6", "Hardtanh", "clamp")
"""These end at 1 in stage "relu" already."""


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("label", [label for label in KINDS if label not in CLIPPED])
def test_channels_scaled_apart_change_no_logit(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gain", lambda code: 1.0)
    cat = fs.prepare(network(label).double(), example=batch()).eval()
    with torch.no_grad():
        before = cat(batch())
        scales = module._rescale(cat, cat.spike_values(batch()), Scaling(percentile=90, least=1e-3))
        torch.testing.assert_close(cat(batch()), before, rtol=1e-9, atol=1e-9)
    assert any(bool((scales[step.name] != scales[step.name][0]).any()) for step in cat.steps if step.fires)


def test_the_scale_of_least_error() -> None:
    code, gain = Code(T=12), 1.0
    values = torch.rand(4000, generator=torch.Generator().manual_seed(1)).double() ** 3
    top = float(values.max())
    found = Channel(values).errors(top * TRIED, lowest=float(code.kappa(11)), gain=gain)
    for scale, error in zip((top * TRIED).tolist(), found.tolist(), strict=True):
        decoded = torch.from_numpy(decode(encode((values / scale).numpy(), code), code)) * scale
        lost = (decoded == 0) | (values > scale)  # what is rounded between is no matter of the scale
        assert float((decoded - values)[lost].square().sum()) == pytest.approx(error, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("field", "value"), [("percentile", 0), ("percentile", 100.5), ("least", 0), ("least", 1.5)])
def test_what_it_refuses(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be in"):
        Scaling(**{field: value})
