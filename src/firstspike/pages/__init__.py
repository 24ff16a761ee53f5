"""Records, traces and costs as tables, plots and one self-contained HTML page."""

from firstspike.pages.html import Example, demo_page
from firstspike.pages.tables import demo_table, plain

__all__ = ["Example", "demo_page", "demo_table", "plain"]
