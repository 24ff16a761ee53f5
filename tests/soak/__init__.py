"""The project's own campaign: what tries to bring it down, seeded and resumable. ``python -m soak --help`` in tests/."""
