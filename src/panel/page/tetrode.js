// One tetrode, chosen: its latest spikes on four wires against their thresholds, its units, and the health of all electrodes.

import { css, fit } from "/plots.js";

const KEEP = 60;
const UNIT_HUES = [0, 210, 130, 40, 285, 175, 325, 85, 245, 20, 155, 60];
const FLAGS = ["dead", "shorted", "saturated", "mains hum", "noisy", "excluded"];

const unitHue = (unit, dark) => (unit ? `hsl(${UNIT_HUES[(unit - 1) % UNIT_HUES.length]} ${dark ? "75% 66%" : "72% 38%"})` : css("--soft"));
const flagNames = (flags) => FLAGS.filter((_, bit) => flags & (1 << bit));
const cell = (text, name = "num") => Object.assign(document.createElement("td"), { textContent: text, className: name });

export class Tetrode {
  constructor(rig, elements) {
    this.rig = rig;
    this.elements = elements;
    this.array = 0;
    this.tetrode = 0;
    this.spikes = [];
    this.count = 0;
    elements.pick.onchange = () => this.choose(this.array, Number(elements.pick.value));
    this.choose(0, 0);
  }

  choose(array, tetrode) {
    const count = Math.floor((this.rig.arrays[array]?.channels ?? 0) / 4);
    if (array !== this.array || this.elements.pick.length !== count) {
      this.elements.pick.replaceChildren(...Array.from({ length: count }, (_, i) => new Option(i + 1, i)));
    }
    Object.assign(this, { array, tetrode: Math.min(tetrode, Math.max(0, count - 1)), spikes: [], count: -1 });
    this.elements.pick.value = this.tetrode;
  }

  /** Takes the newest spike of the chosen tetrode, if it is another than before. */
  add(snapshot) {
    const wave = snapshot.arrays[this.array]?.waveforms[this.tetrode];
    if (!wave || wave.count === this.count || !wave.uv.length) return;
    if (wave.count < this.count) this.spikes = [];
    this.count = wave.count;
    this.spikes.push({ unit: wave.unit, uv: wave.uv });
    if (this.spikes.length > KEEP) this.spikes.shift();
  }

  draw(snapshot, dark) {
    const live = snapshot.arrays[this.array];
    if (!live) return;
    this.waves(live, dark);
    this.units(live, dark);
    this.health(live);
  }

  waves(live, dark) {
    const { context, width, height } = fit(this.elements.canvas);
    const thresholds = live.thresholds_uv.slice(4 * this.tetrode, 4 * this.tetrode + 4);
    const noise = live.channel_noise_uv.slice(4 * this.tetrode, 4 * this.tetrode + 4);
    const peaks = this.spikes.map((spike) => Math.max(...spike.uv.map(Math.abs)));
    const peak = Math.max(80, ...thresholds.filter(Number.isFinite).map((uv) => 1.3 * uv), ...peaks);
    const w = width / 4;
    const y = (uv) => height / 2 - (uv / peak) * (height / 2 - 14);
    for (let wire = 0; wire < 4; wire++) {
      const x = wire * w;
      context.fillStyle = css("--well");
      context.fillRect(x + 2, 0, w - 4, height);
      if (noise[wire]) {
        context.fillStyle = css("--line");
        context.fillRect(x + 2, y(noise[wire]), w - 4, y(-noise[wire]) - y(noise[wire]));
      }
      for (const spike of this.spikes) {
        const samples = spike.uv.length / 4;
        context.strokeStyle = unitHue(spike.unit, dark);
        context.globalAlpha = 0.5;
        context.beginPath();
        for (let s = 0; s < samples; s++) {
          const px = x + 4 + ((w - 8) * s) / (samples - 1);
          const py = y(spike.uv[wire * samples + s]);
          s ? context.lineTo(px, py) : context.moveTo(px, py);
        }
        context.stroke();
      }
      context.globalAlpha = 1;
      context.fillStyle = css("--soft");
      if (Number.isFinite(thresholds[wire])) {
        context.strokeStyle = css("--bad");
        context.setLineDash([4, 4]);
        context.beginPath();
        for (const sign of [1, -1]) {
          context.moveTo(x + 2, y(sign * thresholds[wire]));
          context.lineTo(x + w - 2, y(sign * thresholds[wire]));
        }
        context.stroke();
        context.setLineDash([]);
        context.fillText(`±${thresholds[wire].toFixed(0)} µV`, x + w - 58, y(-thresholds[wire]) + 13);
      } else {
        context.fillText("no threshold", x + 6, height - 6);
      }
      const flags = flagNames(live.channel_flags[4 * this.tetrode + wire] ?? 0);
      context.fillStyle = css(flags.length ? "--bad" : "--soft");
      context.fillText([`wire ${wire + 1}`, ...flags].join(", "), x + 6, 12);
    }
  }

  units(live, dark) {
    const own = live.units.filter((unit) => unit.tetrode === this.tetrode);
    const rows = own.map((unit) => {
      const row = document.createElement("tr");
      const name = cell(unit.id, "");
      name.style.color = unitHue(unit.id, dark);
      name.style.fontWeight = 650;
      row.append(name, cell(unit.rate_hz.toFixed(1)), cell(unit.count), cell(unit.snr.toFixed(1)), cell((100 * unit.violations).toFixed(2)), cell(unit.drift_sigma.toFixed(1)));
      return row;
    });
    if (!rows.length) {
      const row = document.createElement("tr");
      row.append(Object.assign(cell("no units yet: they are learned from the first spikes", "empty"), { colSpan: 6 }));
      rows.push(row);
    }
    this.elements.units.replaceChildren(...rows);
  }

  health(live) {
    const { context, width, height } = fit(this.elements.health);
    const count = live.channel_flags.length;
    if (!live.health_seconds) {
      this.elements.note.textContent = "electrodes: measuring";
      return;
    }
    const step = width / Math.max(1, count);
    const top = Math.max(20, ...live.channel_noise_uv);
    live.channel_noise_uv.forEach((uv, channel) => {
      context.fillStyle = css(live.channel_flags[channel] ? "--bad" : "--good");
      const h = Math.max(2, (uv / top) * (height - 2));
      context.fillRect(channel * step, height - h, Math.max(1, step - 1), h);
    });
    context.fillStyle = css("--ink");
    context.fillRect(4 * this.tetrode * step, height - 2, 4 * step, 2);
    const bad = live.channel_flags.flatMap((flags, channel) => (flags ? [`${channel} ${flagNames(flags).join("+")}`] : []));
    const hum = live.line_uv.map((uv, i) => `${[50, 60][i]} Hz ${uv.toFixed(0)} µV`).join(", ");
    this.elements.note.textContent = `electrodes: ${count - bad.length} of ${count} good${bad.length ? ` (${bad.slice(0, 4).join("; ")}${bad.length > 4 ? "; …" : ""})` : ""} · ${hum}`;
  }
}
