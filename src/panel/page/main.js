// Wires the page together: what the daemon says comes in through `live`, is kept as the newest, and drawn once a frame.

import { Controls, say } from "/controls.js";
import { banners, clocks, counters, Events, micros, Recordings, stages } from "/health.js";
import { encoding } from "/encoding.js";
import { get, live } from "/link.js";
import { latency, Raster, Residuals, tetrodeAt, waveforms } from "/plots.js";
import { Scene } from "/scene.js";
import { Tetrode } from "/tetrode.js";
import { Views } from "/views.js";

const byId = (id) => document.getElementById(id);
const SLOW_MILLIS = 250;
const STALE_MILLIS = 3000;

const page = { link: false, newest: null, newestAt: 0, drawn: null, dirty: false, slowAt: 0 };
const dark = () => document.documentElement.dataset.theme === "dark";

const controls = new Controls({
  recolour: () => page.scene?.recolour(),
  commanded: () => {},
  changed: (before, after) => {
    if (before === "sealing" || after === "recording" || before === "offline") page.recordings?.refresh();
  },
});

async function begin() {
  try {
    page.rig = await get("/api/v1/rig");
    await controls.load();
  } catch (error) {
    if (error.status === 401) return controls.signIn();
    say(`${error.message}; trying again`, "bad", 1800);
    setTimeout(begin, 2000);
    return;
  }
  const { rig } = page;
  byId("rig-name").textContent = rig.name;
  controls.rigName = rig.name;
  byId("simulated").hidden = !rig.simulated;
  byId("array-pick").append(...rig.arrays.map((array, i) => new Option(array.name, i)));
  byId("follow").onchange = ({ target }) => (page.scene.follow = target.checked);
  byId("points").onchange = ({ target }) => (page.scene.points = target.checked);
  byId("recordings-refresh").onclick = () => page.recordings.refresh();
  page.views = new Views(byId("views"), rig);
  page.scene = new Scene(byId("scene"), rig);
  page.raster = new Raster(byId("raster"), rig);
  page.tetrode = new Tetrode(rig, {
    pick: byId("tetrode-pick"),
    canvas: byId("tetrode"),
    units: byId("units").tBodies[0],
    health: byId("electrodes"),
    note: byId("electrodes-note"),
  });
  byId("array-pick").onchange = ({ target }) => page.tetrode.choose(Number(target.value), 0);
  byId("waveforms").onclick = ({ target, offsetX, offsetY }) => {
    const array = Number(byId("array-pick").value) || 0;
    page.tetrode.choose(array, tetrodeAt(target, Math.floor(rig.arrays[array].channels / 4), offsetX, offsetY));
  };
  page.residuals = new Residuals(byId("residuals"), rig.clocks.length);
  page.events = new Events(byId("events"));
  page.recordings = new Recordings(byId("recordings"), say);
  page.recordings.refresh();
  encoding(rig);
  live({
    numbers: take,
    spikes: (spikes, boardNanos) => page.raster.add(spikes, boardNanos),
    image: (image) => page.views.show(image),
    link: (open) => {
      page.link = open;
      page.dirty = true;
      if (!open) {
        banners(false);
        controls.update(false, page.newest?.standing, page.newest?.status, null);
      }
    },
  });
  document.addEventListener("visibilitychange", () => (page.newestAt = performance.now())); // a hidden page gets no numbers
  setInterval(watch, STALE_MILLIS / 3);
  requestAnimationFrame(draw);
}

function take(numbers, drawn) {
  page.newest = numbers;
  page.newestAt = performance.now();
  page.drawn = drawn;
  page.dirty = true;
  page.raster.add([], numbers.snapshot.board_nanos);
  page.tetrode.add(numbers.snapshot);
  page.events.update(numbers.events);
}

/** A page must not show old numbers as if they were new. */
function watch() {
  if (page.newest && !document.hidden) banners(page.link, page.newest.standing, page.newest.status, age());
}

const age = () => (performance.now() - page.newestAt > STALE_MILLIS ? performance.now() - page.newestAt : 0);

function draw(now) {
  requestAnimationFrame(draw);
  const { drawn } = page;
  page.drawn = null;
  try {
    paint(now);
  } finally {
    drawn?.();
  }
}

function paint(now) {
  const { newest, rig } = page;
  if (!newest) return;
  const { snapshot, standing, status } = newest;
  if (page.dirty || page.scene.touched) page.scene.draw(snapshot);
  if (!page.dirty) return;
  page.dirty = false;
  page.views.update(snapshot);
  page.raster.draw(dark());
  captions(snapshot);
  controls.update(page.link, standing, status, snapshot);
  if (now - page.slowAt < SLOW_MILLIS) return;
  page.slowAt = now;
  banners(page.link, standing, status, age());
  const index = Number(byId("array-pick").value) || 0;
  if (snapshot.arrays[index]) waveforms(byId("waveforms"), snapshot.arrays[index], index, dark(), page.tetrode.tetrode);
  page.tetrode.draw(snapshot, dark());
  latency(byId("latency"), rig.latency_edges_micros, snapshot.latency_buckets, snapshot.stages.at(-1));
  page.residuals.add(snapshot.clocks);
  page.residuals.draw(dark());
  stages(rig, snapshot);
  clocks(rig, snapshot);
  counters(status, byId("harm-only").checked);
  notes(rig, snapshot);
}

function captions(snapshot) {
  const { real, imitation } = snapshot;
  byId("real-note").textContent = real.valid ? `${real.residual_mm.toFixed(1)} mm residual${real.extrapolated ? `, ${real.extrapolated} extrapolated` : ""}` : "not tracked";
  const lag = `${imitation.lag_millis.toFixed(0)} ms behind`;
  const error = `${imitation.root_error_mm.toFixed(0)} mm, ${imitation.joint_error_deg.toFixed(0)}° off`;
  byId("virtual-note").textContent = imitation.rat.valid ? `${lag}, ${error}${imitation.trusted ? "" : " · not yet trusted"}` : "not running";
}

function notes(rig, snapshot) {
  const total = snapshot.stages.at(-1);
  byId("latency-note").textContent = total?.count ? `p50 ${micros(total.p50_micros)} · p99 ${micros(total.p99_micros)}, last seconds` : "";
  byId("cameras-note").textContent = `${snapshot.pose.state}, ${snapshot.pose.views} of ${rig.cameras.length} views`;
  byId("spikes-note").textContent = snapshot.arrays.map((live, i) => `${rig.arrays[i].name} ${live.spikes_hz.toFixed(0)}/s, ${live.noise_uv.toFixed(1)} µV noise`).join(" · ");
}

begin();
