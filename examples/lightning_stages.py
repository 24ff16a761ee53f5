"""A LightningModule of one's own through the stages: `Stages` moves them and watches spikes. Some ten seconds.

python examples/lightning_stages.py
"""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import firstspike as fs
from firstspike.data import load
from firstspike.train.stages import Stages

torch.set_num_threads(1)


class Digits(lightning.LightningModule):
    """Nothing here knows of stages."""

    def __init__(self) -> None:
        super().__init__()
        plain = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
        self.network = fs.prepare(plain, code=fs.Code(input="planes"))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(dim=1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 2e-3)


def main(epochs: int = 8) -> dict[str, float]:
    """Train, convert, and return what was logged last, with the spiking network's accuracy."""
    torch.manual_seed(0)
    train, test = load("digits", split="train"), load("digits", split="test")
    sets = [TensorDataset(torch.from_numpy(s.pixels()), torch.as_tensor(s.labels).long()) for s in (train, test)]
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[Stages(clip=0, ttfs=epochs // 2, quantised=3 * epochs // 4)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Digits()
    loaders = [DataLoader(sets[0], batch_size=32, shuffle=True), DataLoader(sets[1], batch_size=128)]
    trainer.fit(module, *loaders)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    snn = fs.convert(module.network.eval(), example=test.pixels(0, 64))
    return logged | {"spiking_accuracy": float((snn.classify(test.pixels()) == test.labels).mean())}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.3f}")
