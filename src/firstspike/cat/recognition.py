"""Which operation a node of a traced network is."""

from collections.abc import Callable

from torch import fx, nn

from firstspike.cat.functions import of_function
from firstspike.cat.modules import of_module
from firstspike.cat.operations import Operation


def operation(node: fx.Node, modules: Callable[[str], nn.Module], training: fx.Node) -> Operation:
    """The operation of a node that is a module, function or method.

    Args:
        node: of the graph traced in evaluation mode.
        modules: gives the module of a path.
        training: the same node of the graph traced in training mode.

    Raises:
        UnsupportedError: it cannot be converted.
    """
    if node.op == "call_module":
        return of_module(node, modules(str(node.target)))
    return of_function(node, training)
