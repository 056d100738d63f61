// Arithmetic on boxes [left, top, right, bottom], as `mien/faces/boxes.py`.

function area(box) {
  return Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
}

/** Intersection over union of two boxes; 0 where both are empty. */
export function iou(first, second) {
  const shared = area([
    Math.max(first[0], second[0]),
    Math.max(first[1], second[1]),
    Math.min(first[2], second[2]),
    Math.min(first[3], second[3]),
  ]);
  const union = area(first) + area(second) - shared;
  return union > 0 ? shared / union : 0;
}

/** Indices of the boxes kept, best score first: one that overlaps a better one by more than `threshold` goes. */
export function nonMaximumSuppression(boxes, scores, threshold) {
  let order = boxes.map((_, index) => index).sort((a, b) => scores[b] - scores[a] || a - b);
  const kept = [];
  while (order.length) {
    const best = order[0];
    kept.push(best);
    order = order.slice(1).filter((index) => iou(boxes[best], boxes[index]) <= threshold);
  }
  return kept;
}
