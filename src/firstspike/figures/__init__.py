"""Charts and tables from plain numbers, for terminals, notebooks and pages."""
