// Results as rows with the columns of `mien/pipeline/table.py`.

import { rounded } from "./numbers.js";

const EXPRESSIONS = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"];

/** Where each expression lies on the circumplex, [valence, arousal], as `mien/labels/circumplex.py`. */
const CIRCUMPLEX = {
  neutral: [0.0, 0.0],
  happy: [0.83, 0.53],
  surprise: [0.16, 0.89],
  sad: [-0.65, -0.27],
  angry: [-0.52, 0.58],
  disgust: [-0.89, 0.45],
  fear: [-0.34, 0.64],
  contempt: [-0.53, -0.07],
};

/** A row without values for a model with these classes; its keys are the columns, in order. */
function blankRow(labels) {
  const own = labels.filter((label) => !EXPRESSIONS.includes(label));
  const names = [
    ...["path", "frame", "time_s", "face", "track_id", "x1_px", "y1_px", "x2_px", "y2_px", "detection_score"],
    ...["expression", "confidence", "uncertain", "reliable", "reason"],
    ...EXPRESSIONS.map((label) => `p_${label}`),
    ...["yaw_rad", "pitch_rad", "roll_rad", "valence", "arousal", "affect", "error"],
    ...own.map((label) => `p_${label}`),
  ];
  return Object.fromEntries(names.map((name) => [name, null]));
}

/** The rows of one picture or frame; one without a face where there is none. */
export function rowsOf(faces, labels, path, frame, timeS) {
  const blank = { ...blankRow(labels), path, frame, time_s: rounded(timeS, 6) };
  return faces.length ? faces.map((face, index) => ({ ...blank, ...rowOf(face, index, labels) })) : [blank];
}

function rowOf({ box, score, probabilities, uncertain, reason, pose }, index, labels) {
  const row = { face: index, detection_score: rounded(score, 4) };
  ["x1_px", "y1_px", "x2_px", "y2_px"].forEach((name, k) => (row[name] = rounded(box[k], 2)));
  const best = probabilities.indexOf(Math.max(...probabilities));
  Object.assign(row, { expression: labels[best], confidence: rounded(probabilities[best], 6) });
  labels.forEach((label, k) => (row[`p_${label}`] = rounded(probabilities[k], 6)));
  Object.assign(row, { uncertain, reliable: !reason, reason: reason || null });
  ["yaw_rad", "pitch_rad", "roll_rad"].forEach((name, k) => (row[name] = rounded(pose[k], 4)));
  if (labels.every((label) => label in CIRCUMPLEX)) {
    const place = (axis) => labels.reduce((sum, label, k) => sum + probabilities[k] * CIRCUMPLEX[label][axis], 0);
    Object.assign(row, { valence: rounded(place(0), 4), arousal: rounded(place(1), 4), affect: "derived" });
  }
  return row;
}
