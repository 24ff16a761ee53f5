"""`playground`: a page in which one draws an image and watches the spikes run through a network."""

from collections.abc import Sequence

import numpy as np

from firstspike.pages.page import Page
from firstspike.pages.playground import playground_page
from firstspike.processor import Processor, Technology, technology
from firstspike.processor.formula import formula
from firstspike.spiking import SpikingNetwork


def playground(
    snn: SpikingNetwork,
    *,
    name: str = "network",
    samples: Sequence[np.ndarray] = (),
    processor: Processor | None = None,
    constants: Technology | None = None,
    note: str = "",
) -> Page:
    """A page that runs a network in the browser, bit for bit, and shows every spike; it works offline.

    Args:
        snn: what `firstspike.convert` or `firstspike.load` gives, for images of 1 or 3 channels.
        name: what the page calls it.
        samples: images to choose from, uint8 ``[channels, height, width]``.
        processor: what runs it; None for the default one.
        constants: what its events cost; None for the package's.
        note: a sentence about the network.

    Raises:
        TypeError: ``snn`` is no converted network.
        ValueError: the network takes no such images, a sample has another shape, a layer is of a kind that the page does not
            run, or the network does not fit the processor.
    """
    if not isinstance(snn, SpikingNetwork):
        raise TypeError(f"snn must be of firstspike.convert or firstspike.load, not {type(snn).__name__}")
    cost = formula(snn.network, processor=processor or Processor(), technology=constants or technology.default())
    return Page(html=playground_page(snn.network, name=name, samples=samples, cost=cost, note=note))
