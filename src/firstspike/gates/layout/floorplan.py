"""The core's rows and the places of the ports on its border."""

import math
from dataclasses import dataclass

from firstspike.gates.layout.block import CellBlock
from firstspike.gates.layout.lef import Lef, MetalLayer


@dataclass(frozen=True, kw_only=True)
class Floorplan:
    """Rows of sites inside a margin; lengths in um, the die's lower left corner is the origin.

    Attributes:
        rows: how many.
        sites: in a row.
        site, height: of a site.
        left, bottom: of the core.
        layers: routing layers in use, from the bottom up.
    """

    rows: int
    sites: int
    site: float
    height: float
    left: float
    bottom: float
    layers: tuple[MetalLayer, ...]

    @property
    def width(self) -> float:
        """Of the core."""
        return self.sites * self.site

    @property
    def core_height(self) -> float:
        """Of the core."""
        return self.rows * self.height

    @property
    def die(self) -> tuple[float, float]:
        """Width and height of the die: the core and its margins."""
        return 2 * self.left + self.width, 2 * self.bottom + self.core_height

    def slots(self, spacing: int) -> list[tuple[float, float, str]]:
        """Places for ports around the die, every ``spacing`` tracks, counter-clockwise: x, y, layer.

        Pins on the lower and upper edge are on the lowest vertical layer, the others on the horizontal
        one above it.
        """
        vertical = next(layer for layer in self.layers if not layer.horizontal)
        horizontal = next(layer for layer in self.layers[self.layers.index(vertical) :] if layer.horizontal)
        columns = [self.left + i * vertical.pitch for i in range(1, int(self.width / vertical.pitch))]
        lines = [self.bottom + i * horizontal.pitch for i in range(1, int(self.core_height / horizontal.pitch))]
        wide, high = self.die
        # the last track inside the die
        right = math.floor(round(wide / vertical.pitch, 6)) * vertical.pitch
        top = math.floor(round(high / horizontal.pitch, 6)) * horizontal.pitch
        columns, lines = columns[::spacing], lines[::spacing]
        return (
            [(x, 0.0, vertical.name) for x in columns]
            + [(right, y, horizontal.name) for y in lines]
            + [(x, top, vertical.name) for x in reversed(columns)]
            + [(0.0, y, horizontal.name) for y in reversed(lines)]
        )


def plan(
    block: CellBlock,
    lef: Lef,
    *,
    utilisation: float,
    layers: int,
    aspect: float = 1.0,
    margin: int = 1,
    site: float | None = None,
) -> Floorplan:
    """A core for the block's cells.

    Args:
        block: what goes into it.
        lef: the cells' sizes.
        utilisation: share of the core that cells cover.
        layers: routing layers in use.
        aspect: height over width.
        margin: rows' heights between core and die.
        site: width of a site in um; None: the pitch of the lowest vertical layer.

    Raises:
        ValueError: the utilisation is not in (0, 0.95], or a cell is missing or of another height.
    """
    if not 0 < utilisation <= 0.95:
        raise ValueError(f"utilisation must be in (0, 0.95], not {utilisation!r}")
    missing = sorted({kind for kind in block.cells.values() if kind not in lef.macros})
    if missing:
        raise ValueError(f"LEF must have all cells of {block.name}, but not {', '.join(missing)}")
    macros = [lef.macros[kind] for kind in block.cells.values()]
    heights = {macro.height for macro in macros}
    if len(heights) != 1:
        raise ValueError(f"cells must have one height, not {sorted(heights)!r}")
    height, used = heights.pop(), tuple(lef.layers.values())[:layers]
    if site is None:
        site = next(layer for layer in used if not layer.horizontal).pitch
    area = sum(macro.width for macro in macros) * height / utilisation
    rows = max(1, round(math.sqrt(area * aspect) / height))
    sites = math.ceil(area / (rows * height) / site)
    # the margin is whole tracks in both directions
    left = math.ceil(margin * height / site) * site
    return Floorplan(
        rows=rows,
        sites=sites,
        site=site,
        height=height,
        left=left,
        bottom=margin * height,
        layers=used,
    )
