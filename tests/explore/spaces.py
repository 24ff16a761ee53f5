"""A small space and its results without any network: a pure function of the design."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from firstspike.explore import space
from firstspike.explore.evaluate import Result
from firstspike.explore.space import Design, Space

TEXT = """
format: 1
networks: [net.safetensors]
data: {name: digits, validation_images: 200, accuracy_images: 40, cost_images: 5}
code:
  T: {unit: steps, values: [8, 24]}
processor:
  pes: {unit: pes, values: [16, 64, 128]}
  clock_mhz: {unit: MHz, low: 100, high: 250, step: 50}
objectives: [accuracy, energy_uj]
search: {method: nsga2, trials: 30, population: 8, seed: 3}
"""


def small(folder: Path, text: str = TEXT) -> Space:
    (folder / "net.safetensors").touch()
    return space.parse(text, name="space.yaml", folder=folder)


def value(design: Design) -> Result:
    T, pes, clock = (float(design[key]) for key in ("code.T", "processor.pes", "processor.clock_mhz"))
    if pes == 128 and clock == 100:
        return {"refused": "pes must not be 128 at 100 MHz"}
    metrics: dict[str, Any] = {"accuracy": T / 32, "energy_uj": 1000 / pes + T + clock / 7, "area_mm2": pes / 100}
    return metrics | {"latency_us": 1e4 / clock, "latency_steps": int(4 * T), "frames_per_second": clock / 3}


class Pure:
    """In this process; results come in reverse order; stops with an error after ``most`` designs."""

    def __init__(self, most: int | None = None) -> None:
        self.most, self.seen = most, list[int]()

    def run(self, designs: Mapping[int, Design]) -> Iterator[tuple[int, Result]]:
        for number, design in reversed(list(designs.items())):
            if self.most is not None and len(self.seen) == self.most:
                raise KeyboardInterrupt
            self.seen.append(number)
            yield number, value(design)
