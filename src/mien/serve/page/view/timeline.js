// Probabilities over time: one lane a class, so that it reads without colours. The answer's lane is full, striped where the
// network is not sure, grey where the view is too poor; less probable classes are faint.

import { colourOf, labelsOf, percent, POOR, seconds, stateOf } from "../words.js";
import { made } from "./cards.js";

const LANE_PX = 22;
const AXIS_PX = 22;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];

export class Timeline {
  /** @param seek called with a time in seconds where the user points; see `seekable`. */
  constructor(seek) {
    this.section = document.getElementById("timeline");
    this.canvas = document.getElementById("lanes");
    this.slider = document.getElementById("seek");
    this.seekLabel = document.getElementById("seek-label");
    this.courseRows = document.getElementById("course-rows");
    this.course = document.getElementById("course");
    this.seek = seek;
    this.reset();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.canvas.addEventListener("pointerdown", (event) => this.pointed(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.pointed(event));
    this.course.addEventListener("toggle", () => this.tell());
  }

  /** Begin anew. @param title what it is of. @param canSeek whether a time can be chosen. */
  reset({ title = "", canSeek = false } = {}) {
    this.points = [];
    this.span = [0, 1];
    this.now = null;
    this.canSeek = canSeek;
    this.seekLabel.hidden = !canSeek;
    this.canvas.classList.toggle("seekable", canSeek);
    document.getElementById("timeline-of").textContent = title;
    this.courseRows.replaceChildren();
  }

  /** Show rows of one face, one a frame in order of time, over a span of seconds, with a mark at `now`. */
  show(points, span, now = null) {
    this.points = points;
    this.span = span;
    this.now = now;
    this.section.hidden = false;
    [this.slider.min, this.slider.max] = span;
    this.draw();
    this.tell();
  }

  mark(now) {
    this.now = now;
    this.slider.value = String(now);
    this.slider.setAttribute("aria-valuetext", seconds(now));
    this.draw();
  }

  pointed(event) {
    if (!this.canSeek) return;
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - this.gutter) / (box.width - this.gutter);
    const time = this.span[0] + Math.min(1, Math.max(0, share)) * (this.span[1] - this.span[0]);
    this.seek(time);
  }

  draw() {
    const labels = this.points.length ? labelsOf(this.points[0]) : [];
    if (!labels.length || !this.canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, labels.length * LANE_PX + AXIS_PX];
    this.canvas.style.height = `${height}px`;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const ink = { text: style.color, line: style.getPropertyValue("--line"), back: style.getPropertyValue("--card") };
    this.gutter = 74;
    const place = (time) => this.gutter + ((time - this.span[0]) / (this.span[1] - this.span[0])) * (width - this.gutter);
    this.axis(pen, labels.length * LANE_PX, place, width, ink);
    const usual = this.usualStep();
    labels.forEach((label, lane) => this.lane(pen, label, lane, place, width, ink, usual));
    if (this.now !== null) {
      pen.fillStyle = ink.text;
      pen.fillRect(place(this.now) - 1, 0, 2, labels.length * LANE_PX);
    }
  }

  axis(pen, top, place, width, ink) {
    const [start, end] = this.span;
    const step = STEPS_S.find((size) => (end - start) / size <= (width - this.gutter) / 60) ?? 1800;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    for (let tick = Math.ceil(start / step - 1e-9); tick * step <= end + 1e-9; tick++) {
      const x = place(tick * step);
      pen.fillStyle = ink.line;
      pen.fillRect(x, 0, 1, top + 4);
      pen.fillStyle = ink.text;
      const text = step < 1 ? (tick * step).toFixed(1) : String(tick * step);
      pen.fillText(`${text} s`, Math.min(x, width - 14), top + AXIS_PX / 2 + 2);
    }
  }

  lane(pen, label, lane, place, width, ink, usual) {
    const base = (lane + 1) * LANE_PX;
    pen.font = "12.5px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillStyle = ink.text;
    pen.fillText(label, 0, base - LANE_PX / 2 + 1);
    pen.fillStyle = ink.line;
    pen.fillRect(this.gutter, base - 1, width - this.gutter, 1);
    this.points.forEach((row, index) => {
      const next = this.points[index + 1]?.time_s ?? row.time_s + usual;
      const end = next - row.time_s > 2.5 * usual ? row.time_s + usual : next;
      const [left, right] = [Math.max(this.gutter, place(row.time_s)), Math.min(width, place(end))];
      if (right <= left) return;
      const tall = (LANE_PX - 4) * row[`p_${label}`];
      fillStep(pen, [left, base - 1 - tall, right - left + 0.4, tall], stateOf(row), label, row.expression, ink);
    });
  }

  /** The middle distance of two frames, seconds. */
  usualStep() {
    const gaps = this.points.slice(1).map((row, index) => row.time_s - this.points[index].time_s);
    return gaps.sort((a, b) => a - b)[gaps.length >> 1] || 0.1;
  }

  /** The same in words: one line for each stretch with one answer. Only while somebody looks. */
  tell() {
    if (!this.course.open) return;
    const lines = stretches(this.points).map(({ from, to, expression, mean, state }) => {
      const line = document.createElement("tr");
      const sure = { sure: "sure", unsure: "not sure", poor: "cannot be judged" }[state];
      for (const text of [seconds(from), seconds(to), expression, percent(mean), sure]) line.append(made("td", "", text));
      return line;
    });
    this.courseRows.replaceChildren(...lines);
  }

  hide() {
    this.section.hidden = true;
  }
}

function fillStep(pen, [left, top, width, height], state, label, answer, ink) {
  if (height < 0.7) return;
  const colour = state === "poor" ? POOR : colourOf(label);
  pen.globalAlpha = label === answer ? 1 : 0.35;
  pen.fillStyle = label === answer && state === "unsure" ? striped(pen, colour, ink.back) : colour;
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = label === answer ? 0.9 : 0.4;
  pen.fillStyle = ink.text;
  if (height > 2) pen.fillRect(left, top, width, 1);
  pen.globalAlpha = 1;
}

const patterns = new Map();

/** Slanted stripes of a colour on the background. */
function striped(pen, colour, back) {
  const key = `${colour} ${back}`;
  if (!patterns.has(key)) {
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const brush = tile.getContext("2d");
    brush.fillStyle = back;
    brush.fillRect(0, 0, 8, 8);
    brush.strokeStyle = colour;
    brush.lineWidth = 3;
    for (const shift of [-8, 0, 8]) {
      brush.beginPath();
      brush.moveTo(shift - 2, 10);
      brush.lineTo(shift + 10, -2);
      brush.stroke();
    }
    patterns.set(key, tile);
  }
  return pen.createPattern(patterns.get(key), "repeat");
}

/** Runs of frames with one answer and one state. */
function stretches(points) {
  const runs = [];
  for (const row of points) {
    const state = stateOf(row);
    const last = runs.at(-1);
    if (last && last.expression === row.expression && last.state === state) {
      last.to = row.time_s;
      last.values.push(row.confidence);
    } else {
      runs.push({ from: row.time_s, to: row.time_s, expression: row.expression, state, values: [row.confidence] });
    }
  }
  return runs.map((run) => ({ ...run, mean: run.values.reduce((sum, value) => sum + value, 0) / run.values.length }));
}
