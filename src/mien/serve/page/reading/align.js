// Align a face by a similarity transform onto a five-point template, as `mien/transforms/align.py`.
// A transform [[a, b, tx], [c, d, ty]] takes (x, y) to (a x + b y + tx, c x + d y + ty).

import { roundEven } from "./numbers.js";
import { blank, cut, reduced } from "./pixels.js";

const { fround } = Math;

/** The similarity transform that takes `source` points closest to `target` points, in least squares. */
export function fitSimilarity(source, target) {
  const [sourceX, sourceY] = mean(source);
  const [targetX, targetY] = mean(target);
  let [real, imaginary, power] = [0, 0, 0];
  source.forEach(([x, y], index) => {
    const [dx, dy] = [x - sourceX, y - sourceY];
    const [wx, wy] = [target[index][0] - targetX, target[index][1] - targetY];
    real += dx * wx + dy * wy;
    imaginary += dx * wy - dy * wx;
    power += dx * dx + dy * dy;
  });
  const [a, b] = [real / power, imaginary / power];
  return [
    [a, -b, targetX - (a * sourceX - b * sourceY)],
    [b, a, targetY - (b * sourceX + a * sourceY)],
  ];
}

/** The inverse of a transform. */
export function inverted([[a, b, tx], [c, d, ty]]) {
  const determinant = a * d - b * c;
  const [ia, ib, ic, id] = [d / determinant, -b / determinant, -c / determinant, a / determinant];
  return [
    [ia, ib, -(ia * tx + ib * ty)],
    [ic, id, -(ic * tx + id * ty)],
  ];
}

/** The transform from pixels of the picture to pixels of a crop of this size, for one face's five points. */
export function imageToCrop(template, points, size) {
  return inverted(fitSimilarity(template, points)).map((row) => row.map((value) => size * value));
}

/** A square crop of a picture, averaged when it shrinks, and the share of it that lies inside the picture. */
export function warp(image, matrix, size) {
  const back = inverted(matrix);
  const at = (x, y) => back.map(([a, b, t]) => a * x + b * y + t);
  const corners = [at(0, 0), at(size, 0), at(0, size), at(size, size)];
  const limits = [image.width, image.height];
  const low = [0, 1].map((k) => within(Math.floor(Math.min(...corners.map((c) => c[k]))) - 2, 0, limits[k] - 1));
  const high = [0, 1].map((k) => within(Math.ceil(Math.max(...corners.map((c) => c[k]))) + 2, low[k] + 1, limits[k]));
  let region = cut(image, low[0], low[1], high[0], high[1]);
  // Shrink by a whole factor first, so that bilinear sampling below does not skip source pixels.
  const factor = Math.max(1, Math.trunc(Math.sqrt(Math.abs(back[0][0] * back[1][1] - back[0][1] * back[1][0]))));
  if (factor > 1) region = reduced(region, factor, factor);
  const crop = blank(size, size);
  let inside = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [px, py] = at(x + 0.5, y + 0.5);
      if (px >= 0 && py >= 0 && px <= image.width && py <= image.height) inside += 1;
      sample(region, (px - low[0]) / factor - 0.5, (py - low[1]) / factor - 0.5, crop.data, 4 * (y * size + x));
    }
  }
  return { crop, inside: inside / (size * size) };
}

/** One pixel between four, counted from pixel centres, with the border repeated. */
function sample(image, pointX, pointY, target, place) {
  const x = within(pointX, 0, image.width - 1);
  const y = within(pointY, 0, image.height - 1);
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, bottom] = [Math.min(left + 1, image.width - 1), Math.min(top + 1, image.height - 1)];
  const [across, down] = [fround(x - left), fround(y - top)];
  const [rest, over] = [fround(1 - across), fround(1 - down)];
  const [upper, lower] = [4 * top * image.width, 4 * bottom * image.width];
  for (let channel = 0; channel < 3; channel++) {
    const value = (row, column) => image.data[row + 4 * column + channel];
    const high = fround(fround(value(upper, left) * rest) + fround(value(upper, right) * across));
    const low = fround(fround(value(lower, left) * rest) + fround(value(lower, right) * across));
    target[place + channel] = roundEven(fround(fround(high * over) + fround(low * down)));
  }
}

function mean(points) {
  return [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
}

function within(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
