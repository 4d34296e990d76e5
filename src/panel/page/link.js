// The connection: HTTP requests with acknowledgement, and one WebSocket that comes back by itself.

const RETRY_MILLIS = [250, 500, 1000, 2000, 4000];

export class Refused extends Error {
  constructor(status, body) {
    super(body?.message ?? `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

export async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

export async function post(path, body, headers = {}) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Gives a command; a lost connection is tried once more under the same key, so that nothing is done twice. */
export async function command(body) {
  const headers = { "idempotency-key": key() };
  try {
    return await post("/api/v1/commands", body, headers);
  } catch (error) {
    if (error instanceof Refused) throw error;
    return post("/api/v1/commands", body, headers);
  }
}

/** An image with what was found in that very frame; the layout is described in the daemon's live.rs. */
function image(data) {
  const [camera, count] = new Uint8Array(data, 0, 2);
  const floats = 4 + 5 * count;
  const numbers = new Float32Array(data.slice(2, 2 + 4 * floats));
  const group = (from, size) => Array.from({ length: count }, (_, i) => numbers.subarray(from + i * size, from + (i + 1) * size));
  const marks = { crop: numbers.subarray(0, 4), found: group(4, 3), back: group(4 + 3 * count, 2) };
  return { camera, marks, blob: new Blob([new Uint8Array(data, 2 + 4 * floats)], { type: "image/jpeg" }) };
}

/**
 * Keeps a WebSocket open. `on.numbers(object, drawn)`, `on.spikes(list, boardNanos)`, `on.image({ camera, marks, blob })`,
 * `on.link(open)`. `drawn` is to be called when the numbers are on the screen: only then the daemon sends its newest, so that nothing queues for a slow page.
 */
export function live(on) {
  let attempt = 0;
  const open = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      attempt = 0;
      on.link(true);
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return on.image(image(data));
      const news = JSON.parse(data);
      if (news.spikes) return on.spikes(news.spikes, news.board_nanos);
      on.numbers(news, () => socket.readyState === WebSocket.OPEN && socket.send("drawn"));
    };
    socket.onclose = () => {
      on.link(false);
      setTimeout(open, RETRY_MILLIS[Math.min(attempt++, RETRY_MILLIS.length - 1)]);
    };
  };
  open();
}
