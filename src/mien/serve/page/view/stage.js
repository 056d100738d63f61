// The picture, clip or camera, with the faces drawn over it.

import { drawFaces } from "./overlay.js";

/** What stands where a picture or clip cannot be shown. */
export function missing(text) {
  return Object.assign(document.createElement("p"), { className: "missing", textContent: text });
}

export class Stage {
  constructor() {
    this.frame = document.getElementById("frame");
    this.media = document.getElementById("media");
    this.overlay = document.getElementById("overlay");
    this.last = null;
    new ResizeObserver(() => this.redraw()).observe(this.frame);
  }

  /** Put an <img> or <video> there; its size decides the frame's shape. */
  show(element, { width, height, mirrored = false }) {
    this.media.replaceChildren(element);
    element.classList.toggle("mirrored", mirrored);
    this.last = null;
    this.shape(width, height);
    this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
  }

  shape(width, height) {
    this.frame.style.setProperty("--ratio", String(width / height));
  }

  /** Draw rows; see `drawFaces`. */
  draw(rows, size, options) {
    this.last = { rows: rows.filter((row) => row.face !== null), size, options };
    this.redraw();
  }

  /** Point at one of the faces, or at none. */
  point(index) {
    if (!this.last) return;
    this.last.options = { ...this.last.options, chosen: index };
    this.redraw();
  }

  redraw() {
    if (this.last) drawFaces(this.overlay, this.last.rows, this.last.size, this.last.options);
  }

  clear() {
    this.last = null;
    this.media.replaceChildren();
  }
}
