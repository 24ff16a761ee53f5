"""From RTL to gates: a Liberty library, synthesis, activity, power and timing."""
