"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const tip = document.getElementById("tip");
const axes = data.axes;
const ranges = axes.map((axis, i) => {
  if (axis.names) return [0, Math.max(1, axis.names.length - 1)];
  const values = data.rows.map((row) => row.v[i]);
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
function where(i, value) { return (value - ranges[i][0]) / (ranges[i][1] - ranges[i][0]); }
function passes(row) {
  for (const [i, [low, high]] of brushes) { const at = where(i, row.v[i]); if (at < low || at > high) return false; }
  return true;
}
function hover(event, row) {
  tip.replaceChildren();
  const head = document.createElement("b");
  head.textContent = `design ${row.t}${row.f ? ", on the front" : ""}`;
  tip.appendChild(head);
  axes.forEach((axis, i) => {
    const line = document.createElement("div");
    const name = document.createElement("span");
    name.textContent = axis.label;
    line.append(name, show(axis, row.v[i]));
    tip.appendChild(line);
  });
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
  for (let k = 0; k <= 4; k++) {
    const gy = H - B - k / 4 * (H - B - T), gx = L + k / 4 * (W - L - R);
    const tick = (i) => String(+(ranges[i][0] + k / 4 * (ranges[i][1] - ranges[i][0])).toPrecision(3));
    make("line", { x1: L, x2: W - R, y1: gy, y2: gy, class: "grid" }, svg);
    make("text", { x: L - 8, y: gy + 4, "text-anchor": "end", class: "axis" }, svg, tick(y));
    make("text", { x: gx, y: H - B + 17, "text-anchor": k === 4 ? "end" : "middle", class: "axis" }, svg, tick(x));
  }
  const name = (i) => axes[i].label + (axes[i].unit ? `, ${axes[i].unit}` : "") + (axes[i].better ? ` (${axes[i].better})` : "");
  make("text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, svg, name(x));
  make("text", { x: 14, y: (H - B + T) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(H - B + T) / 2})` }, svg, name(y));
  for (const row of ordered) {
    const kind = row.f ? "dot front" : "dot";
    const node = make("circle", { cx: px(row), cy: py(row), r: row.f ? 4.5 : 3, class: passes(row) ? kind : `${kind} off` }, svg);
    hoverable(node, row);
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
      : [0, 1].map((at) => [String(+(ranges[i][0] + at * (ranges[i][1] - ranges[i][0])).toPrecision(4)), at]);
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
