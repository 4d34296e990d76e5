// Raster, waveforms, latency histogram, clock residuals: 2D canvases redrawn from the newest numbers.

const RASTER_SECS = 5;
const RESIDUAL_POINTS = 240;
const ARRAY_HUES = [200, 28, 140, 300, 60, 250, 0, 170];

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function fit(canvas) {
  const ratio = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const box = { width: width / ratio, height: height / ratio };
  context.clearRect(0, 0, box.width, box.height);
  context.font = "11.5px system-ui, sans-serif";
  return { context, ...box };
}

export const hue = (array, dark) => `hsl(${ARRAY_HUES[array % ARRAY_HUES.length]} ${dark ? "75% 68%" : "80% 33%"})`;

/** Spikes as ticks that travel to the left; the newest frame is at the right edge. */
export class Raster {
  constructor(canvas, rig) {
    this.canvas = canvas;
    this.first = [];
    let lines = 0;
    for (const array of rig.arrays) {
      this.first.push(lines);
      lines += Math.floor(array.channels / 4);
    }
    this.lines = Math.max(1, lines);
    this.names = rig.arrays.map((array) => array.name);
    this.ticks = [];
  }

  add(spikes, boardNanos) {
    for (const [age, array, tetrode, unit] of spikes) this.ticks.push([boardNanos / 1e6 - age, array, tetrode, unit]);
    const oldest = boardNanos / 1e6 - RASTER_SECS * 1000;
    let drop = 0;
    while (drop < this.ticks.length && this.ticks[drop][0] < oldest) drop++;
    if (drop) this.ticks.splice(0, drop);
    this.now = boardNanos / 1e6;
  }

  draw(dark) {
    const { context, width, height } = fit(this.canvas);
    const left = 34;
    const bottom = height - 16;
    const scale = (width - left) / (RASTER_SECS * 1000);
    const step = bottom / this.lines;
    context.fillStyle = css("--soft");
    this.names.forEach((name, i) => context.fillText(name.slice(0, 5), 0, this.first[i] * step + 11));
    context.strokeStyle = css("--line");
    context.beginPath();
    for (let s = 0; s <= RASTER_SECS; s++) {
      const x = Math.round(left + (width - left) * (s / RASTER_SECS)) - 0.5;
      context.moveTo(x, 0);
      context.lineTo(x, bottom);
      const label = s === RASTER_SECS ? "now" : `−${RASTER_SECS - s} s`;
      context.fillText(label, Math.min(x - (s ? 12 : 0), width - 24), height - 3);
    }
    for (const first of this.first.slice(1)) {
      context.moveTo(left, Math.round(first * step) - 0.5);
      context.lineTo(width, Math.round(first * step) - 0.5);
    }
    context.stroke();
    for (let array = 0; array < this.first.length; array++) {
      context.fillStyle = hue(array, dark);
      for (const [at, where, tetrode] of this.ticks) {
        if (where !== array) continue;
        const x = left + (width - left) - (this.now - at) * scale;
        if (x >= left) context.fillRect(x, (this.first[array] + tetrode) * step, 1.3, Math.max(1.4, step * 0.82));
      }
    }
  }
}

const columnsOf = (count, width, height) => Math.ceil(Math.sqrt(count * (width / height) * 0.55));

/** Which tetrode of `count` lies under a point of the waveforms' canvas. */
export function tetrodeAt(canvas, count, x, y) {
  const columns = columnsOf(count, canvas.clientWidth, canvas.clientHeight);
  const rows = Math.ceil(count / columns);
  return Math.min(count - 1, Math.floor((y / canvas.clientHeight) * rows) * columns + Math.floor((x / canvas.clientWidth) * columns));
}

/** The latest waveform of each tetrode of one array, four channels side by side, with its rate. */
export function waveforms(canvas, array, index, dark, chosen) {
  const { context, width, height } = fit(canvas);
  const count = array.waveforms.length;
  if (!count) return;
  const columns = columnsOf(count, width, height);
  const rows = Math.ceil(count / columns);
  const w = width / columns;
  const h = height / rows;
  const peak = Math.max(60, ...array.waveforms.map((wave) => wave.uv.reduce((most, uv) => Math.max(most, Math.abs(uv)), 0)));
  array.waveforms.forEach((wave, i) => {
    const x = (i % columns) * w;
    const y = Math.floor(i / columns) * h;
    context.fillStyle = css("--well");
    context.fillRect(x + 1, y + 1, w - 3, h - 3);
    if (i === chosen) {
      context.strokeStyle = css("--accent");
      context.lineWidth = 1.5;
      context.strokeRect(x + 1.5, y + 1.5, w - 4, h - 4);
    }
    context.fillStyle = css("--soft");
    context.fillText(`${i + 1}`, x + 4, y + 12);
    const rate = array.unit_rates_hz[i];
    if (rate !== undefined) context.fillText(rate.toFixed(rate < 10 ? 1 : 0), x + w - 26, y + 12);
    const samples = wave.uv.length / 4;
    if (!samples) return;
    context.strokeStyle = hue(index, dark);
    context.lineWidth = 1.1;
    for (let channel = 0; channel < 4; channel++) {
      context.beginPath();
      for (let s = 0; s < samples; s++) {
        const px = x + 3 + ((w - 7) * (channel + s / samples)) / 4;
        const py = y + h * 0.55 - (wave.uv[channel * samples + s] / peak) * h * 0.4;
        s ? context.lineTo(px, py) : context.moveTo(px, py);
      }
      context.stroke();
    }
  });
}

/** Camera-to-action counts per bucket. */
export function latency(canvas, edges, buckets, live) {
  const { context, width, height } = fit(canvas);
  const bottom = height - 16;
  const most = Math.max(1, ...buckets);
  const w = width / buckets.length;
  const goal = 20_000;
  buckets.forEach((count, i) => {
    const late = i > 0 && edges[i - 1] >= goal;
    context.fillStyle = css(late ? "--bad" : "--accent");
    const h = count ? Math.max(1.5, (bottom - 4) * (Math.log1p(count) / Math.log1p(most))) : 0;
    context.fillRect(i * w + 1, bottom - h, w - 2, h);
  });
  context.fillStyle = css("--soft");
  const every = Math.ceil(46 / w);
  edges.forEach((edge, i) => {
    if (i % every === every - 1 && i < edges.length - 1) context.fillText(`${edge / 1000}`, (i + 1) * w - 6, height - 3);
  });
  context.fillText("ms", width - 18, height - 3);
  const lines = live ? [["p50", live.p50_micros], ["p99", live.p99_micros]] : [];
  for (const [name, micros] of lines) {
    if (!micros) continue;
    const at = edges.findIndex((edge) => micros <= edge);
    const i = at < 0 ? edges.length : at;
    const low = i ? edges[i - 1] : 0;
    const x = (i + (i < edges.length ? (micros - low) / (edges[i] - low) : 0.5)) * w;
    context.fillStyle = css("--ink");
    context.fillRect(x, 0, 1.2, bottom);
    const beside = name === "p50" && x > 28 ? x - 26 : x + 4; // away from each other, where they are close
    context.fillText(name, Math.min(beside, width - 26), name === "p50" ? 10 : 23);
  }
}

/** 99th percentile residual of each clock over the last minute, against one ephys sample (33.3 µs). */
export class Residuals {
  constructor(canvas, count) {
    this.canvas = canvas;
    this.series = Array.from({ length: count }, () => []);
  }

  add(clocks) {
    clocks.forEach((clock, i) => {
      const series = this.series[i];
      if (!series) return;
      series.push(clock.locked ? clock.residual_p99_micros : NaN);
      if (series.length > RESIDUAL_POINTS) series.shift();
    });
  }

  draw(dark) {
    const { context, width, height } = fit(this.canvas);
    const top = Math.max(40, ...this.series.flat().filter(Number.isFinite)) * 1.05;
    const y = (micros) => height - 4 - (height - 8) * (micros / top);
    context.strokeStyle = css("--bad");
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(0, y(33.3));
    context.lineTo(width, y(33.3));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = css("--soft");
    context.fillText("33.3 µs", width - 46, y(33.3) - 4);
    this.series.forEach((series, i) => {
      context.strokeStyle = hue(i, dark);
      context.lineWidth = 1.3;
      context.beginPath();
      let pen = false;
      series.forEach((value, k) => {
        const x = width - ((series.length - 1 - k) / RESIDUAL_POINTS) * width;
        if (Number.isFinite(value)) {
          pen ? context.lineTo(x, y(value)) : context.moveTo(x, y(value));
        }
        pen = Number.isFinite(value);
      });
      context.stroke();
    });
  }
}
