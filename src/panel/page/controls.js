// State bar, commands with acknowledgement, dialogs, keys, sign-in, appearance.

import { command, get, post, Refused } from "/link.js";
import { bytes, duration, preflight } from "/health.js";

const byId = (id) => document.getElementById(id);
const FIELDS = ["subject", "experiment", "operator", "notes"];
const remembered = (key) => {
  try {
    return localStorage.getItem(`mimicd.${key}`);
  } catch {
    return null;
  }
};
const remember = (key, value) => {
  try {
    localStorage.setItem(`mimicd.${key}`, value);
  } catch {
    // Private browsing: not remembered.
  }
};

export function say(text, kind = "", millis = 6000) {
  const toast = Object.assign(document.createElement("div"), { textContent: text, className: kind });
  byId("toasts").append(toast);
  if (millis) setTimeout(() => toast.remove(), millis);
  return toast;
}

export class Controls {
  constructor(hooks) {
    this.hooks = hooks;
    this.state = "offline";
    this.role = "viewer";
    this.pending = false;
    byId("arm").onclick = () => this.arm();
    byId("disarm").onclick = () => this.give({ command: "disarm" }, "disarming");
    byId("record").onclick = () => this.openRecord();
    byId("mark").onclick = () => this.openMark();
    byId("stop").onclick = () => this.openStop();
    byId("more").onclick = () => this.openMore();
    byId("safe").onclick = () => this.give({ command: "safe_outputs" }, "outputs to the safe state");
    byId("arm-outputs").onclick = () => this.give({ command: "arm_outputs", confirm: byId("f-confirm").value }, "arming outputs");
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.querySelector(".cancel")?.addEventListener("click", () => dialog.close());
    }
    byId("record-form").onsubmit = (event) => this.submitRecord(event);
    byId("mark-form").onsubmit = () => this.give({ command: "mark", text: byId("f-mark").value }, "marking");
    byId("stop-form").onsubmit = () => this.give({ command: "stop" }, "sealing", 0);
    byId("sign-in-form").onsubmit = (event) => this.submitSignIn(event);
    byId("f-subject").oninput = () => this.checkSubject();
    this.theme();
    addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    // A dialog that has just closed may still hold the focus for a frame; that is not typing.
    const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select") && !event.target.closest("dialog:not([open])");
    if (typing || document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const actions = {
      a: () => byId("arm").click(), r: () => byId("record").click(), m: () => byId("mark").click(), s: () => byId("stop").click(),
      f: () => byId("follow").click(), p: () => this.openPreflight(), "?": () => this.openMore(),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  theme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const apply = () => {
      const wish = document.querySelector("input[name=theme]:checked").value;
      const dark = wish === "dark" || (wish === "auto" && system.matches);
      document.documentElement.dataset.theme = dark ? "dark" : "light";
      this.hooks.recolour();
    };
    const wish = remembered("theme");
    const radio = wish && document.querySelector(`input[name=theme][value="${CSS.escape(wish)}"]`);
    if (radio) radio.checked = true;
    for (const input of document.querySelectorAll("input[name=theme]")) {
      input.onchange = () => {
        remember("theme", input.value);
        apply();
      };
    }
    system.addEventListener("change", apply);
    apply();
  }

  /** Gives a command, shows that it is under way, then what came of it. */
  async give(body, doing, millis = 6000) {
    this.pending = true;
    this.enable();
    const toast = say(`${doing} …`, "busy", 0);
    try {
      const answer = await command(body);
      say(answer.message, "", millis || 12_000);
      return answer;
    } catch (error) {
      if (error.status === 401) this.signIn();
      say(error.message, "bad", 12_000);
      return error instanceof Refused ? error.body : null;
    } finally {
      toast.remove();
      this.pending = false;
      this.enable();
      this.hooks.commanded(body.command);
    }
  }

  async arm() {
    const answer = await this.give({ command: "arm" }, "pre-flight checks");
    if (answer?.preflight?.checks.some((check) => check.verdict !== "pass")) {
      preflight(answer.preflight);
      byId("preflight-dialog").showModal();
    }
  }

  openPreflight() {
    preflight(this.standing?.preflight);
    byId("preflight-dialog").showModal();
  }

  openRecord() {
    for (const field of FIELDS.slice(0, 3)) byId(`f-${field}`).value ||= remembered(field) ?? "";
    const left = this.status?.disk_left_secs;
    byId("record-forecast").textContent = this.status ? `Free: ${bytes(this.status.disk_free_bytes)}${left ? `, room for ${duration(left)} at this rate` : ""}` : "";
    byId("record-dialog").showModal();
    byId("f-subject").focus();
  }

  checkSubject() {
    const fits = byId("f-subject").validity.valid;
    byId("e-subject").classList.toggle("bad", !fits);
    byId("f-subject").setAttribute("aria-invalid", String(!fits));
    return fits;
  }

  submitRecord(event) {
    if (!this.checkSubject()) {
      event.preventDefault();
      byId("f-subject").focus();
      return;
    }
    const body = { command: "start" };
    for (const field of FIELDS) {
      body[field] = byId(`f-${field}`).value.trim();
      if (field !== "notes") remember(field, body[field]);
    }
    byId("f-notes").value = "";
    this.give(body, "starting");
  }

  openMark() {
    byId("f-mark").value = "";
    byId("mark-time").textContent = `at ${byId("elapsed").textContent} of the recording; the mark carries the moment you confirm it`;
    byId("mark-dialog").showModal();
  }

  openStop() {
    byId("stop-text").textContent = `${this.standing?.recording ?? "The recording"} has run for ${byId("elapsed").textContent}. It will be drained, reconciled and sealed.`;
    byId("stop-dialog").showModal();
  }

  openMore() {
    byId("f-confirm").value = "";
    byId("more-dialog").showModal();
  }

  signIn() {
    const dialog = byId("sign-in-dialog");
    if (!dialog.open) dialog.showModal();
  }

  async submitSignIn(event) {
    event.preventDefault();
    try {
      await post("/api/v1/session", { token: byId("f-token").value });
      byId("f-token").value = "";
      location.reload();
    } catch (error) {
      byId("sign-in-error").textContent = error.message;
    }
  }

  async load() {
    const reply = await get("/api/v1/state");
    this.role = reply.role;
    byId("role").textContent = reply.sign_in ? reply.role : `${reply.role} (no sign-in on this address)`;
    byId("version").textContent = reply.standing.version;
    this.update(true, reply.standing, reply.status, null);
  }

  update(link, standing, status, snapshot) {
    this.standing = standing;
    this.status = status;
    const state = link ? standing.state : "offline";
    if (state !== this.state) {
      const before = this.state;
      this.state = state;
      byId("state").dataset.state = state;
      byId("state-word").textContent = state;
      document.title = `${state === "recording" ? "● " : ""}${state} · ${this.rigName ?? "mimicd"}`;
      this.enable();
      this.hooks.changed(before, state);
    }
    if (!standing) return;
    byId("state-detail").textContent = standing.recording ?? standing.fault ?? "";
    const recording = status?.recording;
    byId("elapsed").textContent = recording ? duration(recording.elapsed_secs) : "–";
    byId("rows").textContent = recording ? recording.rows.toLocaleString("en") : "–";
    byId("disk").textContent = status?.disk_left_secs ? duration(status.disk_left_secs) : status ? bytes(status.disk_free_bytes) : "–";
    if (snapshot) byId("outputs-state").textContent = snapshot.outputs_armed ? "Outputs are ARMED: rules may drive them." : "Outputs are held in the safe state.";
  }

  enable() {
    const free = this.role === "operator" && !this.pending;
    const at = (...states) => free && states.includes(this.state);
    byId("arm").disabled = !at("idle");
    byId("record").disabled = !at("idle", "armed");
    byId("mark").disabled = !at("recording");
    byId("stop").disabled = !at("recording");
    byId("disarm").disabled = !at("armed", "faulted");
    byId("safe").disabled = !(this.role === "operator");
    byId("arm-outputs").disabled = !at("armed", "recording");
    byId("arm").classList.toggle("suggested", this.state === "idle");
    byId("stop").classList.toggle("suggested", this.state === "recording");
  }
}
