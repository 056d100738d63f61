// The face detector YuNet, searched at more than one scale, as `mien/faces/yunet.py`.
// A face: {box: [left, top, right, bottom], score, points: [[x, y], ...5]}, pixels of the picture.

import { nonMaximumSuppression } from "./boxes.js";
import { roundEven } from "./numbers.js";
import { cut, resized } from "./pixels.js";

const STRIDES = [8, 16, 32];
const GRAIN_PX = 32;
const COARSE_SIDE_PX = 640;
const ONE_PASS_RATIO = 1.6;
const MAX_ENLARGEMENT = 2.0;
const FRAMED_SIDE_PX = 320;
const FACE_AT_NETWORK_PX = 14.0;
const MAX_FINE_PIXELS = 12_000_000;
const NMS_IOU = 0.3;

export class YuNet {
  /** @param run takes {data: Float32Array, dims} and gives the outputs by name, as flat arrays. */
  constructor(run, scoreThreshold = 0.7, minFacePx = 24) {
    this.run = run;
    this.scoreThreshold = scoreThreshold;
    this.minFacePx = minFacePx;
  }

  /** The faces of a picture, best score first. */
  async detect(image) {
    const found = [];
    for (const scale of this.scales(image.height, image.width)) {
      const small = resized(image, sized(image.width, scale), sized(image.height, scale));
      found.push(...(await this.search(small, image.width, image.height)));
    }
    const faces = this.merge(found);
    return faces.length ? faces : this.inFrame(image);
  }

  /** A face that fills its picture is only found with some room around it: once more, small, in a black frame. */
  async inFrame(image) {
    const scale = FRAMED_SIDE_PX / ((Math.max(image.width, image.height) * 5) / 3);
    const [width, height] = [sized(image.width, scale), sized(image.height, scale)];
    const margin = roundEven(Math.max(width, height) / 3);
    const framed = cut(resized(image, width, height), -margin, -margin, width + margin, height + margin);
    const across = image.width / width;
    const down = image.height / height;
    const found = await this.search(framed, framed.width, framed.height);
    const back = ([x, y]) => [(x - margin) * across, (y - margin) * down];
    return this.merge(found.map((face) => moved(face, back)));
  }

  /** The faces in a square of a picture; what lies beyond the picture is black. */
  async searchSquare(image, corner, side, networkPx) {
    const [left, top] = [Math.floor(corner[0]), Math.floor(corner[1])];
    const size = Math.ceil(side);
    const square = resized(cut(image, left, top, left + size, top + size), networkPx, networkPx);
    const ratio = size / networkPx;
    const found = await this.search(square, networkPx, networkPx);
    return this.merge(found.map((face) => moved(face, ([x, y]) => [x * ratio + left, y * ratio + top])));
  }

  /** The scales at which a picture of this size is searched, coarse first. */
  scales(height, width) {
    const coarse = Math.min(MAX_ENLARGEMENT, COARSE_SIDE_PX / Math.max(height, width));
    const wanted = Math.min(MAX_ENLARGEMENT, FACE_AT_NETWORK_PX / this.minFacePx);
    const fine = Math.min(wanted, Math.sqrt(MAX_FINE_PIXELS / (height * width)));
    return fine > ONE_PASS_RATIO * coarse ? [coarse, fine] : [Math.max(coarse, fine)];
  }

  /** How many pixels the network sees to search a picture of this size. */
  pixels(height, width) {
    return this.scales(height, width).reduce((sum, scale) => sum + scale ** 2 * height * width, 0);
  }

  async search(image, width, height) {
    const [across, down] = [padded(image.width), padded(image.height)];
    const outputs = await this.run({ data: planes(image, across, down), dims: [1, 3, down, across] });
    return this.decode(outputs, across, width / image.width, height / image.height);
  }

  /** Candidates over the threshold from the three strides, before suppression. */
  decode(outputs, width, ratioX, ratioY) {
    const faces = [];
    for (const stride of STRIDES) {
      const [cls, obj] = [outputs[`cls_${stride}`], outputs[`obj_${stride}`]];
      const [bbox, kps] = [outputs[`bbox_${stride}`], outputs[`kps_${stride}`]];
      const columns = Math.floor(width / stride);
      for (let cell = 0; cell < cls.length; cell++) {
        const score = Math.fround(Math.sqrt(unit(cls[cell]) * unit(obj[cell])));
        if (score < Math.fround(this.scoreThreshold)) continue;
        const [column, row] = [cell % columns, Math.floor(cell / columns)];
        const place = (x, y) => [(column + x) * stride * ratioX, (row + y) * stride * ratioY];
        const [x, y, w, h] = bbox.subarray(4 * cell, 4 * cell + 4);
        const [halfX, halfY] = [Math.exp(w) / 2, Math.exp(h) / 2];
        const points = [0, 1, 2, 3, 4].map((k) => place(kps[10 * cell + 2 * k], kps[10 * cell + 2 * k + 1]));
        faces.push({ box: [...place(x - halfX, y - halfY), ...place(x + halfX, y + halfY)], score, points });
      }
    }
    return faces;
  }

  /** Without what was found twice, and what is too small. */
  merge(faces) {
    const large = faces.filter(({ box }) => Math.min(box[2] - box[0], box[3] - box[1]) >= this.minFacePx / 2);
    const kept = nonMaximumSuppression(large.map((face) => face.box), large.map((face) => face.score), NMS_IOU);
    return kept.map((index) => large[index]);
  }
}

function unit(value) {
  return Math.min(1, Math.max(0, value));
}

function sized(side, scale) {
  return Math.max(1, roundEven(side * scale));
}

function padded(side) {
  return Math.ceil(side / GRAIN_PX) * GRAIN_PX;
}

function moved(face, move) {
  const [left, top, right, bottom] = face.box;
  return { box: [...move([left, top]), ...move([right, bottom])], score: face.score, points: face.points.map(move) };
}

/** Blue, green, red planes as floats: the network was trained on that order. */
function planes(image, width, height) {
  const blob = new Float32Array(3 * width * height);
  const plane = width * height;
  for (let y = 0; y < image.height; y++) {
    let at = 4 * y * image.width;
    for (let to = y * width, end = to + image.width; to < end; to++, at += 4) {
      blob[to] = image.data[at + 2];
      blob[plane + to] = image.data[at + 1];
      blob[2 * plane + to] = image.data[at];
    }
  }
  return blob;
}
