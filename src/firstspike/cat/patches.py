"""What changes a module from outside: hooks, forwards that were replaced. A copy would lose it, so it is refused by name."""

import os

from torch import nn
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from firstspike.cat.operations import UnsupportedError

WEIGHT_HOOKS = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
"""PyTorch's own hooks that compute a parameter before each call of its module, from others and a mask."""

_TORCH = os.path.dirname(os.path.dirname(os.path.dirname(nn.Module.__init__.__code__.co_filename)))
_METHODS = ("forward", "_conv_forward", "__call__", "_call_impl")
_FUNCTIONS = (
    "relu",
    "linear",
    "conv2d",
    "batch_norm",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "dropout",
    "dropout2d",
)


def run_weight_hooks(module: nn.Module) -> None:
    """Compute the parameters that pruning and the like compute before each call of a module; nothing else is run."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WEIGHT_HOOKS):
            hook(module, ())


def check_global() -> None:
    """Refuse what changes every module of the process.

    Raises:
        UnsupportedError: there is a global module hook, or a function of ``torch.nn.functional`` was replaced.
    """
    if any(
        getattr(torch_module, name, None)
        for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks_always_called")
    ):
        raise UnsupportedError(
            "global module hooks (register_module_forward_hook) cannot be converted; remove them first"
        )
    for name in _FUNCTIONS:
        if _foreign(getattr(functional, name)):
            raise UnsupportedError(f"torch.nn.functional.{name} was replaced, which cannot be converted; restore it")


def check_module(path: str, module: nn.Module, *, weight_hooks: bool = False) -> None:
    """Refuse what changes one module: a hook, or a forward replaced on the instance or on its class of torch.

    Args:
        path: what the error calls it.
        module: the module itself; not those inside it.
        weight_hooks: let `WEIGHT_HOOKS` pass.

    Raises:
        UnsupportedError: there is one.
    """
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if any(not (weight_hooks and isinstance(hook, WEIGHT_HOOKS)) for hook in hooks):
        raise UnsupportedError(
            f"{path}: forward hooks cannot be converted; remove them (weight_norm, spectral_norm and "
            f"pruning come with functions that do)"
        )
    for name in _METHODS:
        if name in vars(module):
            raise UnsupportedError(
                f"{path}: its {name} was replaced on the instance, which cannot be converted; "
                f"write a module of its own, or delete the attribute"
            )
    for kind in type(module).__mro__:
        if not kind.__module__.startswith("torch.nn.") or kind.__module__.startswith("torch.nn.utils"):
            continue
        for name in _METHODS:
            if name in vars(kind) and _foreign(vars(kind)[name]):
                raise UnsupportedError(
                    f"{path}: {name} of {kind.__name__} was replaced, which cannot be converted; "
                    f"restore the class, and write a subclass in its place"
                )


def _foreign(function: object) -> bool:
    """Whether a function that should be PyTorch's was written elsewhere; compiled ones are PyTorch's."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return not code.co_filename.startswith(_TORCH + os.sep)
    return not str(getattr(function, "__module__", None) or "torch").startswith("torch")
