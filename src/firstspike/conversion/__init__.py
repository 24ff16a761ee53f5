"""From a trained, prepared network to the integer network of `firstspike.spec`."""

from firstspike.conversion.check import Difference, first_difference
from firstspike.conversion.lower import ConversionError, lower

__all__ = ["ConversionError", "Difference", "first_difference", "lower"]
