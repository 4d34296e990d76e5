// Six camera views: image, crop, keypoints as found, the same points projected back from 3D.

const FOUND = "#ff9f45";
const BACK = "#46c3ea";

export class Views {
  constructor(box, rig) {
    this.rig = rig;
    this.views = rig.cameras.map((camera, index) => {
      const element = document.createElement("figure");
      element.className = "view";
      element.style.margin = 0;
      element.style.setProperty("--ratio", `${camera.width_px} / ${camera.height_px}`);
      const image = document.createElement("canvas");
      const overlay = document.createElement("canvas");
      overlay.setAttribute("role", "img");
      overlay.setAttribute("aria-label", `${camera.name}: live view with keypoints`);
      image.setAttribute("aria-hidden", "true");
      const plate = document.createElement("figcaption");
      plate.className = "plate";
      plate.innerHTML = "<span></span><span></span>";
      plate.firstChild.textContent = camera.name;
      element.append(image, overlay, plate);
      box.append(element);
      return { camera, index, element, image, overlay, facts: plate.lastChild, busy: false };
    });
  }

  /** Shows an image and, at the same instant, what was found in it. */
  async show({ camera, marks, blob }) {
    const view = this.views[camera];
    if (!view || view.busy) return; // the newest next time, never a queue
    view.busy = true;
    try {
      const bitmap = await createImageBitmap(blob);
      if (view.image.width !== bitmap.width || view.image.height !== bitmap.height) {
        view.image.width = bitmap.width;
        view.image.height = bitmap.height;
      }
      view.image.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
      this.draw(view, marks);
    } catch {
      // A torn image is not shown.
    } finally {
      view.busy = false;
    }
  }

  update(snapshot) {
    snapshot.cameras.forEach((live, index) => {
      const view = this.views[index];
      if (!view) return;
      view.element.classList.toggle("lost", !live.connected && snapshot.sequence > 0);
      const harm = live.missing + live.dropped + live.late;
      const residual = live.reprojection_px === null ? "–" : live.reprojection_px.toFixed(1);
      view.facts.textContent = `${live.rate_hz.toFixed(1)} Hz  ${residual} px  ${harm} lost`;
      view.facts.classList.toggle("harm", harm > 0);
    });
  }

  draw(view, { crop, found, back }) {
    const { overlay, camera } = view;
    const width = Math.round(overlay.clientWidth * devicePixelRatio);
    const height = Math.round(overlay.clientHeight * devicePixelRatio);
    if (overlay.width !== width || overlay.height !== height) {
      overlay.width = width;
      overlay.height = height;
    }
    const context = overlay.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!width) return;
    const sx = width / camera.width_px;
    const sy = height / camera.height_px;
    const [left, top, w, h] = crop;
    if (w > 0) {
      context.strokeStyle = "#ffffff55";
      context.lineWidth = 1;
      context.strokeRect(left * sx, top * sy, w * sx, h * sy);
    }
    context.lineWidth = Math.max(1, width / 260);
    context.strokeStyle = "#ff9f4599";
    context.beginPath();
    for (const [a, b] of this.rig.bones) {
      if (found[a]?.[2] > 0.2 && found[b]?.[2] > 0.2) {
        context.moveTo(found[a][0] * sx, found[a][1] * sy);
        context.lineTo(found[b][0] * sx, found[b][1] * sy);
      }
    }
    context.stroke();
    const radius = Math.max(1.6, width / 190);
    found.forEach(([x, y, confidence], i) => {
      if (confidence > 0.2) {
        context.globalAlpha = Math.min(1, 0.35 + confidence * 0.65);
        context.fillStyle = FOUND;
        context.beginPath();
        context.arc(x * sx, y * sy, radius, 0, 7);
        context.fill();
      }
      if (Number.isFinite(back[i][0])) {
        context.globalAlpha = 0.9;
        context.strokeStyle = BACK;
        context.lineWidth = Math.max(1, radius * 0.45);
        context.beginPath();
        context.arc(back[i][0] * sx, back[i][1] * sy, radius * 1.7, 0, 7);
        context.stroke();
      }
    });
    context.globalAlpha = 1;
  }
}
