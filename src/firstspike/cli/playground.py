"""``firstspike playground``: a page that runs a network in the browser."""

import argparse
from pathlib import Path

import numpy as np

from firstspike.cli.common import chosen_images, chosen_network, chosen_processor, write_json
from firstspike.player import playground
from firstspike.processor import technology
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    snn = chosen_network(options.network)
    samples: list[np.ndarray] = []
    if options.data is not None:
        options.random = None
        images = chosen_images(options, snn, limit=None)
        samples = list(images.images[_one_a_class(images.labels, options.samples)])
    page = playground(
        snn,
        name=Path(options.network).stem,
        samples=samples,
        processor=chosen_processor(options),
        constants=technology.load(options.technology) if options.technology else None,
        note=options.note,
    )
    page.save(options.page)
    console.print(f"wrote {options.page}: {len(page.html):,} bytes")
    write_json(options.json, {"network": options.network, "page": options.page, "bytes": len(page.html)})


def _one_a_class(labels: np.ndarray, count: int) -> list[int]:
    """Places of ``count`` images: the first of every class, then the second, and so on."""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        turn[places] = np.arange(len(places))
    chosen: list[int] = np.lexsort((labels, turn))[:count].tolist()
    return chosen
