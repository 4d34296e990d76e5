// Tables and texts: banners, stages, clocks, counters, events, pre-flight, recordings.

import { get, post, Refused } from "/link.js";

const byId = (id) => document.getElementById(id);

function cell(text, className = "") {
  const element = document.createElement("td");
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function rows(table, list, empty) {
  const body = table.tBodies[0];
  if (!list.length) {
    const tr = document.createElement("tr");
    const td = cell(empty, "empty wide");
    td.colSpan = table.tHead.rows[0].cells.length;
    tr.append(td);
    list = [tr];
  }
  body.replaceChildren(...list);
}

function row(cells, className = "") {
  const tr = document.createElement("tr");
  if (className) tr.className = className;
  tr.append(...cells);
  return tr;
}

export const micros = (value) => (value >= 10_000 ? `${(value / 1000).toFixed(1)} ms` : value >= 1000 ? `${(value / 1000).toFixed(2)} ms` : `${value.toFixed(0)} µs`);

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (value >= 1000 && i < units.length - 1) {
    value /= 1000;
    i++;
  }
  return `${value.toFixed(value < 10 && i ? 1 : 0)} ${units[i]}`;
}

export function duration(secs) {
  const whole = Math.max(0, Math.floor(secs));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h >= 48) return `${Math.floor(h / 24)} days`;
  return `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}`;
}

let bannerText = "";
/** `ageMillis`: how old the numbers on the page are, if they are older than they should be. */
export function banners(link, standing, status, ageMillis = 0) {
  const list = [];
  if (!link) list.push(["offline", "No connection", ["to the daemon; the rig goes on by itself. Trying again."]]);
  if (link && ageMillis) list.push(["degraded", "Old numbers", ["Nothing new from the daemon for some seconds. Commands are still given; the rig goes on by itself."]]);
  if (link && standing?.state === "faulted") list.push(["faulted", "Faulted", [standing.fault ?? "", "Disarm to begin again."]]);
  if (link && status?.degraded.length) list.push(["degraded", "Degraded", status.degraded.map((d) => d.message)]);
  const text = JSON.stringify(list);
  if (text === bannerText) return; // screen readers announce changes only
  bannerText = text;
  byId("banners").replaceChildren(...list.map(([kind, title, lines]) => {
    const div = document.createElement("div");
    div.className = kind;
    const strong = document.createElement("strong");
    strong.textContent = title;
    const ul = document.createElement("ul");
    ul.append(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
    div.append(strong, ul);
    return div;
  }));
}

export function stages(rig, snapshot) {
  const last = rig.stages.length - 1;
  rows(byId("stages"), rig.stages.map((name, i) => {
    const live = snapshot.stages[i];
    const numbers = [live.p50_micros, live.p99_micros, live.max_micros];
    return row([cell(name), ...numbers.map((n) => cell(live.count ? micros(n) : "–", "num"))], i === last ? "total" : "");
  }), "nothing measured yet");
}

export function clocks(rig, snapshot) {
  const locked = snapshot.clocks.filter((clock) => clock.locked).length;
  byId("sync-note").textContent = `${locked} of ${rig.clocks.length} locked`;
  rows(byId("clocks"), rig.clocks.map((name, i) => {
    const live = snapshot.clocks[i];
    const residual = live.locked ? `${live.residual_p99_micros.toFixed(1)} µs` : "not locked";
    const harm = !live.locked || live.residual_p99_micros > 33.3;
    return row([cell(name), cell(residual, "num"), cell(`${live.drift_ppm.toFixed(1)} ppm`, "num"), cell(`${live.steps}`, "num")], harm && snapshot.sequence ? "harm" : "");
  }), "no clocks");
}

export function counters(status, harmOnly) {
  const list = status.counters.filter((c) => !harmOnly || (c.harm && c.value > 0));
  rows(byId("counters"), list.map((c) => row(
    [cell(c.name.replaceAll("_", " ")), cell(c.place), cell(c.cause.replaceAll("_", " ")), cell(c.value.toLocaleString("en"), "num")],
    c.harm && c.value > 0 ? "harm" : "",
  )), harmOnly ? "nothing lost, nothing damaged" : "no counters");
}

export class Events {
  constructor(list) {
    this.list = list;
    this.seen = 0;
    this.busy = false;
  }

  async update(last) {
    if (last < this.seen) { // the daemon was restarted
      this.seen = 0;
      this.list.replaceChildren();
    }
    if (last === this.seen || this.busy) return;
    this.busy = true;
    try {
      for (const line of await get(`/api/v1/events?since=${this.seen}`)) {
        this.seen = line.number;
        this.list.prepend(this.item(line));
      }
      while (this.list.children.length > 200) this.list.lastChild.remove();
    } catch {
      // Tried again with the next message.
    } finally {
      this.busy = false;
    }
  }

  item(line) {
    const item = document.createElement("li");
    item.className = line.level;
    const at = document.createElement("time");
    const when = new Date(line.unix_millis);
    at.dateTime = when.toISOString();
    at.textContent = when.toLocaleTimeString("en-GB");
    const text = document.createElement("span");
    const source = document.createElement("b");
    source.textContent = line.level === "info" ? `${line.source}: ` : `${line.level.toUpperCase()} ${line.source}: `;
    text.append(source, line.text);
    item.append(at, text);
    return item;
  }
}

const chip = (verdict, text) => Object.assign(document.createElement("span"), { className: `chip ${verdict}`, textContent: text });

export function preflight(report) {
  const checks = report?.checks ?? [];
  rows(byId("preflight"), checks.map((check) => {
    const verdict = document.createElement("td");
    verdict.append(chip(check.verdict, check.verdict));
    return row([verdict, cell(check.name), cell(check.detail, "wide")]);
  }), "not armed yet");
}

const FORMATS = [["parquet", "Parquet"], ["nwb", "NWB"], ["openephys", "Open Ephys"], ["spikeglx", "SpikeGLX"], ["campy", "campy / DANNCE"], ["csv", "CSV"]];

/** Whether a verification, a report or an export of it runs. */
const isWorking = (recording) => Boolean(recording.job && !recording.job.done);

/** The list of recordings, with verify, report and export. */
export class Recordings {
  constructor(table, say) {
    this.table = table;
    this.say = say;
    this.list = [];
  }

  show(list) {
    this.list = list;
    rows(this.table, list.map((recording) => this.line(recording)), "no recordings yet");
  }

  async refresh() {
    try {
      const list = await get("/api/v1/recordings");
      this.show(list);
      // A recording that was just sealed may still be told as running: without another look its buttons would stay dead.
      clearTimeout(this.again);
      const isWritten = (recording) => recording.status === "recording";
      const delay = list.some(isWorking) ? 700 : list.some(isWritten) ? 4000 : 0;
      if (delay) this.again = setTimeout(() => this.refresh(), delay);
    } catch (error) {
      rows(this.table, [], error instanceof Refused ? error.message : "not available");
    }
  }

  line(recording) {
    const status = document.createElement("td");
    status.className = "wide";
    const { verdict, text } = this.verdict(recording);
    status.append(chip(verdict, text));
    if (recording.job?.message) status.append(` ${recording.job.message}`);
    const actions = document.createElement("td");
    for (const [label, action] of [["Verify", "verify"], ["Report", "report"]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "small", textContent: label });
      button.setAttribute("aria-label", `${label} ${recording.name}`);
      button.disabled = recording.status === "recording" || isWorking(recording);
      button.onclick = () => this.act(recording.name, action);
      actions.append(button, " ");
    }
    actions.append(this.exporter(recording), " ");
    if (recording.report) {
      const link = Object.assign(document.createElement("a"), { href: `/api/v1/recordings/${recording.name}/report`, textContent: "open report", target: "_blank", rel: "noopener" });
      actions.append(link);
    }
    return row([cell(recording.name), cell(recording.seconds === null ? "–" : duration(recording.seconds), "num"), cell(bytes(recording.bytes), "num"), status, actions]);
  }

  /** A menu: choosing a format starts the export. */
  exporter(recording) {
    const menu = document.createElement("select");
    menu.className = "small";
    menu.setAttribute("aria-label", `Export ${recording.name} to`);
    menu.disabled = recording.status === "recording" || recording.status === "unsealed" || isWorking(recording);
    menu.append(new Option("Export…", ""));
    for (const [to, label] of FORMATS) menu.append(new Option(label, to));
    menu.onchange = () => menu.value && this.act(recording.name, `export?to=${menu.value}`);
    return menu;
  }

  verdict(recording) {
    if (isWorking(recording)) return { verdict: "warn", text: `${recording.job.kind} ${Math.round(recording.job.fraction * 100)} %` };
    return {
      recording: { verdict: "warn", text: "recording" },
      unsealed: { verdict: "fail", text: "not sealed" },
      sealed: { verdict: "warn", text: "sealed, not verified" },
      verified: { verdict: "pass", text: "verified" },
      failed: { verdict: "fail", text: "does not add up" },
    }[recording.status] ?? { verdict: "warn", text: recording.status };
  }

  async act(name, action) {
    try {
      // The job as it was taken up is shown by itself: a quick one is over before the list is asked for again.
      const job = await post(`/api/v1/recordings/${encodeURIComponent(name)}/${action}`, {});
      this.show(this.list.map((recording) => (recording.name === name ? { ...recording, job } : recording)));
    } catch (error) {
      this.say(error.message, "bad");
    }
    this.refresh();
  }
}
