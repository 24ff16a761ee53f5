"""The callback that takes a LightningModule of one's own through the stages, and watches spikes and saturation."""

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import firstspike as fs
from firstspike.train.stages import Stages


class Own(lightning.LightningModule):
    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.seen: list[str] = []

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        self.seen.append(self.networks[0].stage)
        return torch.stack([network(batch[0]).square().mean() for network in self.networks]).sum()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        for network in self.networks:
            network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def network(*, saturated: bool) -> fs.Prepared:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    if saturated:
        nn.init.constant_(net[0].bias, 5.0)
    return fs.prepare(net, example=torch.zeros(1, 6))


def fit(module: Own, callback: Stages, *, epochs: int) -> dict[str, Tensor]:
    images = TensorDataset(torch.rand(8, 6, generator=torch.Generator().manual_seed(1)))
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(images, batch_size=8), DataLoader(images, batch_size=4))
    return trainer.callback_metrics


@pytest.mark.filterwarnings("ignore")
def test_stages_follow_the_epochs_and_validation_is_watched() -> None:
    module = Own(network(saturated=True))
    logged = fit(module, Stages(clip=1, ttfs=2, quantised=3), epochs=4)
    assert module.seen == ["relu", "clip", "ttfs", "quantised"]
    assert float(logged["saturated"]) == 1.0  # a bias of 5 is above 1 whatever the image
    images = torch.rand(8, 6, generator=torch.Generator().manual_seed(1))
    snn = fs.convert(module.networks[0].eval(), example=images)
    assert float(logged["spikes_per_neuron"]) == pytest.approx(snn.trace(images).spikes_per_neuron)
    assert not any(fire._forward_hooks for fire in module.networks[0].fires.values())


@pytest.mark.filterwarnings("ignore")
def test_several_networks_are_told_apart() -> None:
    logged = fit(Own(network(saturated=True), network(saturated=False)), Stages(), epochs=1)
    assert float(logged["networks.0.saturated"]) == 1.0
    assert float(logged["networks.1.saturated"]) < 0.5


@pytest.mark.filterwarnings("ignore")
def test_a_module_without_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match="Stages needs a module that holds a network"):
        fit(Own(nn.Linear(6, 2)), Stages(), epochs=1)
    with pytest.raises(ValueError, match="stages must begin in the order"):
        Stages(ttfs=3, quantised=1)
