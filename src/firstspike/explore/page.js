"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const tip = document.getElementById("tip");
const axes = data.axes;
function scaled(axis, value) { return axis.log ? Math.log10(value) : value; }
const ranges = axes.map((axis, i) => {
  if (axis.names) return [0, Math.max(1, axis.names.length - 1)];
  const values = [...data.rows, ...data.marks].map((row) => row.v[i]).filter((value) => value !== null).map((value) => scaled(axis, value));
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  return low < high ? [low, high] : [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
});
const brushes = new Map();

function make(tag, attributes, parent, text) {
  const node = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}
function show(axis, value) {
  if (axis.names) return axis.names[value];
  const shown = Math.abs(value) >= 1e5 ? value.toPrecision(3) : String(+value.toPrecision(4));
  return axis.unit ? `${shown} ${axis.unit}` : shown;
}
function where(i, value) { return (scaled(axes[i], value) - ranges[i][0]) / (ranges[i][1] - ranges[i][0]); }
function ticks(i) {
  const [low, high] = ranges[i];
  if (!axes[i].log) return [0, 1, 2, 3, 4].map((k) => low + k / 4 * (high - low));
  const found = [];
  for (let decade = Math.floor(low); decade <= high; decade++)
    for (const digit of high - low > 2 ? [1] : high - low > 0.7 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8]) {
      const value = digit * 10 ** decade;
      if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
    }
  return found;
}
function passes(row) {
  for (const [i, [low, high]] of brushes) { const at = where(i, row.v[i]); if (at < low || at > high) return false; }
  return true;
}
function hover(event, row) {
  tip.replaceChildren();
  const head = document.createElement("b");
  head.textContent = row.name || `design ${row.t}${row.f ? ", on the front" : ""}${row.late ? ", its memories miss its clock" : ""}`;
  tip.appendChild(head);
  const entry = (label, value) => {
    const line = document.createElement("div");
    const name = document.createElement("span");
    name.textContent = label;
    line.append(name, value);
    tip.appendChild(line);
  };
  axes.forEach((axis, i) => {
    if (row.v[i] === null) return;
    const bounds = (row.e || {})[i];
    entry(axis.label, show(axis, row.v[i]) + (bounds ? ` (${+bounds[0].toPrecision(3)} to ${+bounds[1].toPrecision(3)})` : ""));
  });
  for (const [dram, energy] of Object.entries(row.d || {})) entry(`energy, ${dram}`, `${+energy.toPrecision(4)} µJ`);
  const total = (row.c || []).reduce((a, b) => a + b, 0);
  const parts = (row.c || []).map((part, k) => [data.components[k], part]).filter(([, part]) => part > 0.005 * total);
  if (parts.length) {
    const title = document.createElement("b");
    title.textContent = "energy by component, µJ";
    tip.appendChild(title);
    for (const [name, part] of parts.sort((a, b) => b[1] - a[1])) entry(name, String(+part.toPrecision(3)));
  }
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const top = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8);
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}
function leave() { tip.hidden = true; }
function hoverable(node, row) {
  node.addEventListener("pointermove", (event) => hover(event, row));
  node.addEventListener("pointerleave", leave);
}
const ordered = [...data.rows].sort((a, b) => a.f - b.f || b.t - a.t);

function scatter(figure, x, y) {
  const W = 440, H = 300, L = 62, B = 44, T = 12, R = 14;
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart fill", role: "img" }, figure);
  const px = (row) => L + where(x, row.v[x]) * (W - L - R), py = (row) => H - B - where(y, row.v[y]) * (H - B - T);
  for (const tick of ticks(y)) {
    const gy = py({ v: { [y]: tick } });
    make("line", { x1: L, x2: W - R, y1: gy, y2: gy, class: "grid" }, svg);
    make("text", { x: L - 8, y: gy + 4, "text-anchor": "end", class: "axis" }, svg, String(+tick.toPrecision(3)));
  }
  for (const tick of ticks(x)) {
    const gx = px({ v: { [x]: tick } });
    make("text", { x: gx, y: H - B + 17, "text-anchor": gx > W - R - 12 ? "end" : "middle", class: "axis" }, svg, String(+tick.toPrecision(3)));
  }
  const name = (i) => axes[i].label + (axes[i].unit ? `, ${axes[i].unit}` : "") + (axes[i].better ? ` (${axes[i].better})` : "");
  make("text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, svg, name(x));
  make("text", { x: 14, y: (H - B + T) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(H - B + T) / 2})` }, svg, name(y));
  const clip = (i, value) => Math.min(1, Math.max(0, value > 0 || !axes[i].log ? where(i, value) : 0));
  for (const row of ordered.filter((one) => one.f && passes(one))) {
    const [across, up] = [(row.e || {})[x], (row.e || {})[y]];
    if (across) make("line", { x1: L + clip(x, across[0]) * (W - L - R), x2: L + clip(x, across[1]) * (W - L - R), y1: py(row), y2: py(row), class: "bar" }, svg);
    if (up) make("line", { x1: px(row), x2: px(row), y1: H - B - clip(y, up[0]) * (H - B - T), y2: H - B - clip(y, up[1]) * (H - B - T), class: "bar" }, svg);
  }
  for (const row of ordered) {
    const kind = (row.f ? "dot front" : "dot") + (row.late ? " late" : "");
    const node = make("circle", { cx: px(row), cy: py(row), r: row.f ? 4.5 : 3, class: passes(row) ? kind : `${kind} off` }, svg);
    hoverable(node, row);
  }
  for (const mark of data.marks) {
    if (mark.v[x] === null || mark.v[y] === null) continue;
    const text = make("text", { x: px(mark), y: py(mark) + 6, "text-anchor": "middle", class: "mark" }, svg, mark.kind === "published" ? "★" : "◆");
    hoverable(text, mark);
  }
}

function parallel(figure) {
  const shown = axes.map((axis, i) => i).filter((i) => axes[i].parallel);
  const W = 960, H = 380, T = 72, B = 26, L = 60, R = 60;
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart fill", role: "img" }, figure);
  const ax = (k) => L + (shown.length > 1 ? k / (shown.length - 1) : 0.5) * (W - L - R);
  const ay = (at) => H - B - at * (H - B - T);
  for (const row of ordered) {
    const points = shown.map((i, k) => `${ax(k).toFixed(1)},${ay(where(i, row.v[i])).toFixed(1)}`).join(" ");
    const kind = row.f ? "line front" : "line";
    hoverable(make("polyline", { points, class: passes(row) ? kind : `${kind} off` }, svg), row);
  }
  shown.forEach((i, k) => {
    const x = ax(k), names = axes[i].names;
    make("line", { x1: x, x2: x, y1: T, y2: H - B, class: "whisker" }, svg);
    const words = axes[i].label.split(" ");
    [words[0], words[1], words.slice(2).join(" "), axes[i].unit].filter(Boolean).forEach((text, line) => {
      make("text", { x, y: 10 + 13 * line, "text-anchor": "middle", class: "small" }, svg, text);
    });
    const ticks = names ? names.map((name, n) => [name, where(i, n)])
      : [0, 1].map((at) => {
        const end = ranges[i][at];
        return [String(+(axes[i].log ? 10 ** end : end).toPrecision(4)), at];
      });
    for (const [text, at] of ticks) {
      const y = ay(at) + (names ? 4 : at ? -4 : 14);
      make("text", { x: x + (names ? 6 : 0), y, "text-anchor": names ? "start" : "middle", class: "axis" }, svg, text);
    }
    if (brushes.has(i)) {
      const [low, high] = brushes.get(i);
      make("rect", { x: x - 7, width: 14, y: ay(high), height: Math.max(2, ay(low) - ay(high)), class: "brush" }, svg);
    }
    const handle = make("rect", { x: x - 9, width: 18, y: T, height: H - B - T, class: "handle" }, svg);
    const place = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return Math.min(1, Math.max(0, (H - B - point.y) / (H - B - T)));
    };
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const from = place(event);
      const end = (last) => {
        const to = place(last);
        if (Math.abs(to - from) < 0.015) brushes.delete(i);
        else brushes.set(i, [Math.min(from, to) - 1e-9, Math.max(from, to) + 1e-9]);
        draw();
      };
      window.addEventListener("pointerup", end, { once: true });
    });
  });
}

function draw() {
  for (const figure of document.querySelectorAll("[data-x]")) {
    figure.replaceChildren();
    scatter(figure, Number(figure.dataset.x), Number(figure.dataset.y));
  }
  const figure = document.getElementById("parallel");
  figure.replaceChildren();
  parallel(figure);
  const chosen = data.rows.filter(passes);
  document.getElementById("chosen").textContent = brushes.size
    ? `${chosen.length} of ${data.rows.length} designs lie in the chosen ranges, ${chosen.filter((row) => row.f).length} on the front.` : "";
  document.body.dataset.drawn = String(document.querySelectorAll("svg .dot").length);
}
for (const id of ["x", "y"]) {
  document.getElementById(`pick-${id}`).addEventListener("change", (event) => {
    document.getElementById("free").dataset[id] = event.target.value;
    draw();
  });
}
draw();
