"""Records, traces and costs as tables, plots and self-contained HTML pages."""

from firstspike.pages.demo import demo_page
from firstspike.pages.parts import Example
from firstspike.pages.report import Entry, report_page
from firstspike.pages.tables import demo_table, plain

__all__ = ["Entry", "Example", "demo_page", "demo_table", "plain", "report_page"]
