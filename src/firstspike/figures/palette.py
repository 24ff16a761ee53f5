"""The colours that every chart shares: on pages, in notebooks, in saved drawings and in matplotlib's plots."""

from types import MappingProxyType

LIGHT = MappingProxyType(
    {
        "page": "#f6f6f3",
        "card": "#ffffff",
        "ink": "#14140f",
        "soft": "#5c5b55",
        "line": "#e3e2dc",
        "band": "#f2f2ee",
        "g0": "#2a78d6",
        "g1": "#159a6d",
        "g2": "#d99a00",
        "g3": "#7a63d2",
        "g4": "#d8524a",
        "rest": "#b9b8b0",
    }
)
"""On light ground; ``g0`` to ``g4`` are the groups of a chart in their order."""

DARK = MappingProxyType(
    {
        "page": "#111110",
        "card": "#1b1b19",
        "ink": "#f3f2ec",
        "soft": "#a9a79d",
        "line": "#33322e",
        "band": "#23231f",
        "g0": "#4a93ea",
        "g1": "#2bb286",
        "g2": "#d8a01c",
        "g3": "#9a88ea",
        "g4": "#e77069",
        "rest": "#5d5c55",
    }
)
"""The same on dark ground."""

NOTEBOOK = MappingProxyType(
    {
        **LIGHT,
        "ink": "currentColor",
        "soft": "color-mix(in srgb, currentColor 65%, transparent)",
        "line": "color-mix(in srgb, currentColor 16%, transparent)",
        "band": "color-mix(in srgb, currentColor 6%, transparent)",
    }
)
"""Where the ground is the theme's of a notebook, light or dark: text and lines take its colour."""


def variables(colours: MappingProxyType[str, str]) -> str:
    """The colours as custom properties of a style sheet.

    >>> variables(MappingProxyType({"ink": "#000", "g0": "#00f"}))
    '--ink: #000; --g0: #00f;'
    """
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def style(*, selector: str = ":root") -> str:
    """A style sheet that sets the colours, light or dark as the reader's device asks."""
    return (
        f"{selector} {{ color-scheme: light dark; {variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ {selector} {{ {variables(DARK)} }} }}\n"
    )
