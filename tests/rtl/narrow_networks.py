"""Random integer networks of few channels in whole words and even rows, whose pixels a processor may compute together."""

import numpy as np

from firstspike.rtl.parameters import Parameters
from firstspike.spec import INPUT, Conv2d, Flatten, Layer, Linear, MaxPool2d, Network, Shape

from .random_networks import fitting, random_codes, with_bias, with_parts


def narrow_network(seed: int, parameters: Parameters) -> Network:
    """Convolutions (stride, padding, parts, residuals) and pooling, then a read-out."""
    rng = np.random.default_rng([seed, 2])
    code, weights, processor = parameters.code, parameters.weights, parameters.processor
    several = parameters.largest_shift is not None
    height = int(rng.integers(2, 6)) * (1 if rng.random() < 0.8 else 4)  # so tall that small buffers spill
    shape: Shape = (int(rng.integers(1, 10)), height, int(rng.choice([4, 6, 8])))
    shapes: dict[str, Shape] = {INPUT: shape}
    built: list[Layer] = []
    source = INPUT
    for index in range(int(rng.integers(1, 4))):
        channels, height, width = shapes[source]
        if built and width % 2 == 0 and rng.random() < 0.2:
            layer: Layer = MaxPool2d(
                name=f"pool{index}", source=source, kernel=(1, 2), stride=(1, int(rng.integers(1, 3)))
            )
        else:
            rows = [fit for wanted in {height, (height + 1) // 2} for fit in fitting(height, wanted)]
            columns = [fit for wanted in {width, width - width % 2, width // 2} for fit in fitting(width, wanted)]
            (tall, down, top), (wide, across, left) = (fits[int(rng.integers(len(fits)))] for fits in (rows, columns))
            words = int(rng.integers(1, max(1, processor.pes // processor.lanes // 2) + 1))
            outputs = channels if source != INPUT and rng.random() < 0.5 else processor.lanes * words
            plain = Conv2d(
                name=f"layer{index}",
                source=source,
                codes=random_codes(rng, weights, (outputs, channels, tall, wide)),
                scale=int(rng.integers(-1, 5)),
                bias=np.zeros(outputs, np.int64),
                stride=(down, across),
                padding=(top, left),
            )
            target = plain.output_shape(shapes[source])
            same = [name for name, size in shapes.items() if size == target and not (code.planes and name == INPUT)]
            residuals = tuple(str(r) for r in rng.choice(same, size=int(rng.integers(0, 3)))) if same else ()
            layer = with_bias(rng, code, weights, plain, residuals, planes=code.planes and source == INPUT)
            layer = with_parts(rng, weights, layer, shapes, 4, groups=False) if several else layer
        built.append(layer)
        shapes[layer.name] = layer.output_shape(shapes[layer.source])
        source = layer.name
    codes = random_codes(rng, weights, (int(rng.integers(1, 20)), int(np.prod(shapes[source]))))
    bias = rng.integers(-999, 999, len(codes))
    built.append(Flatten(name="flatten", source=source))
    built.append(Linear(name="readout", source="flatten", codes=codes, scale=0, bias=bias, fires=False))
    return Network(
        code=code,
        weights=weights,
        input_shape=shape,
        layers=tuple(built),
        accumulator_bits=processor.accumulator_bits,
    )
