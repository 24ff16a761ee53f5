"""firstspike."""
