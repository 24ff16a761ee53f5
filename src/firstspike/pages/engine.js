// The integer network in the browser, bit-exact with every other engine (docs/reference/numerics.md).
// A membrane's partial sums stay within its proved bound, bias + all products of one sign, whatever their order. So sums of at
// most 32 bits are exact in 32-bit integers, and wider ones (48 bits at most) in doubles: nothing wraps, nothing is rounded.
"use strict";

const SILENT = 255;

function bytes(text) {
  const letters = atob(text), values = new Uint8Array(letters.length);
  for (let i = 0; i < values.length; i++) values[i] = letters.charCodeAt(i);
  return values;
}

// Codes of `bits` bits each, lowest bit first.
function unpack(stream, bits, count) {
  const codes = new Uint8Array(count), mask = (1 << bits) - 1;
  for (let i = 0, at = 0; i < count; i++, at += bits) {
    const byte = at >> 3;
    codes[i] = ((stream[byte] | (stream[byte + 1] << 8)) >> (at & 7)) & mask; // behind the end: undefined << 8 is 0
  }
  return codes;
}

function popcount(byte) {
  let count = 0;
  for (; byte; byte &= byte - 1) count++;
  return count;
}

class Engine {
  constructor(data) {
    this.data = data;
    this.windows = { input: 0 };
    this.shapes = { input: data.input };
    this.array = data.accumulator_bits <= 32 ? Int32Array : Float64Array;
    for (const layer of data.layers) {
      this.windows[layer.name] = layer.window;
      this.shapes[layer.name] = layer.shape;
      for (const connection of layer.connections ?? []) this.prepare(connection);
    }
  }

  // Codes by input channel and tap, so that the outputs of one spike lie side by side; and all products by stored byte and code.
  prepare(connection) {
    const [outputs, fan, rows, columns] = connection.shape.concat([1, 1]).slice(0, 4);
    const { groups } = connection, each = outputs / groups, taps = rows * columns;
    const codes = unpack(bytes(connection.codes), this.data.weight_bits, outputs * fan * taps);
    const turned = new Uint8Array(codes.length);
    for (let o = 0, from = 0; o < outputs; o++) {
      let to = Math.floor(o / each) * fan * taps * each + (o % each);
      for (let i = 0; i < fan * taps; i++, from++, to += each) turned[to] = codes[from];
    }
    const width = connection.weights.length;
    const products = new this.array(256 * width);
    const values = connection.planes ? this.data.plane_values : this.data.spike_values;
    for (let byte = 0; byte < 256; byte++) {
      for (let code = 0; code < width; code++) products[byte * width + code] = values[byte] * connection.weights[code];
    }
    Object.assign(connection, { turned, products, width, outputs, fan, rows, columns, each });
  }

  // Spike times of every layer by name, the logits, and synaptic operations by layer and by time step.
  run(stored) {
    const times = { input: stored }, sops = {}, steps = new Float64Array(this.data.latency_steps + 1);
    let logits = null;
    for (const layer of this.data.layers) {
      if (layer.kind === "flatten") times[layer.name] = times[layer.inputs[0]];
      else if (layer.kind === "maxpool2d") times[layer.name] = this.pool(layer, times[layer.inputs[0]]);
      else if (layer.kind === "pixelshuffle") times[layer.name] = this.shuffle(layer, times[layer.inputs[0]]);
      else if (layer.kind === "channels") times[layer.name] = this.arrange(layer, times);
      else {
        const membranes = this.membranes(layer, times, (count, source, time) => {
          sops[layer.name] = (sops[layer.name] ?? 0) + count;
          steps[this.windows[source] * this.data.T + time] += count;
        });
        if (layer.fires) times[layer.name] = this.fire(layer, membranes);
        else logits = Array.from(membranes);
      }
    }
    return { times, logits, sops, steps };
  }

  // Membranes at the end of a layer's window, in C order; `seen` is told of products: how many, of which map, at what time.
  membranes(layer, times, seen) {
    const [outputs, height, width] = layer.shape.concat([1, 1]).slice(0, 3), area = height * width;
    const sums = new this.array(outputs * area); // by position, then output
    for (let p = 0; p < area; p++) for (let o = 0; o < outputs; o++) sums[p * outputs + o] = layer.bias[o];
    for (const connection of layer.connections) {
      this.scatter(connection, times[connection.source], sums, outputs, height, width, seen);
    }
    const turned = new this.array(outputs * area);
    for (let p = 0; p < area; p++) for (let o = 0; o < outputs; o++) turned[o * area + p] = sums[p * outputs + o];
    for (const residual of layer.residuals) {
      const spikes = times[residual];
      for (let i = 0; i < turned.length; i++) turned[i] += layer.identity[spikes[i]];
    }
    return turned;
  }

  // Adds the products of every spike of a map to the sums that see it.
  scatter(connection, spikes, sums, outputs, height, width, seen) {
    const { turned, products, fan, rows, columns, each, stride, padding, dilation, planes } = connection;
    const [channels, high, wide] = connection.kind === "linear"
      ? [spikes.length, 1, 1] : this.shapes[connection.source];
    const counted = new Float64Array(256);
    for (let c = 0, at = 0; c < channels; c++) {
      const first = Math.floor(c / fan) * each;
      for (let y = 0; y < high; y++) {
        for (let x = 0; x < wide; x++, at++) {
          const time = spikes[at];
          if (time === SILENT) continue;
          const table = time * connection.width;
          for (let ky = 0; ky < rows; ky++) {
            const down = y + padding[0] - ky * dilation[0], oy = down / stride[0];
            if (down < 0 || down % stride[0] || oy >= height) continue;
            for (let kx = 0; kx < columns; kx++) {
              const across = x + padding[1] - kx * dilation[1], ox = across / stride[1];
              if (across < 0 || across % stride[1] || ox >= width) continue;
              const to = (oy * width + ox) * outputs + first, from = ((c * rows + ky) * columns + kx) * each;
              for (let o = 0; o < each; o++) sums[to + o] += products[table + turned[from + o]];
              counted[time] += each;
            }
          }
        }
      }
    }
    if (!seen) return;
    for (let time = 0; time < 256; time++) {
      if (counted[time]) seen(planes ? counted[time] * popcount(255 - time) : counted[time], connection.source, planes ? 0 : time);
    }
  }

  fire(layer, membranes) {
    const times = new Uint8Array(membranes.length), { theta, shifts } = layer, area = membranes.length / layer.shape[0];
    for (let i = 0; i < membranes.length; i++) {
      const membrane = shifts.length ? Math.floor(membranes[i] / 2 ** shifts[Math.floor(i / area)]) : membranes[i];
      let low = 0, high = theta.length; // the first threshold that is reached; they fall
      while (low < high) {
        const middle = (low + high) >> 1;
        if (membrane >= theta[middle]) high = middle;
        else low = middle + 1;
      }
      times[i] = low === theta.length ? SILENT : low;
    }
    return times;
  }

  pool(layer, spikes) {
    const [channels, high, wide] = this.shapes[layer.inputs[0]], [, height, width] = layer.shape;
    const first = new Uint8Array(channels * height * width);
    for (let c = 0, at = 0; c < channels; c++) {
      for (let oy = 0; oy < height; oy++) {
        for (let ox = 0; ox < width; ox++, at++) {
          let earliest = SILENT;
          for (let ky = 0; ky < layer.kernel[0]; ky++) {
            const y = oy * layer.stride[0] + ky - layer.padding[0];
            if (y < 0 || y >= high) continue;
            for (let kx = 0; kx < layer.kernel[1]; kx++) {
              const x = ox * layer.stride[1] + kx - layer.padding[1];
              if (x >= 0 && x < wide) earliest = Math.min(earliest, spikes[(c * high + y) * wide + x]);
            }
          }
          first[at] = earliest;
        }
      }
    }
    return first;
  }

  arrange(layer, times) {
    const area = layer.shape.slice(1).reduce((a, b) => a * b, 1);
    const joined = layer.inputs.flatMap((name) => {
      const map = times[name];
      return Array.from({ length: map.length / area }, (_, c) => map.subarray(c * area, (c + 1) * area));
    });
    const result = new Uint8Array(layer.channels.length * area).fill(SILENT);
    layer.channels.forEach((channel, c) => channel >= 0 && result.set(joined[channel], c * area));
    return result;
  }

  // Channels become pixels: output (c, r y + i, s x + j) is input (c r s + i s + j, y, x).
  shuffle(layer, spikes) {
    const [r, s] = layer.factor, [channels, high, wide] = this.shapes[layer.inputs[0]], result = new Uint8Array(spikes.length);
    for (let c = 0, at = 0; c < channels; c++) {
      const to = Math.floor(c / (r * s)), i = Math.floor(c / s) % r, j = c % s;
      for (let y = 0; y < high; y++) {
        for (let x = 0; x < wide; x++, at++) result[((to * high + y) * r + i) * wide * s + x * s + j] = spikes[at];
      }
    }
    return result;
  }

  // Spike times of every neuron of the stored input: of planes, channel 8 c + j is plane j of channel c.
  neurons(stored) {
    if (!this.data.plane_values) return stored;
    const area = this.data.input.slice(1).reduce((a, b) => a * b, 1), result = new Uint8Array(8 * stored.length);
    for (let i = 0; i < stored.length; i++) {
      const c = Math.floor(i / area), p = i % area;
      for (let j = 0; j < 8; j++) result[(8 * c + j) * area + p] = (stored[i] >> (7 - j)) & 1 ? SILENT : 0;
    }
    return result;
  }

  // Cycles and energy of the run's image on the processor: [low, value, high] in µJ by layer, in a DRAM scenario.
  cost(times, dram) {
    const cost = this.data.cost, walks = cost.offsets.slice(), met = cost.offsets.map(() => 0);
    for (const [name, source] of Object.entries(cost.sources)) {
      this.walk(source, name === "input" ? this.neurons(times.input) : times[name], walks, met);
    }
    const events = cost.static.map((row) => row.slice());
    for (const [event, layer, walk, which, factor] of cost.dynamic) events[event][layer] += factor * (which ? walks : met)[walk];
    const nonzero = cost.events.indexOf("nonzero_adds");
    for (const [name, layer, leaving] of cost.synapses) {
      const spikes = name === "input" ? this.neurons(times.input) : times[name];
      for (let i = 0; i < leaving.length; i++) if (spikes[i] !== SILENT) events[nonzero][layer] += leaving[i];
    }
    const cycles = cost.layers.map(() => 0), working = cost.layers.map(() => 0);
    const resting = ["activation", "membrane", "weight"].map((name) => cost.events.indexOf(`${name}_off_cycles`));
    for (const [number, [layer, walk, base, fetch, transfer]] of cost.operations.entries()) {
      const execute = base + (walk < 0 ? 0 : walks[walk]);
      const slot = (transfer ? execute + fetch : Math.max(execute, fetch)) + cost.take;
      cycles[layer] += slot;
      working[layer] += execute + cost.take;
      // What is off of memories that are switched off.
      cost.off[number]?.forEach(([factor, more], memory) => (events[resting[memory]][layer] += factor * slot + more));
    }
    const waits = cycles.map((total, layer) => total - working[layer]);
    cycles[0] += cost.first + cost.take;
    waits[0] += cost.first;
    events[cost.events.indexOf("cycles")] = cycles;
    events[cost.events.indexOf("wait_cycles")] = waits;
    const energy = cost.prices[dram].map((price, layer) => price.constant.map((constant, end) =>
      cost.events.reduce((sum, name, event) => sum + (price.events[name]?.[end] ?? 0) * events[event][layer], constant)));
    return { cycles: cycles.reduce((a, b) => a + b), energy, layers: cost.layers };
  }

  // What the walks over one map meet: a word of channels costs a cycle per spike, and one if it holds none.
  walk({ words, lanes, seen, parts }, spikes, walks, met) {
    const area = seen[0].length, counts = new Uint16Array(words * area);
    for (let i = 0; i < spikes.length; i++) {
      if (spikes[i] !== SILENT) counts[Math.floor(Math.floor(i / area) / lanes) * area + (i % area)]++;
    }
    for (const [number, coverage, first, last] of parts) {
      let spiked = 0, empty = 0;
      for (let word = first; word < last; word++) {
        for (let p = 0; p < area; p++) {
          const count = counts[word * area + p];
          if (count) spiked += count * seen[coverage][p];
          else empty += seen[coverage][p];
        }
      }
      met[number] = spiked;
      walks[number] += spiked + empty;
    }
  }
}
