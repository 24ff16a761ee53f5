"""Contracts between the parts: the integer network, the trace of a run, the processor's parameters, the model file."""

from firstspike.spec.file import FormatError, fingerprint, load, save
from firstspike.spec.layers import INPUT, Channels, Conv2d, Flatten, Layer, Linear, MaxPool2d, PixelShuffle, Synaptic
from firstspike.spec.limits import Shape
from firstspike.spec.network import MembraneError, Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.trace import LayerTrace, Trace

__all__ = [
    "INPUT",
    "Channels",
    "Conv2d",
    "Flatten",
    "FormatError",
    "Layer",
    "LayerTrace",
    "Linear",
    "MaxPool2d",
    "MembraneError",
    "Network",
    "PixelShuffle",
    "ProcessorSpec",
    "Shape",
    "Synaptic",
    "Trace",
    "fingerprint",
    "load",
    "save",
]
