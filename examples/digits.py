"""The Python API on handwritten digits: prepare, train in stages, convert, run, price. About five seconds.

python examples/digits.py
"""

import torch
from torch.nn import functional

import firstspike as fs
from firstspike.data import load
from firstspike.data.batches import Batches

torch.set_num_threads(1)  # so small a network waits for a second thread more than it gains
torch.manual_seed(0)
train, test = load("digits", split="train"), load("digits", split="test")

net = fs.models.vgg(fs.models.SMALL, classes=10, in_channels=1, image_size=8, hidden=(64,))
cat = fs.prepare(net, code=fs.Code(T=24, tau=4, mantissa_bits=5), weights=fs.LogWeights(bits=5, levels_per_octave=2))

optimiser = torch.optim.SGD(cat.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
batches = Batches(train, batch_size=32, seed=0, drop_last=True)
for epoch, (stage, rate) in enumerate(
    [("clip", 0.05)] * 4 + [("ttfs", 0.02)] * 2 + [("quantised", 0.01)] * 2 + [("quantised", 0.002)]
):
    if cat.stage != stage:
        cat.stage = stage
    cat.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    batches.set_epoch(epoch)
    for images, labels in batches:
        loss = functional.cross_entropy(cat(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"epoch {epoch + 1} {stage}: loss {loss.item():.3f}")

x = test.pixels()
snn = fs.convert(cat, example=x)  # integers only; refuses if a single spike differs
logits = snn(x)  # int64, exact
run = snn.trace(x)
cost = fs.Processor().run(snn, x)

print(f"accuracy {100 * (logits.argmax(axis=1) == test.labels).mean():.2f} %")
print(
    f"{run.spikes_per_neuron:.3f} spikes per neuron, {run.sops_per_image:,.0f} SOPs per image, {run.latency_steps} steps"
)
print(f"{cost.cycles_per_image:,.0f} cycles and {cost.energy_uj:.2f} uJ per image")
