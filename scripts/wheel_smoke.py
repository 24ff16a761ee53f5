"""What a wheel must do in an empty environment, outside the checkout: run by `make wheel-test` and by cibuildwheel.

python scripts/wheel_smoke.py
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import firstspike as fs
from firstspike.engine.reference import ReferenceEngine

CHECKOUT = Path(__file__).resolve().parents[1]
UNNEEDED = ("torch", "lightning", "tensorboard", "sklearn", "scipy", "matplotlib")


def command(*arguments: str) -> str:
    """Run ``firstspike``, as it is installed, in an empty folder."""
    program = shutil.which("firstspike", path=sysconfig.get_path("scripts"))
    assert program is not None, "the command must be installed"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def main() -> None:
    """Load every network of the zoo, run one by two engines, price it, and start the command line."""
    assert CHECKOUT not in Path(fs.__file__).resolve().parents, f"the installed package, not {fs.__file__}"
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    for name in fs.zoo.names():
        fs.zoo.load(name)
    snn = fs.zoo.load("vgg16-cifar10", engine="native")
    logits = snn(images)
    assert (logits == ReferenceEngine(snn.network).logits(snn.encode(images)).reshape(1, 10)).all()
    cost = fs.Processor().run(snn, images)
    assert cost.energy_uj > 0
    for module in UNNEEDED:
        assert module not in sys.modules, f"{module} must not be loaded"
    assert command("--version") == f"firstspike {fs.__version__}\n"
    assert "vgg16-cifar10" in command("zoo")
    assert "conv1_1" in command("inspect", "vgg16-cifar10")
    print(f"firstspike {fs.__version__}, Python {sys.version.split()[0]}: classes {logits.argmax(axis=1).tolist()}")


if __name__ == "__main__":
    main()
