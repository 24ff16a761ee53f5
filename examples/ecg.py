"""A heartbeat classifier in one dimension: signals of an ECG's shape, made here, through Conv1d to spikes. Some ten seconds.

python examples/ecg.py
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import firstspike as fs

torch.set_num_threads(1)

BEATS = ("normal", "no P wave", "wide QRS", "ST raised")
LENGTH = 128
"""Samples of a beat, one second."""


def beats(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Signals, float32 ``[count, 1, LENGTH]`` in [0, 1], and their kinds: waves of Gaussian shape, a drift, noise."""
    labels = rng.integers(len(BEATS), size=count)
    time = np.linspace(0, 1, LENGTH)
    signals = np.empty((count, 1, LENGTH), dtype=np.float32)

    def wave(height: float, centre: float, width: float) -> np.ndarray:
        return height * np.exp(-(((time - centre) / width) ** 2))

    for signal, kind in zip(signals, labels, strict=True):
        start, size = rng.normal(0.3, 0.03), rng.uniform(0.8, 1.2)
        width = 0.035 if kind == 2 else 0.012
        trace = wave(0.12 * (kind != 1), start - 0.16, 0.03)  # P
        trace = (
            trace - wave(0.12, start - 2 * width, width) + wave(0.9, start, width) - wave(0.2, start + 2 * width, width)
        )
        trace = trace + wave(0.25, start + 0.3, 0.06)  # T
        if kind == 3:
            trace = trace + 0.15 * ((time > start + 3 * width) & (time < start + 0.3))
        trace = size * trace + 0.05 * np.sin(2 * np.pi * (time + rng.random())) + rng.normal(0, 0.02, LENGTH)
        signal[0] = np.clip(0.3 + 0.5 * trace, 0, 1)
    return signals, labels


def main() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    signals, labels = beats(2000, rng)
    unseen, kinds = beats(500, rng)
    net = nn.Sequential(
        nn.Conv1d(1, 12, 9, padding=4),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(12, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, len(BEATS)),
    )
    x, y = torch.from_numpy(signals), torch.from_numpy(labels)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for batch in (index for _ in range(6) for index in torch.randperm(len(x)).split(64)):
        optimiser.zero_grad()
        functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimiser.step()
    net.eval()
    cat = fs.prepare(net, example=x[:1], code=fs.Code(input="planes"))
    fs.calibrate(cat, x[:300])
    snn = fs.convert(cat, example=x[:16], classes=BEATS)
    with torch.no_grad():
        plain = float((net(torch.from_numpy(unseen)).argmax(dim=1).numpy() == kinds).mean())
    run = snn.trace(unseen)
    print(
        f"ReLU {100 * plain:.1f} %, spikes {100 * (run.predictions == kinds).mean():.1f} % of {len(kinds)} unseen beats"
    )
    print(f"{run.spikes_per_neuron:.3f} spikes per neuron, {run.sops_per_image:,.0f} SOPs a beat")


if __name__ == "__main__":
    main()
