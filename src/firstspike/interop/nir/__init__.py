"""NIR, the neuromorphic intermediate representation: a node that fires once, and a mapping to nodes that others have."""
