"""Search the code and the sparsity of one's own network with Optuna: accuracy against synaptic operations. Some fifteen seconds.

python examples/optuna_own.py
"""

import optuna
import torch
from torch import nn
from torch.nn import functional

import firstspike as fs
from firstspike.data import load

torch.set_num_threads(1)

TRAIN, TEST = load("digits", split="train"), load("digits", split="test")
IMAGES, LABELS = torch.from_numpy(TRAIN.pixels()), torch.as_tensor(TRAIN.labels).long()


def network() -> nn.Module:
    """One's own network, trained once: an ordinary ReLU network."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    learn(net, epochs=4, rate=3e-3)
    return net.eval()


def learn(net: nn.Module, *, epochs: int, rate: float, penalty: float = 0.0) -> None:
    """Train, with a penalty on the mean activation of a prepared network: fewer spikes."""
    optimiser = torch.optim.Adam(net.parameters(), rate)
    net.train()
    for batch in (index for _ in range(epochs) for index in torch.randperm(len(IMAGES)).split(64)):
        if penalty:
            net.observe(True)
        loss = functional.cross_entropy(net(IMAGES[batch]), LABELS[batch])
        if penalty:
            loss = loss + penalty * net.activity()
            net.observe(False)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def evaluate(net: nn.Module, trial: optuna.Trial) -> tuple[float, float]:
    """Accuracy, and synaptic operations an image, of one choice of code, weight format and sparsity."""
    torch.manual_seed(0)
    code = fs.Code(
        T=trial.suggest_int("T", 8, 24, step=4),
        tau=trial.suggest_categorical("tau", [2, 4]),
        mantissa_bits=5,
        input=trial.suggest_categorical("input", ["spike", "planes"]),
    )
    weights = fs.LogWeights(bits=trial.suggest_int("bits", 4, 6), levels_per_octave=2, mantissa_bits=5)
    cat = fs.prepare(net, example=IMAGES[:1], code=code, weights=weights)
    fs.calibrate(cat, IMAGES[:200])  # ends in stage "quantised"
    learn(cat, epochs=1, rate=3e-4, penalty=trial.suggest_float("penalty", 1e-3, 3.0, log=True))
    snn = fs.convert(cat.eval(), example=TEST.pixels(0, 16))
    run = snn.trace(TEST.pixels())
    return float((run.predictions == TEST.labels).mean()), run.sops_per_image


def main(trials: int = 8) -> optuna.Study:
    """Search, and return the study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=0))
    net = network()
    study.optimize(lambda trial: evaluate(net, trial), n_trials=trials)
    return study


if __name__ == "__main__":
    for trial in sorted(main().best_trials, key=lambda trial: -trial.values[0]):
        accuracy, operations = trial.values
        print(f"{100 * accuracy:.1f} %, {operations:,.0f} SOPs an image: {trial.params}")
