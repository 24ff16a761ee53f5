"""Factors and shifts by numbers, which go into the layer before them or, at the input, into the layers behind."""

from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from firstspike.cat.operations import Operation, UnsupportedError
from firstspike.cat.tracing import Traced


def factors(node: fx.Node, found: Operation, traced: Traced, seen: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Factor and shift of each channel, float64 ``[C]``, of a node of arithmetic or a batch norm.

    Args:
        node: the node.
        found: what it computes.
        traced: the graph it belongs to.
        seen: shape of the image that it reads.

    Raises:
        UnsupportedError: it is no factor and shift of whole channels.
    """
    if isinstance(found.module, nn.BatchNorm1d | nn.BatchNorm2d):
        return _of_norm(found.module)
    zero = torch.zeros((1, *seen), dtype=torch.float64)
    shift, one, two = (_run(node, found, traced, zero + number) for number in (0, 1, 2))
    factor = one - shift
    if shift.shape != zero.shape or not torch.allclose(two, 2 * factor + shift, rtol=1e-12, atol=0):
        raise UnsupportedError(f"{found.path}: it must be a factor or a shift, the same in all images; leave it out")
    each = [value[0].flatten(1) if len(seen) > 1 else value[0][:, None] for value in (factor, shift)]
    if any(not torch.equal(value, value[:, :1].expand_as(value)) for value in each):
        raise UnsupportedError(
            f"{found.path}: a factor or shift must be one number for a channel, not one for each pixel"
        )
    return each[0][:, 0], each[1][:, 0]


def _run(node: fx.Node, found: Operation, traced: Traced, image: Tensor) -> Tensor:
    source = found.inputs[0]

    def given(argument: fx.Node) -> Any:
        return image.clone() if argument is source else traced.constant(argument)

    args: Any = fx.node.map_arg(node.args, given)
    kwargs: Any = fx.node.map_arg(node.kwargs, given)
    with torch.no_grad():
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator,no-any-return]
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)  # type: ignore[no-any-return]


def _of_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        factor = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.affine:
            factor = factor * norm.weight.double()
        shift = -norm.running_mean.double() * factor
        return factor, shift + norm.bias.double() if norm.affine else shift


def before(linear: nn.Conv2d | nn.Linear, factor: Tensor, shift: Tensor) -> nn.Conv2d | nn.Linear:
    """A layer that computes of ``x`` what ``linear`` does of ``factor x + shift``; its padding must be none, or the shift."""
    made = deepcopy(linear)
    weight = linear.weight.detach()
    spread = [value.reshape(-1, *[1] * (weight.dim() - 2)) for value in (factor, shift)]
    groups = linear.groups if isinstance(linear, nn.Conv2d) else 1
    with torch.no_grad():
        each = [value.reshape(groups, -1, *value.shape[1:]) for value in spread]
        rows = weight.double().reshape(groups, -1, *weight.shape[1:])
        made.weight.copy_((rows * each[0][:, None]).reshape(weight.shape))
        added = (rows * each[1][:, None]).reshape(len(weight), -1).sum(dim=1)
        _add_bias(made, added)
    return made


def constants(first: nn.Conv2d, value: float) -> nn.Conv2d:
    """A layer whose one channel is ``value`` wherever there is a pixel, for images that ``first`` reads; never trained.

    The padding of a layer that reads it is zero, so that it tells where images end.
    """
    made = nn.Conv2d(first.in_channels, 1, 1).to(first.weight)
    with torch.no_grad():
        made.weight.zero_()
        made.bias.fill_(value)  # type: ignore[union-attr]
    return made.requires_grad_(False)


def of_constants(conv: nn.Conv2d, shift: Tensor) -> nn.Conv2d:
    """What ``conv`` computes of images that are ``shift`` ``[C]`` in each channel, of a map of ones."""
    form: dict[str, Any] = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")}
    made = nn.Conv2d(1, conv.out_channels, bias=False, **form).to(conv.weight)
    rows = conv.weight.detach().double().reshape(conv.groups, -1, *conv.weight.shape[1:])
    each = shift.reshape(conv.groups, 1, -1, 1, 1)
    with torch.no_grad():
        made.weight.copy_((rows * each).sum(dim=2).reshape(made.weight.shape))
    return made


def after(module: nn.Module, factor: Tensor, shift: Tensor) -> nn.Module:
    """A layer or batch norm whose outputs are those of ``module`` times ``factor``, plus ``shift``."""
    made: Any = deepcopy(module)
    with torch.no_grad():
        if isinstance(made, nn.BatchNorm1d | nn.BatchNorm2d) and not made.affine:
            assert made.running_mean is not None
            made.affine = True
            made.weight = nn.Parameter(torch.ones_like(made.running_mean))
            made.bias = nn.Parameter(torch.zeros_like(made.running_mean))
        made.weight.mul_(factor.reshape(-1, *[1] * (made.weight.dim() - 1)).to(made.weight))
        if made.bias is not None:
            made.bias.mul_(factor.to(made.bias))
        _add_bias(made, shift)
    return made  # type: ignore[no-any-return]


def _add_bias(module: Any, added: Tensor) -> None:
    if module.bias is not None:
        module.bias.add_(added.to(module.bias))
    elif bool(added.any()):
        module.bias = nn.Parameter(added.to(module.weight))


def as_map(module: nn.Module) -> nn.Module:
    """A layer of sequences ``[n, c, length]`` as one of images of one row, or a linear layer as one of single pixels."""
    if isinstance(module, nn.Linear):
        made = nn.Conv2d(module.in_features, module.out_features, 1, bias=module.bias is not None)
        made.weight = nn.Parameter(module.weight.detach()[:, :, None, None].clone())
        made.bias = module.bias
    elif isinstance(module, nn.Conv1d):
        pad: Any = module.padding if isinstance(module.padding, str) else (0, module.padding[0])
        made = nn.Conv2d(
            module.in_channels,
            module.out_channels,
            (1, module.kernel_size[0]),
            (1, module.stride[0]),
            pad,
            (1, module.dilation[0]),
            module.groups,
            module.bias is not None,
        )
        made.weight = nn.Parameter(module.weight.detach()[:, :, None].clone())
        made.bias = module.bias
    elif isinstance(module, nn.BatchNorm1d):
        norm = nn.BatchNorm2d(module.num_features, module.eps, module.momentum, module.affine)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(norm, name, getattr(module, name))
        norm.training = module.training
        return norm
    else:
        return module
    made.weight.requires_grad_(module.weight.requires_grad)
    made.training = module.training
    return made


def numbered(linear: nn.Conv2d) -> tuple[nn.Conv2d, tuple[int, int, int, int]]:
    """A convolution whose padding is given in numbers, and the zeros around its input besides: left, right, above, below."""
    if not isinstance(linear.padding, str):
        return linear, (0, 0, 0, 0)
    reach = [0, 0]
    if linear.padding == "same":
        reach = [d * (k - 1) for d, k in zip(linear.dilation, linear.kernel_size, strict=True)]
    made = copy(linear)  # its parameters are the same
    even = all(span % 2 == 0 for span in reach)
    made.padding = (reach[0] // 2, reach[1] // 2) if even else (0, 0)
    if even:
        return made, (0, 0, 0, 0)
    (top, left) = (span // 2 for span in reach)
    return made, (left, reach[1] - left, top, reach[0] - top)
