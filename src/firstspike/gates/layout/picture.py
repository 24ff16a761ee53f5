"""A picture of a layout, by KLayout's Python module."""

from pathlib import Path
from typing import Any

from PIL import Image

from firstspike.extras import needed
from firstspike.gates.layout.pdk import Kit

COLOURS = (0x7F8FA6, 0x2E86DE, 0xE1592B, 0x27AE60, 0x8E44AD, 0xD4AC0D)
"""Of the metals from the bottom up."""

COLOURS_KEPT = 48
"""Of the picture: a smaller file."""

PIXELS = 1100
"""Width and height at most."""


def render(kit: Kit, gds: Path, picture: Path, *, window: tuple[float, float, float, float] | None = None) -> None:
    """Draw the metals of a GDS file as PNG.

    Args:
        kit: its metals.
        gds: the layout.
        picture: file to write.
        window: left, bottom, right, top in um; None: everything.
    """
    with needed("a picture of a layout"):
        import klayout.db as db
        import klayout.lay as lay

    view = lay.LayoutView()
    view.set_config("background-color", "#ffffff")
    view.set_config("grid-visible", "false")
    view.set_config("text-visible", "false")
    view.load_layout(str(gds), False)
    view.max_hier()
    while not view.begin_layers().at_end():
        view.delete_layer(view.begin_layers())
    for (name, number), colour in zip(kit.metals.items(), COLOURS, strict=False):
        view.insert_layer(view.end_layers(), _layer(lay, name, number, colour))
    if window is None:
        view.zoom_fit()
    else:
        view.zoom_box(db.DBox(*window))
    view.save_image(str(picture), PIXELS, PIXELS)
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(COLOURS_KEPT)
    small.save(picture, optimize=True)


def _layer(lay: Any, name: str, number: int, colour: int) -> Any:
    properties = lay.LayerProperties()
    properties.source = f"{number}/0@1"
    properties.name = name
    properties.fill_color = properties.frame_color = colour
    # solid, then hatched ones above it: what is below stays visible
    properties.dither_pattern = 0 if name.startswith("Metal") else 5
    properties.transparent = True
    properties.visible = True
    return properties
