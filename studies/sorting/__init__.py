"""Sorting and merging spikes in hardware, priced by replay."""
