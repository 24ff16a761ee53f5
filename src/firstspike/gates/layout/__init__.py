"""From a mapped netlist to a routed layout: placement, external router, checks, parasitics, energy with wires."""
