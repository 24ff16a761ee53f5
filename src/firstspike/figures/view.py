"""What a chart asks of what it shows: bounds, and the part of ``firstspike.processor.Cost`` that it draws."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Bounds(Protocol):
    """A figure that is known between two bounds, as `firstspike.processor.Interval`."""

    @property
    def low(self) -> float:
        """The least it may be."""
        ...

    @property
    def value(self) -> float:
        """What it is taken to be."""
        ...

    @property
    def high(self) -> float:
        """The most it may be."""
        ...


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
    def energy(self) -> Bounds:
        """Energy per image in µJ."""
        ...

    @property
    def groups(self) -> Mapping[str, Bounds]:
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
    def energy(self) -> Bounds:
        """Energy per image in µJ."""
        ...

    @property
    def components(self) -> Mapping[str, Bounds]:
        """Energy per image in µJ by component."""
        ...

    @property
    def groups(self) -> Mapping[str, Bounds]:
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
