"""The published figures that the networks of the zoo stand beside."""

from dataclasses import dataclass

PAPER = "arXiv 2208.04494, abstract"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A column of the published table (DAC 2022, arXiv 2208.04494, abstract)."""

    title: str
    data: str
    accuracy: float
    energy_uj: float

    @property
    def network(self) -> str:
        """Name in the zoo."""
        return f"vgg16-{self.data}"

    @property
    def key(self) -> str:
        """Key in the record."""
        return self.data.replace("-", "_")


PUBLISHED = (
    Published(title="CIFAR-10", data="cifar10", accuracy=0.917, energy_uj=486.7),
    Published(title="CIFAR-100", data="cifar100", accuracy=0.679, energy_uj=503.6),
    Published(title="Tiny-ImageNet", data="tiny-imagenet", accuracy=0.574, energy_uj=1426.0),
)
