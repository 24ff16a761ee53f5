"""The oracle for whole data sets: its tables of products and thresholds, and NumPy for many neurons at once.

Shares no code with the package either; on single images it is held against the slow one.
"""

from typing import Any

import numpy as np
from oracles import network as oracle
from oracles import tables

NO_SPIKE = tables.NO_SPIKE


def run(network: dict[str, Any], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Spike times (int64 ``[n, *shape]``) of the input and every layer, and the logits, of a plain network."""
    params = network["params"]
    shapes = oracle.check(network)
    kappas = np.array([float(tables.kappa(t, params)) for t in range(params.T)])
    reached = pixels[..., None] >= kappas
    values = {"input": np.where(reached.any(-1), reached.argmax(-1), NO_SPIKE)}
    for layer in network["layers"]:
        name, source = layer["name"], values[layer["inputs"][0]]
        if layer["kind"] == "flatten":
            values[name] = source.reshape(len(source), -1)
        elif layer["kind"] == "maxpool2d":
            values[name] = pool(layer, source, shapes[name])
        else:
            values[name] = integrate(
                layer, source, shapes[name], params, [values[other] for other in layer["residual"]]
            )
    return values


def integrate(
    layer: dict[str, Any], source: np.ndarray, shape: Any, params: Any, residuals: list[np.ndarray]
) -> np.ndarray:
    """Membranes by looking up every product in a table ``[code][time]``, and the spike times they reach."""
    G = tables.exponent_g(layer["k"], params)
    products = np.zeros((1 << params.bits, 256), dtype=np.int64)  # the column of "no spike" stays 0
    for code in range(1 << params.bits):
        q, sign = tables.unpack(code, params)
        products[code, : params.T] = [tables.product(q, t, sign, layer["k"], params) for t in range(params.T)]
    codes = np.array(layer["codes"])
    u = np.zeros((len(source), *shape), dtype=np.int64) + np.array(layer["bias"]).reshape(-1, *[1] * (len(shape) - 1))
    if layer["kind"] == "linear":
        for i in range(codes.shape[1]):
            u += products[codes[None, :, i], source[:, i, None]]
    else:
        inside, outside = codes.shape[1], len(codes) // layer["groups"]
        (down, right), (top, left) = layer["stride"], layer["padding"]
        padded = np.pad(source, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=NO_SPIKE)
        for i in range(codes.shape[2]):
            for j in range(codes.shape[3]):
                taps = padded[:, :, i::down, j::right][:, :, : shape[1], : shape[2]]
                for o in range(len(codes)):
                    for c in range(inside):
                        u[:, o] += products[codes[o, c, i, j]][taps[:, o // outside * inside + c]]
    for other in residuals:
        added = np.array([tables.residual(t, G, params) for t in range(params.T)] + [0] * (256 - params.T))
        u += added[other]
    if not layer["fires"]:
        return u
    reached = u[..., None] >= np.array(tables.thresholds(G, params))
    return np.where(reached.any(-1), reached.argmax(-1), NO_SPIKE)


def pool(layer: dict[str, Any], source: np.ndarray, shape: Any) -> np.ndarray:
    """The smallest time of each window."""
    (down, right), (top, left) = layer["stride"], layer["padding"]
    padded = np.pad(source, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=NO_SPIKE)
    result = np.full((len(source), *shape), NO_SPIKE)
    for i in range(layer["kernel"][0]):
        for j in range(layer["kernel"][1]):
            taps = padded[:, :, i::down, j::right][:, :, : shape[1], : shape[2]]
            result = np.minimum(result, taps)
    return result
