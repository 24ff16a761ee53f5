"""What a report asks of a cost: the part of ``firstspike.processor.Cost`` that it shows."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from firstspike.spec.interval import Interval


class LayerView(Protocol):
    """Cost of one layer."""

    @property
    def name(self) -> str:
        """The layer's name."""
        ...

    @property
    def kind(self) -> str:
        """The layer's kind."""
        ...

    @property
    def events(self) -> Mapping[str, float]:
        """Counts per image, among them ``cycles`` and ``sops``."""
        ...

    @property
    def energy(self) -> Interval:
        """Energy per image in µJ."""
        ...

    @property
    def groups(self) -> Mapping[str, Interval]:
        """Energy per image in µJ by group of components."""
        ...


class CostView(Protocol):
    """Cost of a network on images."""

    @property
    def technology(self) -> str:
        """Name of the technology."""
        ...

    @property
    def dram(self) -> str:
        """Name of the DRAM scenario."""
        ...

    @property
    def layers(self) -> Sequence[LayerView]:
        """By execution, the image's load first."""
        ...

    @property
    def energy(self) -> Interval:
        """Energy per image in µJ."""
        ...

    @property
    def components(self) -> Mapping[str, Interval]:
        """Energy per image in µJ by component."""
        ...

    @property
    def groups(self) -> Mapping[str, Interval]:
        """Energy per image in µJ by group of components."""
        ...

    @property
    def labels(self) -> Mapping[str, tuple[str, str]]:
        """Name for readers and group of every component."""
        ...

    def record(self) -> dict[str, Any]:
        """Totals as a flat dictionary whose keys carry units."""
        ...


class SwingView(Protocol):
    """How far one constant moves the energy."""

    @property
    def key(self) -> str:
        """The constant's key in the technology file."""
        ...

    @property
    def low_uj(self) -> float:
        """Energy per image in µJ with the constant at its low end."""
        ...

    @property
    def high_uj(self) -> float:
        """Energy per image in µJ with the constant at its high end."""
        ...
