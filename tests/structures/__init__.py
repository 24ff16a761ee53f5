"""Network definitions in the style of the public CIFAR collections, narrow, for tests of what `prepare` takes."""
