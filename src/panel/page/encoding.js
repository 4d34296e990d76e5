// Live encoding models: how well each feature set predicts held-out spikes, unit by unit, with its uncertainty.

import { get } from "/link.js";

const EVERY_MILLIS = 2000;
const FAMILIES = { kinematic: "--real", dynamic: "--warn", network: "--virtual" };

const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const known = (value) => value !== null && Number.isFinite(value);
const signed = (value) => (known(value) ? `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(3)}` : "–");

function fit(canvas) {
  const ratio = devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = "11.5px system-ui, sans-serif";
  return { context, width: canvas.width / ratio, height: canvas.height / ratio };
}

function range(encoding) {
  const all = encoding.units.flatMap((unit) => unit.scores.flat()).concat(encoding.sets.flatMap((set) => set.bits)).filter(known);
  const sorted = all.sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return [Math.min(0, at(0.01)), Math.max(0.02, at(0.99))];
}

function draw(canvas, encoding) {
  const { context, width, height } = fit(canvas);
  const [low, high] = range(encoding);
  const [left, top, bottom] = [44, 8, height - 20];
  const y = (value) => bottom - ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (bottom - top);
  context.fillStyle = css("--soft");
  const apart = (value) => value === 0 || Math.abs(y(value) - y(0)) > 13;
  for (const value of [low, 0, high].filter(apart)) context.fillText(value.toFixed(2), 4, y(value) + 4);
  context.strokeStyle = css("--line");
  context.beginPath();
  context.moveTo(left, y(0));
  context.lineTo(width, y(0));
  context.stroke();
  const step = (width - left) / Math.max(1, encoding.sets.length);
  encoding.sets.forEach((set, i) => {
    const ink = css(FAMILIES[set.family] ?? "--soft");
    const middle = left + step * (i + 0.5);
    context.fillStyle = context.strokeStyle = ink;
    context.globalAlpha = 0.45;
    encoding.units.forEach((unit, k) => {
      const [value] = unit.scores[i];
      if (!known(value)) return;
      context.beginPath();
      context.arc(middle + (((k * 37) % 23) / 22 - 0.6) * step * 0.4, y(value), 2, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    const [mean, from, to] = set.bits;
    if (known(mean)) {
      const x = middle + step * 0.26;
      context.lineWidth = 2;
      if (known(from) && known(to)) {
        context.beginPath();
        context.moveTo(x, y(from));
        context.lineTo(x, y(to));
        context.stroke();
      }
      context.beginPath();
      context.arc(x, y(mean), 4, 0, 7);
      context.fill();
      context.lineWidth = 1;
    }
    context.fillStyle = css("--soft");
    context.textAlign = "center";
    context.fillText(set.name, middle, height - 5, step - 4);
    context.textAlign = "left";
  });
}

function table(encoding, arrays) {
  const cell = (text, className = "num") => Object.assign(document.createElement("td"), { textContent: text, className });
  const rows = encoding.sets.map((set) => {
    const layers = encoding.layers.filter((layer) => layer.name === set.name);
    const similar = layers.map((layer) => `${arrays[layer.array]?.name ?? layer.array} ${signed(layer.similarity)}`).join(" · ");
    const row = document.createElement("tr");
    row.append(
      cell(set.name, ""),
      cell(known(set.bits[0]) ? `${signed(set.bits[0])} [${signed(set.bits[1])}, ${signed(set.bits[2])}]` : "–"),
      cell(`${set.predicted} / ${set.units}`),
      cell(similar || "–"),
    );
    return row;
  });
  byId("encoding-sets").tBodies[0].replaceChildren(...rows);
}

/** Shows the card only where something is fitted. */
export function encoding(rig) {
  const card = byId("encoding-card");
  const look = async () => {
    try {
      const newest = await get("/api/v1/encoding");
      card.hidden = !newest.sets.length;
      if (!card.hidden) {
        const minutes = (newest.seconds / 60).toFixed(1);
        const how = newest.last ? "final" : newest.rounds < 1 ? "first round" : `round ${newest.rounds.toFixed(1)}`;
        const limit = newest.full ? " · longer than what is looked at live" : "";
        byId("encoding-note").textContent = `${minutes} min, ${newest.units.length} units, ${how}${newest.behaviour ? ` · ${newest.behaviour}` : ""}${limit}`;
        draw(byId("encoding"), newest);
        table(newest, rig.arrays);
      }
    } catch {
      // The link's own banner says so; the next look tries again.
    }
    setTimeout(look, EVERY_MILLIS);
  };
  look();
}
