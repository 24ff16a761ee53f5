"""Images -> spike times: what is accepted as an image, and its encoding. PyTorch is not loaded for it."""

import sys
from typing import Any, TypeGuard

import numpy as np

from firstspike.arith import NO_SPIKE, PIXEL_TOLERANCE
from firstspike.engine import encode
from firstspike.spec.network import Network


def is_tensor(x: object) -> TypeGuard[Any]:
    """Whether ``x`` is a tensor of PyTorch; where PyTorch is not loaded nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def like(x: object, result: np.ndarray) -> Any:
    """The result as a tensor where ``x`` is one, else as it is."""
    return sys.modules["torch"].from_numpy(result) if is_tensor(x) else result


def to_float(x: Any) -> np.ndarray:
    """A tensor or array as a float array on the CPU: half types as float32, uint8 ``p`` as ``float32(p)/255``, others as is."""
    if is_tensor(x):
        x = x.detach().cpu().contiguous()
        x = (x.float() if str(x.dtype) in ("torch.bfloat16", "torch.float16") else x).numpy()
    array: np.ndarray = x
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array


def encode_images(network: Network, x: Any) -> np.ndarray:
    """Spike times of images for a network; see `firstspike.SpikingNetwork.encode`."""
    if not (is_tensor(x) or isinstance(x, np.ndarray)):
        raise TypeError(f"images must be a torch tensor or a NumPy array, not {type(x).__name__}")
    sequence = (*x.shape[1:2], 1, *x.shape[2:]) if x.ndim == 3 else tuple(x.shape[1:])
    if network.code.planes and str(x.dtype) in ("uint8", "torch.uint8") and sequence == network.input_shape:
        x = x.reshape(len(x), *sequence)
        return NO_SPIKE - np.ascontiguousarray(x.detach().cpu().numpy() if is_tensor(x) else x)
    array = to_float(x)
    if array.ndim == 3 and network.input_shape == (array.shape[1], 1, array.shape[2]):
        array = array[:, :, None]  # sequences are images of one row
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"images must hold floats in [0, 1] or uint8, not {array.dtype}")
    if array.shape[1:] != network.input_shape or array.ndim != len(network.input_shape) + 1:
        raise ValueError(f"images must have shape [n, {', '.join(map(str, network.input_shape))}], not {array.shape!r}")
    if array.size:
        low, high = float(array.min()), float(array.max())
        if np.isnan(low) or np.isnan(high):
            raise ValueError("images must hold values in [0, 1], not nan")
        if low < -PIXEL_TOLERANCE or high > 1 + PIXEL_TOLERANCE:
            raise ValueError(
                f"images must hold values in [0, 1], not {low if low < -PIXEL_TOLERANCE else high!r}; "
                f"do not normalise them, or clamp them: images.clip(0, 1)"
            )
    return encode(array, network.code)
