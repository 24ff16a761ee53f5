"""One thread, since the networks of tests are small, and shapes and types of annotated arrays checked in `firstspike.arith`."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jaxtyping import install_import_hook

with install_import_hook("firstspike.arith", "beartype.beartype"):
    import firstspike  # noqa: F401

import torch

torch.set_num_threads(1)
