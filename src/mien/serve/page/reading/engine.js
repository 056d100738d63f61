// The reading in this browser, seen from the page: a worker that answers one picture after the other.

import { rowsOf } from "./rows.js";

/** How a picture is decoded: its own colours, turned upright. */
export const DECODING = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

export class Engine {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.next = 0;
    this.worker.onmessage = ({ data }) => this.settle(data);
    this.worker.onerror = (event) => {
      const error = event.message || "the worker stopped";
      for (const id of [...this.waiting.keys()]) this.settle({ id, error });
    };
  }

  /** Load both networks; an error where this browser, or what is served, cannot. */
  static async start(token) {
    const engine = new Engine();
    try {
      const { labels } = await engine.ask({ kind: "load", token });
      engine.labels = labels;
      return engine;
    } catch (error) {
      engine.worker.terminate();
      throw error;
    }
  }

  /**
   * The rows of a bitmap, which is used up, with its size, the faces' points and the milliseconds that it took.
   * @param frame, timeS, live of a camera: index, seconds since its start, and the number of its session.
   */
  async read(bitmap, path, { frame = 0, timeS = null, live = null } = {}) {
    const { faces, width, height, ms } = await this.ask({ kind: "read", bitmap, live }, [bitmap]);
    const rows = rowsOf(faces, this.labels, path, frame, timeS);
    return { rows, width, height, ms, points: faces.map((face) => face.points) };
  }

  ask(message, transfer = []) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message }, transfer);
    });
  }

  settle({ id, error, ...answer }) {
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  }
}
