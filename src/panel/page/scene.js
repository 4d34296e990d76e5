// Real and virtual rat side by side, WebGL2, one camera for both. All shapes are one instanced mesh: a sphere whose halves
// are pulled apart (capsule, cylinder) or scaled (ellipsoid). Without WebGL2 the keypoints are drawn flat instead.

import { lookAt, multiply, perspective, quatMultiply, rotate, sphere } from "/shapes.js";

const INSTANCE_FLOATS = 14; // position 3, quaternion xyzw 4, radii 3, half length 1, colour 3
const POINT_RADIUS = 0.0035;
const FOLLOW_MILLIS = 150;
const HALF_VIEW = 0.30; // tangent of half the angle of view, across the narrower side
const SHADE = `
  vec3 turn(vec4 q, vec3 v) { return v + 2.0 * cross(q.xyz, cross(q.xyz, v) + q.w * v); }`;
const BODY_VERTEX = `#version 300 es
  layout(location=0) in vec4 vertex; layout(location=1) in vec3 place; layout(location=2) in vec4 pose;
  layout(location=3) in vec4 size; layout(location=4) in vec3 tint;
  uniform mat4 view; uniform float shadow; uniform vec3 sun;
  out vec3 normal; out vec3 colour; out vec3 at; out float fade;
  ${SHADE}
  void main() {
    vec3 local = vertex.xyz * size.xyz + vec3(0.0, 0.0, vertex.w * size.w);
    vec3 world = turn(pose, local) + place;
    normal = normalize(turn(pose, vertex.xyz / size.xyz));
    fade = 1.0;
    if (shadow > 0.5) { fade = clamp(1.0 - world.z * 5.0, 0.15, 1.0); world = vec3(world.xy - sun.xy / sun.z * world.z, 0.0006); }
    colour = tint; at = world; gl_Position = view * vec4(world, 1.0);
  }`;
const BODY_FRAGMENT = `#version 300 es
  precision highp float; in vec3 normal; in vec3 colour; in vec3 at; in float fade;
  uniform float shadow; uniform vec3 sun; uniform vec3 eye; uniform vec4 shade; out vec4 result;
  void main() {
    if (shadow > 0.5) { result = vec4(shade.rgb, shade.a * fade); return; }
    vec3 n = normalize(normal); vec3 toEye = normalize(eye - at);
    float day = max(dot(n, sun), 0.0); float sky = 0.5 + 0.5 * n.z; float rim = pow(1.0 - max(dot(n, toEye), 0.0), 3.0);
    float gloss = pow(max(dot(n, normalize(sun + toEye)), 0.0), 28.0);
    result = vec4(colour * (0.34 + 0.24 * sky + 0.62 * day) + 0.10 * gloss + colour * 0.35 * rim, 1.0);
  }`;
const FLOOR_VERTEX = `#version 300 es
  layout(location=0) in vec2 corner; uniform mat4 view; uniform float radius; out vec2 at;
  void main() { at = corner * radius * 1.15; gl_Position = view * vec4(at, 0.0, 1.0); }`;
const FLOOR_FRAGMENT = `#version 300 es
  precision highp float; in vec2 at; uniform float radius; uniform vec3 ground; uniform vec3 line; out vec4 result;
  float grid(vec2 p, float step) { vec2 g = abs(fract(p / step - 0.5) - 0.5) / fwidth(p / step); return 1.0 - min(min(g.x, g.y), 1.0); }
  void main() {
    float r = length(at); float wide = fwidth(r);
    float inside = 1.0 - smoothstep(radius - wide, radius + wide, r);
    float edge = 1.0 - smoothstep(0.0, 2.5 * wide, abs(r - radius));
    float lines = max(0.30 * grid(at, 0.05), 0.75 * grid(at, 0.25));
    vec3 colour = mix(ground, line, lines * inside); colour = mix(colour, line, edge);
    result = vec4(colour, max(inside, edge));
  }`;

const css = (name) => {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const value = parseInt(text.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
};

export class Scene {
  constructor(canvas, rig) {
    this.canvas = canvas;
    this.rig = rig;
    this.turn = 0.9;
    this.tilt = 0.42;
    this.distance = 0.62;
    this.target = [0, 0, 0.04];
    this.follow = true;
    this.seen = -Infinity; // the first view is on the rat at once
    this.points = true;
    this.touched = true; // something else than the rats has changed: draw again
    this.listen();
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: true });
    if (this.gl) this.prepare();
    this.recolour();
  }

  recolour() {
    this.touched = true;
    this.colours = { real: css("--real"), virtual: css("--virtual"), ground: css("--stage"), line: css("--grid") };
    this.dark = document.documentElement.dataset.theme === "dark";
    const soften = (c, by) => c.map((x) => x * (1 - by) + by * 0.82);
    this.fur = { real: soften([0.80, 0.55, 0.36], 0.12), virtual: soften([0.34, 0.62, 0.76], 0.12) };
  }

  listen() {
    const { canvas } = this;
    new ResizeObserver(() => (this.touched = true)).observe(canvas);
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.orbit((last[0] - event.clientX) * 0.008, (event.clientY - last[1]) * 0.006);
      last = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointerup", () => (last = null));
    canvas.addEventListener("pointercancel", () => (last = null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    const keys = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08] };
    canvas.addEventListener("keydown", (event) => {
      if (keys[event.key]) this.orbit(...keys[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(0.9);
      else if (event.key === "-") this.zoom(1.1);
      else return;
      event.preventDefault();
    });
  }

  orbit(turn, tilt) {
    this.touched = true;
    this.turn += turn;
    this.tilt = Math.min(1.5, Math.max(0.03, this.tilt + tilt));
  }

  zoom(by) {
    this.touched = true;
    this.distance = Math.min(3, Math.max(0.15, this.distance * by));
  }

  prepare() {
    const { gl } = this;
    this.body = this.program(BODY_VERTEX, BODY_FRAGMENT, ["view", "shadow", "sun", "eye", "shade"]);
    this.floor = this.program(FLOOR_VERTEX, FLOOR_FRAGMENT, ["view", "radius", "ground", "line"]);
    const mesh = sphere();
    this.indexCount = mesh.indices.length;
    this.bodyArray = gl.createVertexArray();
    gl.bindVertexArray(this.bodyArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, mesh.vertices, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 4, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.STATIC_DRAW);
    this.instances = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.instances);
    let offset = 0;
    [3, 4, 4, 3].forEach((count, i) => {
      gl.enableVertexAttribArray(i + 1);
      gl.vertexAttribPointer(i + 1, count, gl.FLOAT, false, INSTANCE_FLOATS * 4, offset * 4);
      gl.vertexAttribDivisor(i + 1, 1);
      offset += count;
    });
    this.floorArray = gl.createVertexArray();
    gl.bindVertexArray(this.floorArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    const most = 2 * (this.rig.geoms.length + 3 * this.rig.keypoints.length + 8);
    this.data = new Float32Array(INSTANCE_FLOATS * most);
  }

  program(vertex, fragment, names) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) console.error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return { program, ...Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
  }

  /** Draws the newest snapshot. */
  draw(snapshot) {
    this.touched = false;
    const { canvas } = this;
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    const height = Math.round(canvas.clientHeight * devicePixelRatio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const rats = [snapshot.real, snapshot.imitation.rat];
    this.aim(rats);
    if (!this.gl) return this.drawFlat(snapshot);
    const { gl } = this;
    gl.viewport(0, 0, width, height);
    gl.clearColor(...this.colours.ground, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const half = Math.floor(width / 2);
    gl.enable(gl.SCISSOR_TEST);
    this.half(rats[0], this.fur.real, 0, half, height, this.points ? snapshot.pose.keypoints_m : null);
    this.half(rats[1], this.fur.virtual, half, width - half, height, null);
    gl.disable(gl.SCISSOR_TEST);
  }

  aim(rats) {
    const roots = rats.filter((rat) => rat.valid && rat.qpos.length >= 3).map((rat) => rat.qpos);
    if (this.follow && roots.length) {
      const middle = [0, 1].map((axis) => roots.reduce((sum, q) => sum + q[axis], 0) / roots.length);
      const share = 1 - Math.exp((this.seen - performance.now()) / FOLLOW_MILLIS);
      [middle[0], middle[1], 0.035].forEach((goal, axis) => (this.target[axis] += (goal - this.target[axis]) * share));
    }
    this.seen = performance.now();
    const flat = Math.cos(this.tilt) * this.distance;
    this.eye = [
      this.target[0] + flat * Math.cos(this.turn),
      this.target[1] + flat * Math.sin(this.turn),
      Math.max(0.01, this.target[2] + Math.sin(this.tilt) * this.distance),
    ];
  }

  view(aspect) {
    return multiply(perspective(2 * Math.atan(HALF_VIEW / Math.min(1, aspect)), aspect, 0.02, 8), lookAt(this.eye, this.target));
  }

  half(rat, fur, left, width, height, keypoints) {
    const { gl } = this;
    gl.viewport(left, 0, width, height);
    gl.scissor(left, 0, width, height);
    const view = this.view(width / height);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(this.floor.program);
    gl.bindVertexArray(this.floorArray);
    gl.uniformMatrix4fv(this.floor.view, false, view);
    gl.uniform1f(this.floor.radius, this.rig.arena_radius_m || 0.5);
    gl.uniform3fv(this.floor.ground, this.dark ? [0.085, 0.115, 0.14] : [0.93, 0.945, 0.955]);
    gl.uniform3fv(this.floor.line, this.colours.line);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    if (!rat.valid) return;
    let count = this.place(rat, fur);
    gl.useProgram(this.body.program);
    gl.bindVertexArray(this.bodyArray);
    gl.uniformMatrix4fv(this.body.view, false, view);
    gl.uniform3fv(this.body.sun, [0.32, -0.28, 0.905]);
    gl.uniform3fv(this.body.eye, this.eye);
    gl.uniform4fv(this.body.shade, this.dark ? [0, 0, 0, 0.42] : [0.12, 0.17, 0.2, 0.20]);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.instances);
    gl.bufferData(gl.ARRAY_BUFFER, this.data.subarray(0, count * INSTANCE_FLOATS), gl.DYNAMIC_DRAW);
    gl.uniform1f(this.body.shadow, 1);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LESS); // overlapping shadows darken once: the first to come has the depth
    gl.drawElementsInstanced(gl.TRIANGLES, this.indexCount, gl.UNSIGNED_SHORT, 0, count);
    gl.uniform1f(this.body.shadow, 0);
    gl.disable(gl.BLEND);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.drawElementsInstanced(gl.TRIANGLES, this.indexCount, gl.UNSIGNED_SHORT, 0, count);
    if (keypoints) {
      // On top of the fur: where the network says the joints are.
      count = 0;
      for (const point of keypoints) {
        if (point[0] !== null) this.put(count++, point, [1, 0, 0, 0], [POINT_RADIUS, POINT_RADIUS, POINT_RADIUS], 0, [1, 0.78, 0.3]);
      }
      gl.clear(gl.DEPTH_BUFFER_BIT);
      gl.bufferData(gl.ARRAY_BUFFER, this.data.subarray(0, count * INSTANCE_FLOATS), gl.DYNAMIC_DRAW);
      gl.drawElementsInstanced(gl.TRIANGLES, this.indexCount, gl.UNSIGNED_SHORT, 0, count);
    }
  }

  place(rat, fur) {
    let count = 0;
    for (const geom of this.rig.geoms) {
      const body = rat.bodies[geom.body];
      if (!body) continue;
      const bodyTurn = [body[3], body[4], body[5], body[6]];
      const at = rotate(bodyTurn, geom.position_m);
      const [a, b, c] = geom.size_m;
      const radii = { sphere: [a, a, a], capsule: [a, a, a], cylinder: [a, a, a * 0.2], ellipsoid: [a, b, c], box: [a, b, c] }[geom.kind];
      const length = geom.kind === "capsule" || geom.kind === "cylinder" ? b : 0;
      const tint = geom.tint[0] < 0 ? fur : geom.tint.map((t, i) => t * 0.6 + fur[i] * 0.4);
      this.put(count++, [body[0] + at[0], body[1] + at[1], body[2] + at[2]], quatMultiply(bodyTurn, geom.quaternion), radii, length, tint);
    }
    return count;
  }

  put(index, at, q, radii, length, colour) {
    this.data.set([at[0], at[1], at[2], q[1], q[2], q[3], q[0], radii[0], radii[1], radii[2], length, colour[0], colour[1], colour[2]], index * INSTANCE_FLOATS);
  }

  drawFlat(snapshot) {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    const view = this.view(width / 2 / height);
    const project = (p, left) => {
      const v = [0, 1, 3].map((r) => view[r] * p[0] + view[4 + r] * p[1] + view[8 + r] * p[2] + view[12 + r]);
      return [left + ((v[0] / v[2] + 1) * width) / 4, ((1 - v[1] / v[2]) * height) / 2];
    };
    const styles = getComputedStyle(document.documentElement);
    const dots = (points, left, colour) => {
      context.fillStyle = styles.getPropertyValue(colour);
      for (const point of points) {
        if (point[0] === null) continue;
        const [x, y] = project(point, left);
        context.beginPath();
        context.arc(x, y, 3 * devicePixelRatio, 0, 7);
        context.fill();
      }
    };
    dots(snapshot.real.bodies, 0, "--real");
    dots(snapshot.imitation.rat.bodies, width / 2, "--virtual");
  }
}
