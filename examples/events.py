"""An event camera's first events as the input's spikes: each pixel fires when its first event comes. Some ten seconds.

The events are made here, as arrays of ``x``, ``y``, ``t`` (microseconds) and ``p`` such as `tonic` gives: a bar that moves
in one of four directions. A window of time becomes the window of steps; a pixel that saw no event stays silent. So the
network's first layer reads what the camera saw, without frames between.

python examples/events.py
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import firstspike as fs
from firstspike.arith import NO_SPIKE, decode

torch.set_num_threads(1)

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
SIZE, WINDOW_US = 16, 50_000
DIRECTIONS = ("right", "left", "down", "up")


def recording(direction: int, rng: np.random.Generator) -> np.ndarray:
    """Events of a bar that crosses the field, with jitter, missing events and noise."""
    across = np.arange(SIZE) if direction % 2 == 0 else np.arange(SIZE)[::-1]
    begin, speed = rng.uniform(0, 0.2), rng.uniform(0.6, 0.9)
    events = []
    for polarity, delay in ((1, 0.0), (0, 0.12)):  # the bar's edges: brighter, then darker
        arrival = begin + delay + speed * np.arange(SIZE) / SIZE
        along, place = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
        times = arrival[place] + rng.normal(0, 0.01, place.shape)
        seen = rng.random(place.shape) < 0.9
        x, y = (across[place], along) if direction < 2 else (along, across[place])
        events.append(_events(x[seen], y[seen], times[seen], polarity))
    noise = rng.integers(SIZE, size=(2, 20))
    events.append(_events(noise[0], noise[1], rng.random(20), 1))
    joined = np.concatenate(events)
    return np.sort(joined[(joined["t"] >= 0) & (joined["t"] < WINDOW_US)], order="t")


def _events(x: np.ndarray, y: np.ndarray, time: np.ndarray, polarity: int) -> np.ndarray:
    made = np.empty(len(x), dtype=EVENT)
    made["x"], made["y"], made["t"], made["p"] = x, y, time * WINDOW_US, polarity
    return made


def first_events(events: np.ndarray, code: fs.Code) -> np.ndarray:
    """The step of every pixel's first event by polarity, uint8 ``[2, SIZE, SIZE]``, 255 for none."""
    steps = np.full((2, SIZE, SIZE), NO_SPIKE, dtype=np.uint8)
    step = (events["t"] * code.T // WINDOW_US).astype(np.uint8)
    np.minimum.at(steps, (events["p"], events["y"], events["x"]), step)
    return steps


def main() -> None:
    rng, code = np.random.default_rng(0), fs.Code(T=24, tau=4)
    torch.manual_seed(0)
    labels = rng.integers(len(DIRECTIONS), size=1200)
    steps = np.stack([first_events(recording(int(label), rng), code) for label in labels])
    images = decode(steps, code).astype(np.float32)  # the value that each spike stands for: exact
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    net = nn.Sequential(
        nn.Conv2d(2, 12, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(192, 32),
        nn.ReLU(),
        nn.Linear(32, 4),
    )
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for batch in (index for _ in range(5) for index in torch.randperm(1000).split(50)):
        optimiser.zero_grad()
        functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimiser.step()
    cat = fs.prepare(net.eval(), example=x[:1], code=code)
    fs.calibrate(cat, x[:200])
    snn = fs.convert(cat, example=x[:16], classes=DIRECTIONS)
    assert np.array_equal(snn.encode(images), steps)  # the input fires just when the camera did
    run = snn.trace(images[1000:])
    print(f"{100 * (run.predictions == labels[1000:]).mean():.1f} % of 200 unseen recordings")
    print(f"{run.spikes_per_neuron:.3f} spikes per neuron, {run.sops_per_image:,.0f} SOPs a recording")


if __name__ == "__main__":
    main()
