"""What the modules of a traced network compute."""

from dataclasses import replace

from torch import fx, nn

from firstspike.cat.counterparts import (
    MOVED,
    adaptive_average,
    adaptive_max,
    average,
    clip,
    final,
    flatten,
    image_of,
    line,
    max_pool,
    reshape,
    upsample,
)
from firstspike.cat.operations import Operation, UnsupportedError, advice, path_of


def of_module(node: fx.Node, module: nn.Module) -> Operation:
    """The operation of a module's node, or an error; types are compared exactly: a subclass may compute something else."""
    path, kind = path_of(node), type(module)
    image = image_of(node, path)

    def found(name: str, layer: nn.Module | None = None) -> Operation:
        return Operation(kind=name, path=path, inputs=(image,), module=layer)

    if isinstance(module, nn.Conv2d | nn.Conv1d) and kind in (nn.Conv2d, nn.Conv1d):
        _check_conv(path, module)
        return replace(found("linear", module), line=kind is nn.Conv1d)
    if kind is nn.Linear:
        return found("linear", module)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return found("norm", module)
    if kind is nn.ReLU:
        return found("relu")
    if isinstance(module, nn.Hardtanh) and kind in (nn.ReLU6, nn.Hardtanh):
        return clip(path, image, module.min_val, module.max_val)
    if kind in (nn.Upsample, nn.UpsamplingNearest2d):
        return upsample(path, image, module.mode)
    if kind in (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ZeroPad1d):
        return Operation(kind="move", path=path, inputs=(image,), rule=MOVED.format(kind.__name__))
    if isinstance(module, nn.Softmax | nn.LogSoftmax) and kind in (nn.Softmax, nn.LogSoftmax):
        return final(path, image, module.dim)
    if kind in (nn.Sigmoid, nn.LogSigmoid):
        return final(path, image, 1)
    if isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d:
        options = (module.dilation, module.ceil_mode, module.return_indices)
        return found("maxpool", max_pool(path, module.kernel_size, module.stride, module.padding, *options))
    if isinstance(module, nn.AvgPool2d) and kind is nn.AvgPool2d:
        divisor = (module.ceil_mode, module.count_include_pad, module.divisor_override)
        return average(path, image, module.kernel_size, module.stride, module.padding, *divisor)
    if isinstance(module, nn.AdaptiveAvgPool2d) and kind is nn.AdaptiveAvgPool2d:
        return adaptive_average(path, image, module.output_size)
    if isinstance(module, nn.AdaptiveMaxPool2d) and kind is nn.AdaptiveMaxPool2d:
        return adaptive_max(path, image, module.output_size, module.return_indices)
    if isinstance(module, nn.MaxPool1d) and kind is nn.MaxPool1d:
        sizes = (line(module.kernel_size), line(module.stride), line(module.padding, 0))
        pool = max_pool(path, *sizes, module.dilation, module.ceil_mode, module.return_indices)
        return replace(found("maxpool", pool), line=True)
    if isinstance(module, nn.AvgPool1d) and kind is nn.AvgPool1d:
        counts = (module.ceil_mode, module.count_include_pad, None)
        sizes = (line(module.kernel_size), line(module.stride), line(module.padding, 0))
        return replace(average(path, image, *sizes, *counts), line=True)
    if isinstance(module, nn.AdaptiveAvgPool1d) and kind is nn.AdaptiveAvgPool1d:
        return replace(adaptive_average(path, image, line(module.output_size)), line=True)
    if isinstance(module, nn.AdaptiveMaxPool1d) and kind is nn.AdaptiveMaxPool1d:
        return replace(adaptive_max(path, image, line(module.output_size), module.return_indices), line=True)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        return flatten(path, image, module.start_dim, module.end_dim)
    if kind is nn.Unflatten:
        return reshape(path, image, "Unflatten", "back from a flattened image", node)
    if kind in (nn.Dropout, nn.Dropout2d):
        return found("dropout", module)
    if kind is nn.Identity:
        return found("same")
    raise UnsupportedError(f"{path}: {kind.__name__} cannot be converted; {advice(kind.__name__)}")


def _check_conv(path: str, module: nn.Conv2d | nn.Conv1d) -> None:
    if module.padding_mode != "zeros":
        raise UnsupportedError(
            f"{path}: {type(module).__name__} must pad with silence, padding_mode='zeros', not {module.padding_mode!r}"
        )
