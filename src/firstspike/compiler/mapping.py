"""How a network is laid out on the processor: the list of operations that runs a batch of images."""

from dataclasses import replace

from firstspike.arith import NO_SPIKE, PLANES
from firstspike.compiler import residence
from firstspike.compiler.banks import awake
from firstspike.compiler.channels import resolve
from firstspike.compiler.stages import LOGITS, operations, region, stages
from firstspike.compiler.storage import origins
from firstspike.spec.network import INPUT, Network
from firstspike.spec.processor import ProcessorSpec
from firstspike.spec.program import Load, Operation, Program, Store


def program(network: Network, processor: ProcessorSpec) -> Program:
    """The operations that run a batch of ``processor.images`` images of a network.

    Raises:
        ValueError: the network does not fit; the text names the memory, the bytes it has and the bytes needed, or the layer
            whose membranes can outgrow the processor's accumulators.
    """
    if network.accumulator_bits > processor.accumulator_bits:
        try:
            network = replace(network, accumulator_bits=processor.accumulator_bits)
        except ValueError as error:
            raise ValueError(
                f"the processor's accumulators: {error}; take a design of more accumulator_bits"
            ) from error
    network = resolve(network)
    if network.code.planes and (PLANES - 1) * network.code.tau >= NO_SPIKE:
        raise ValueError(
            f"the processor keeps plane j of a pixel as the time j * tau, which must be below 255: tau must be at most 32, "
            f"not {network.code.tau!r}"
        )
    batch, last, names = processor.images, network.layers[-1].name, origins(network)
    work: list[Operation] = []
    regions: dict[str, int] = {}
    top = 0
    for stage in stages(network, processor):
        maps = stage.layout.maps
        for name, m in maps.items():
            if names[name] == name and (m.region is not None or name == INPUT or name in stage.exits):
                regions[region(name)] = batch * m.image
            top = max(top, 0 if m.region is not None else m.address + m.size)
        once = operations(network, stage, processor)
        if processor.switched:
            once = awake(network, processor, stage, once)
        if last in maps:
            regions[LOGITS] = batch * maps[last].image
        for image in range(0, batch, stage.images):
            work += [_from_image(operation, image, batch, regions) for operation in once]
    if processor.resident_weights:
        work = residence.resident(work)
        work = residence.awake(work) if processor.switched else work
    return Program(operations=tuple(work), images=batch, regions=regions, activation_words=top)


def _from_image(operation: Operation, image: int, batch: int, regions: dict[str, int]) -> Operation:
    """An operation of the batch's first images, for those from ``image`` on."""
    if image == 0:
        return operation
    if isinstance(operation, Load | Store):
        offset = operation.offset + image * (regions[operation.region] // batch)
        return replace(operation, image=operation.image + image, offset=offset)
    return replace(operation, image=operation.image + image)
