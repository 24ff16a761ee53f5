// The page around the engine: what is drawn becomes an image, the image runs, and its time steps are shown one after another.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("network").textContent);
  const engine = new Engine(data);
  const find = (id) => document.getElementById(id);
  const [channels, height, width] = data.input;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const PAD = 320, SECONDS = 4;
  const firing = [{ name: "input", shape: data.input, window: 0 }, ...data.layers.filter((layer) => layer.fires)];
  const readout = data.layers[data.layers.length - 1];
  const pad = find("pad"), ink = pad.getContext("2d", { willReadFrequently: true });
  let pixels = new Uint8Array(channels * height * width), result = null, step = 0, timer = 0, drawing = false, last = null;
  let counts = new Float64Array(data.latency_steps + 1);

  // ---- an image ----

  function shrink(source, from) { // the mean of each pixel's part of a square of the source, as 8-bit channels
    const small = new OffscreenCanvas(width * 8, height * 8), context = small.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#000";
    context.fillRect(0, 0, small.width, small.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, ...from, 0, 0, small.width, small.height);
    const rgba = context.getImageData(0, 0, small.width, small.height).data, made = new Uint8Array(channels * height * width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const sum = [0, 0, 0];
        for (let v = 0; v < 8; v++) {
          for (let u = 0; u < 8; u++) {
            const at = 4 * ((y * 8 + v) * small.width + x * 8 + u);
            for (let c = 0; c < 3; c++) sum[c] += rgba[at + c];
          }
        }
        if (channels === 1) made[y * width + x] = Math.round((0.299 * sum[0] + 0.587 * sum[1] + 0.114 * sum[2]) / 64);
        else for (let c = 0; c < 3; c++) made[(c * height + y) * width + x] = Math.round(sum[c] / 64);
      }
    }
    return made;
  }

  function frame() { // the square that holds what is drawn, or the whole pad
    const whole = [0, 0, PAD, PAD];
    if (!find("fit").checked) return whole;
    const rgba = ink.getImageData(0, 0, PAD, PAD).data;
    let [left, top, right, bottom] = [PAD, PAD, -1, -1];
    for (let y = 0; y < PAD; y++) {
      for (let x = 0; x < PAD; x++) {
        if (rgba[4 * (y * PAD + x)] < 40) continue;
        left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
      }
    }
    if (right < 0) return whole;
    const size = Math.max(right - left + 1, bottom - top + 1, PAD / 4);
    return [(left + right + 1 - size) / 2, (top + bottom + 1 - size) / 2, size, size];
  }

  function fromPad() {
    const [x, y, w, h] = frame(), copy = new OffscreenCanvas(PAD, PAD), context = copy.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, PAD, PAD);
    context.drawImage(pad, -x * PAD / w, -y * PAD / h, PAD * PAD / w, PAD * PAD / h);
    pixels = shrink(copy, [0, 0, PAD, PAD]);
  }

  function picture(values, canvas) {
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height), area = width * height;
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = values[(channels === 1 ? 0 : c) * area + p];
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  function show(values) { // an image that was not drawn
    pixels = values;
    find("hint").hidden = true;
    ink.imageSmoothingEnabled = false;
    ink.drawImage(picture(values, document.createElement("canvas")), 0, 0, PAD, PAD);
    begin();
  }

  function wipe() {
    ink.fillStyle = "#000"; // silence
    ink.fillRect(0, 0, PAD, PAD);
    find("hint").hidden = false;
  }

  async function take(file) {
    if (!file) return;
    const bitmap = await createImageBitmap(file), size = Math.min(bitmap.width, bitmap.height);
    show(shrink(bitmap, [(bitmap.width - size) / 2, (bitmap.height - size) / 2, size, size]));
  }

  // ---- a run ----

  function run() {
    result = engine.run(Uint8Array.from(pixels, (pixel) => data.stored[pixel]));
    result.input = engine.neurons(result.times.input);
    counts = new Float64Array(data.latency_steps + 1);
    for (const layer of firing) {
      for (const time of layer.name === "input" ? result.input : result.times[layer.name]) {
        if (time < data.T) counts[layer.window * data.T + time]++;
      }
    }
    result.cost = data.cost && engine.cost(result.times, find("dram").value);
  }

  function begin() {
    run();
    if (calm) return go(data.latency_steps);
    go(0);
    play(true);
  }

  function play(on) {
    cancelAnimationFrame(timer);
    find("play").textContent = on ? "Pause" : "Play";
    timer = 0;
    if (!on) return;
    if (step >= data.latency_steps) go(0);
    const start = performance.now(), from = step, rate = data.latency_steps / SECONDS / 1000;
    const tick = (now) => {
      go(Math.min(data.latency_steps, from + (now - start) * rate));
      if (step < data.latency_steps) timer = requestAnimationFrame(tick);
      else play(false);
    };
    timer = requestAnimationFrame(tick);
  }

  // ---- what is seen ----

  const COLOURS = Array.from({ length: data.T }, (_, time) => {
    const share = data.T > 1 ? time / (data.T - 1) : 0, mix = (a, b) => Math.round(a + (b - a) * share);
    return [mix(143, 39), mix(196, 80), mix(255, 127)];
  });
  const cards = firing.map((layer) => {
    const card = document.createElement("div"), head = document.createElement("h3"), canvas = document.createElement("canvas");
    const name = document.createElement("b"), fired = document.createElement("span");
    name.textContent = layer.name;
    head.append(name, fired);
    card.className = "layer";
    card.append(head, canvas);
    find("layers").append(card);
    const planes = layer.name === "input" && data.plane_values ? 8 : 1;
    let [maps, rows, columns] = [...layer.shape, 1, 1];
    maps *= planes;
    let across = Math.ceil(Math.sqrt(maps * rows / columns));
    if (rows * columns === 1) across = Math.ceil(Math.sqrt(maps));
    const gap = rows * columns === 1 ? 0 : 1, down = Math.ceil(maps / across);
    canvas.width = across * (columns + gap) - gap;
    canvas.height = down * (rows + gap) - gap;
    const place = new Int32Array(maps * rows * columns);
    for (let i = 0; i < place.length; i++) {
      const map = Math.floor(i / (rows * columns)), y = Math.floor(i / columns) % rows, x = i % columns;
      place[i] = 4 * ((Math.floor(map / across) * (rows + gap) + y) * canvas.width + (map % across) * (columns + gap) + x);
    }
    return { layer, card, fired, place, context: canvas.getContext("2d"), seen: null };
  });
  const bars = Array.from({ length: readout.shape.reduce((a, b) => a * b, 1) }, (_, index) => {
    const row = document.createElement("div"), name = document.createElement("span"), rail = document.createElement("div");
    const zero = document.createElement("u"), bar = document.createElement("i"), value = document.createElement("span");
    name.textContent = data.classes[index] ?? index;
    row.className = "logit";
    rail.className = "rail";
    rail.append(zero, bar);
    row.append(name, rail, value);
    return { row, bar, zero, value };
  });

  function drawLayer({ layer, card, fired, place, context, seen }, index) {
    const local = Math.floor(step) - layer.window * data.T, state = Math.max(-1, Math.min(local, data.T));
    card.classList.toggle("waiting", local < 0);
    card.classList.toggle("now", local >= 0 && local < data.T);
    if (seen === state) return;
    cards[index].seen = state;
    const times = layer.name === "input" ? result.input : result.times[layer.name];
    const image = context.createImageData(context.canvas.width, context.canvas.height);
    let count = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i], spiked = time < data.T && time <= state, at = place[i];
      const [r, g, b] = !spiked ? [22, 32, 45] : time === state ? [255, 176, 0] : COLOURS[time];
      count += spiked;
      image.data[at] = r; image.data[at + 1] = g; image.data[at + 2] = b; image.data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    fired.textContent = `${count.toLocaleString("en")} of ${times.length.toLocaleString("en")}`;
  }

  function logitsNow() { // membranes of the read-out from the spikes that were there by now
    if (step >= data.latency_steps) return result.logits;
    const times = {};
    for (const name of readout.inputs) {
      const limit = Math.floor(step) - engine.windows[name] * data.T;
      const planes = data.plane_values && result.times[name] === result.times.input;
      times[name] = result.times[name].map((time) => ((planes ? limit >= 0 : time <= limit) ? time : SILENT));
    }
    return Array.from(engine.membranes(readout, times));
  }

  function drawLogits() {
    const scale = 2 ** -data.exponent, final = result.logits.map((logit) => logit * scale);
    const now = logitsNow().map((logit) => logit * scale), started = step >= data.latency_steps - data.T;
    const low = Math.min(0, ...final, ...now), high = Math.max(0, ...final, ...now), span = high - low || 1;
    const shown = bars.map((_, i) => i).sort((a, b) => final[b] - final[a]).slice(0, 10).sort((a, b) => a - b);
    const best = now.indexOf(Math.max(...now));
    find("logits").replaceChildren(...shown.map((i) => bars[i].row));
    for (const i of shown) {
      const { row, bar, zero, value } = bars[i], percent = (x) => `${(100 * (x - low)) / span}%`;
      zero.style.left = percent(0);
      bar.style.left = percent(Math.min(0, now[i]));
      bar.style.width = `${(100 * Math.abs(now[i])) / span}%`;
      value.textContent = now[i].toFixed(2);
      row.classList.toggle("best", started && i === best);
    }
  }

  function drawLine() {
    const canvas = find("line"), ratio = devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
    const w = (canvas.width = canvas.clientWidth * ratio), h = (canvas.height = canvas.clientHeight * ratio);
    const context = canvas.getContext("2d"), inset = 8 * ratio, one = (w - 2 * inset) / data.latency_steps;
    const most = Math.max(1, ...counts), now = Math.floor(step);
    context.fillStyle = style.getPropertyValue("--line");
    for (let at = 0; at <= data.latency_steps; at += data.T) context.fillRect(inset + at * one - ratio / 2, 0, ratio, h);
    for (let at = 0; at < data.latency_steps; at++) {
      const tall = Math.sqrt(counts[at] / most) * (h - 4 * ratio);
      context.fillStyle = at === now ? "#ffb000" : style.getPropertyValue(at < step ? "--g0" : "--rest");
      context.fillRect(inset + at * one, h - tall, Math.max(one - ratio / 2, 0.6), tall);
    }
  }

  const count = (value) => value < 1e4 ? Math.round(value).toLocaleString("en")
    : value < 1e6 ? `${(value / 1e3).toPrecision(3)} k` : `${(value / 1e6).toPrecision(3)} M`;
  const energy = (uj) => uj >= 1e3 ? `${(uj / 1e3).toPrecision(3)} mJ` : uj >= 1 ? `${uj.toPrecision(3)} µJ` : `${(uj * 1e3).toPrecision(3)} nJ`;

  function drawCost() {
    if (!result.cost) return;
    const whole = [0, 1, 2].map((end) => result.cost.energy.reduce((sum, layer) => sum + layer[end], 0));
    find("energy").textContent = energy(whole[1]);
    find("spread").textContent = `${energy(whole[0])} to ${energy(whole[2])} an image,`;
    find("cycles").textContent = count(result.cost.cycles);
    const us = result.cost.cycles / data.cost.clock_mhz;
    find("duration").textContent = `cycles: ${us < 1e3 ? `${us.toPrecision(3)} µs` : `${(us / 1e3).toPrecision(3)} ms`} at ${data.cost.clock_mhz} MHz`;
  }

  function go(to) {
    step = to;
    const now = Math.floor(step), sum = (values) => values.slice(0, now + 1).reduce((a, b) => a + b, 0);
    find("step").value = now;
    find("spikes").textContent = count(sum(counts));
    find("sops").textContent = count(sum(result.steps));
    const layer = firing.filter((one) => Math.floor(now / data.T) === one.window).map((one) => one.name).join(", ");
    find("now").textContent = `step ${now} of ${data.latency_steps}` + (layer ? `: ${layer} fires` : ": the logits are there");
    cards.forEach(drawLayer);
    drawLogits();
    drawLine();
    drawCost();
  }

  function renew() {
    for (const card of cards) card.seen = null;
  }

  // ---- what the visitor does ----

  function stroke(event) {
    const box = pad.getBoundingClientRect();
    const at = [(event.clientX - box.left) * PAD / box.width, (event.clientY - box.top) * PAD / box.height];
    ink.strokeStyle = "#fff";
    ink.lineWidth = PAD / 8;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    ink.moveTo(...(last ?? at));
    ink.lineTo(...at);
    ink.stroke();
    last = at;
  }

  let shown = false; // whether the pad holds an image that was not drawn
  pad.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    if (shown) wipe();
    shown = false;
    find("hint").hidden = true;
    drawing = true;
    last = null;
    stroke(event);
  });
  pad.addEventListener("pointermove", (event) => drawing && stroke(event));
  const end = () => {
    if (!drawing) return;
    drawing = false;
    fromPad();
    renew();
    begin();
  };
  pad.addEventListener("pointerup", end);
  pad.addEventListener("pointercancel", end);
  const other = (values) => {
    renew();
    shown = true;
    show(values);
  };
  find("clear").addEventListener("click", () => {
    play(false);
    wipe();
    shown = false;
    pixels.fill(0);
    renew();
    run();
    go(data.latency_steps);
  });
  find("file").addEventListener("change", async (event) => {
    renew();
    shown = true;
    await take(event.target.files[0]);
  });
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      if (kind === "drop") {
        renew();
        shown = true;
        take(event.dataTransfer.files[0]);
      }
    });
  }
  find("fit").addEventListener("change", () => {
    if (shown || !find("hint").hidden) return;
    fromPad();
    renew();
    begin();
  });
  find("play").addEventListener("click", () => play(!timer));
  find("step").addEventListener("input", (event) => {
    play(false);
    go(Number(event.target.value));
  });
  find("dram")?.addEventListener("change", () => {
    result.cost = engine.cost(result.times, find("dram").value);
    drawCost();
  });
  addEventListener("resize", () => result && drawLine());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => result && drawLine());

  wipe();
  const samples = data.samples.map(bytes);
  for (const [place, sample] of samples.entries()) {
    const button = document.createElement("button");
    button.setAttribute("aria-label", `Sample ${place + 1}`);
    button.append(picture(sample, document.createElement("canvas")));
    button.addEventListener("click", () => other(sample));
    find("samples").append(button);
  }
  if (samples.length) other(samples[0]);
  else {
    run();
    go(data.latency_steps);
  }
})();
