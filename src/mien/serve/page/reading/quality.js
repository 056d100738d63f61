// Whether a face is good enough to say anything, as `mien/faces/quality.py`; limits as in docs/conventions.md.

import { general } from "./numbers.js";

export const LIMITS = {
  min_size_px: 24,
  min_sharpness: 0.012,
  min_brightness: 0.12,
  max_brightness: 0.92,
  min_contrast: 0.04,
  max_yaw_rad: 0.9,
  max_pitch_rad: 0.8,
  min_inside: 0.7,
  min_detection_score: 0.75,
};
export const LUMA = [0.299, 0.587, 0.114];

/** What speaks against a face, several reasons joined by "; "; "" where nothing does. */
export function reasonsAgainst(crop, inside, face, pose, limits = LIMITS) {
  const [left, top, right, bottom] = face.box;
  const size = Math.min(right - left, bottom - top);
  const luma = lumaOf(crop);
  const [bright, contrast] = meanAndSpread(luma);
  const sharp = sharpness(luma, crop.width, contrast);
  const [yaw, pitch] = [Math.abs(pose[0]), Math.abs(pose[1])];
  const checks = [
    [size < limits.min_size_px, size, "too small", "px", limits.min_size_px],
    [sharp < limits.min_sharpness, sharp, "blurred", "", limits.min_sharpness],
    [bright < limits.min_brightness, bright, "too dark", "", limits.min_brightness],
    [bright > limits.max_brightness, bright, "too bright", "", limits.max_brightness],
    [contrast < limits.min_contrast, contrast, "too little contrast", "", limits.min_contrast],
    [yaw > limits.max_yaw_rad, yaw, "turned away", " rad", limits.max_yaw_rad],
    [pitch > limits.max_pitch_rad, pitch, "tilted up or down", " rad", limits.max_pitch_rad],
    [inside < limits.min_inside, inside, "cut off by the border", "", limits.min_inside],
    [face.score < limits.min_detection_score, face.score, "weak detection", "", limits.min_detection_score],
  ];
  return checks
    .filter(([fails]) => fails)
    .map(([, value, text, unit, limit]) => `${text} (${general(value, 3)}${unit}, limit ${general(limit, 6)}${unit})`)
    .join("; ");
}

/** Luma of each pixel, 0 to 1. */
function lumaOf(crop) {
  const luma = new Float32Array(crop.width * crop.height);
  for (let at = 0; at < luma.length; at++) {
    const [red, green, blue] = crop.data.subarray(4 * at, 4 * at + 3);
    luma[at] = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) / 255;
  }
  return luma;
}

/** Fine detail against the crop's own contrast: see `sharpness` in Python. */
export function sharpness(luma, side, contrast) {
  const margin = Math.floor((side - 2) / 8);
  const bends = [];
  for (let y = 1 + margin; y < side - 1 - margin; y++) {
    for (let x = 1 + margin; x < side - 1 - margin; x++) {
      const at = y * side + x;
      bends.push((luma[at - side] + luma[at + side] + luma[at - 1] + luma[at + 1]) / 4 - luma[at]);
    }
  }
  return ((side / 64) ** 2 * meanAndSpread(bends)[1]) / (contrast + 0.05);
}

function meanAndSpread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return [mean, Math.sqrt(square)];
}
