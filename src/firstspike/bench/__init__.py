"""Benchmarks of the engines against dense networks and time-stepped simulators."""
