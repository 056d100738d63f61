// Boxes and labels over a picture, as `mien/pipeline/overlay.py`: solid is a sure answer, dashed with "?" an uncertain
// one, grey and dashed with the reason a face too poor to judge.

import { areaOf, colourOf, inkOn, percent, POOR, reasonsOf, stateOf } from "../words.js";

const TEXT_PX = 14;
const CROWD = 8;

/**
 * Draw rows onto a canvas that lies over the picture.
 * @param size {width, height} of the picture in its own pixels. @param mirrored as in a mirror, text upright.
 * @param nameOf gives the short name of a row's face. @param chosen index of the row that is pointed at.
 */
export function drawFaces(canvas, rows, size, { mirrored = false, nameOf, chosen = -1 }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  const scale = width / size.width;
  const boxes = rows.map((row) => {
    const [left, right] = [row.x1_px * scale, row.x2_px * scale];
    const [top, bottom] = [row.y1_px * scale, row.y2_px * scale];
    return mirrored ? [width - right, top, width - left, bottom] : [left, top, right, bottom];
  });
  // Large faces last, so that their boxes lie over those of small ones behind; labels over all boxes.
  const order = rows.map((_, index) => index).sort((a, b) => areaOf(rows[a]) - areaOf(rows[b]));
  for (const index of order) drawBox(pen, rows[index], boxes[index], index === chosen);
  const labels = [];
  for (const index of order.reverse()) {
    const others = boxes.filter((_, other) => other !== index);
    labels.push(drawLabel(pen, rows[index], boxes[index], [width, height], [...labels, ...others], nameOf, boxes.length));
  }
}

function lookOf(row) {
  return stateOf(row) === "poor" ? POOR : colourOf(row.expression);
}

function drawBox(pen, row, [left, top, right, bottom], thick) {
  const line = thick ? 5 : 3;
  pen.setLineDash([]);
  pen.strokeStyle = "rgba(0, 0, 0, 0.75)";
  pen.lineWidth = line + 2;
  if (stateOf(row) !== "sure") pen.setLineDash([9, 7]);
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.strokeStyle = lookOf(row);
  pen.lineWidth = line;
  pen.strokeRect(left, top, right - left, bottom - top);
}

function drawLabel(pen, row, box, size, taken, nameOf, boxes) {
  const state = stateOf(row);
  const name = nameOf(row);
  const doubt = state === "unsure" ? "?" : "";
  const answer = state === "poor" ? reasonsOf(row)[0] : `${row.expression}${doubt} ${percent(row.confidence)}`;
  pen.font = `600 ${TEXT_PX}px system-ui, sans-serif`;
  // A narrow box, and in a crowd one narrower than its label, gets the name alone; the rest stands beside the picture.
  const width = box[2] - box[0];
  const small = width < 40 || (boxes > CROWD && width < pen.measureText(`${name}  ${answer}`).width);
  const text = small ? `${name}${doubt}` : `${name}  ${answer}`;
  const chip = freePlace(box, [pen.measureText(text).width + 12, TEXT_PX + 8], size, taken);
  pen.fillStyle = lookOf(row);
  pen.fillRect(chip[0], chip[1], chip[2] - chip[0], chip[3] - chip[1]);
  pen.fillStyle = state === "poor" ? "#000000" : inkOn(row.expression);
  pen.textBaseline = "middle";
  pen.fillText(text, chip[0] + 6, (chip[1] + chip[3]) / 2 + 0.5);
  return chip;
}

/** Above the box, else inside it at the top, else below; moved inside the picture; the place that covers least. */
function freePlace([left, top, right, bottom], [width, height], [limitX, limitY], taken) {
  const places = [];
  for (const y of [top - height, top, bottom, bottom - height]) {
    for (const start of [left - 1.5, right - width + 1.5]) {
      const x = Math.min(Math.max(0, start), Math.max(0, limitX - width));
      if (y >= 0 && y <= limitY - height) places.push([x, y, x + width, y + height]);
    }
  }
  if (!places.length) return [Math.max(0, left), Math.max(0, top), Math.max(0, left) + width, Math.max(0, top) + height];
  const covered = (place) => taken.reduce((sum, other) => sum + shared(place, other), 0);
  return places.reduce((best, place) => (covered(place) < covered(best) ? place : best));
}

function shared(first, second) {
  const width = Math.min(first[2], second[2]) - Math.max(first[0], second[0]);
  const height = Math.min(first[3], second[3]) - Math.max(first[1], second[1]);
  return Math.max(0, width) * Math.max(0, height);
}
