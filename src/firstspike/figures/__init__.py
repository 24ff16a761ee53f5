"""Charts and tables from plain numbers, for terminals, notebooks and pages."""

from firstspike.figures.figure import Figure
from firstspike.figures.table import Table

__all__ = ["Figure", "Table"]
