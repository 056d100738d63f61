// Coarse head pose from five points, by fitting a rigid mean face, as `mien/faces/pose.py`.

const MEAN_FACE = [
  [-0.5, -0.44, 0.0],
  [0.5, -0.44, 0.0],
  [0.0, 0.1, -0.55],
  [-0.4, 0.56, -0.1],
  [0.4, 0.56, -0.1],
];
const CENTRE = [0, 1, 2].map((k) => MEAN_FACE.reduce((sum, point) => sum + point[k], 0) / 5);
const MODEL = MEAN_FACE.map((point) => point.map((value, k) => value - CENTRE[k]));
const SOLVER = pseudoInverse(MODEL);

/** Yaw, pitch and roll of a face in radians, from its five points. */
export function poseFromPoints(points) {
  const centre = [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / 5);
  // Affine camera: points = model @ A; the columns of A are scaled rows of the rotation.
  const [right, down] = [0, 1].map((k) =>
    SOLVER.map((row) => row.reduce((sum, value, index) => sum + value * (points[index][k] - centre[k]), 0)),
  );
  const scale = Math.max((Math.hypot(...right) + Math.hypot(...down)) / 2, 1e-9);
  const [first, second] = orthonormal(right.map((v) => v / scale), down.map((v) => v / scale));
  const forward = cross(first, second);
  const nose = [-first[2], -second[2], -forward[2]];
  const pitch = -Math.asin(Math.min(1, Math.max(-1, nose[1])));
  const yaw = Math.atan2(nose[0], Math.max(-nose[2], 1e-9));
  return [yaw, pitch, Math.atan2(second[0], first[0])];
}

/** The nearest pair of orthonormal rows: (R R^T)^(-1/2) R. */
function orthonormal(first, second) {
  const [a, b, d] = [dot(first, first), dot(first, second), dot(second, second)];
  const root = Math.sqrt(Math.max(a * d - b * b, 1e-18));
  const trace = Math.sqrt(a + d + 2 * root);
  // The root of [[a, b], [b, d]] is [[a + root, b], [b, d + root]] / trace; its inverse follows.
  const [p, q, s] = [(a + root) / trace, b / trace, (d + root) / trace];
  const determinant = p * s - q * q;
  return [
    first.map((value, k) => (s * value - q * second[k]) / determinant),
    first.map((value, k) => (p * second[k] - q * value) / determinant),
  ];
}

function dot(a, b) {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** (M^T M)^-1 M^T of a matrix (5, 3): three rows of five. */
function pseudoInverse(matrix) {
  const column = (k) => matrix.map((row) => row[k]);
  const square = [0, 1, 2].map((i) => [0, 1, 2].map((j) => dot(column(i), column(j))));
  const [a, b, c] = square;
  const determinant = dot(a, cross(b, c));
  const inverse = [cross(b, c), cross(c, a), cross(a, b)].map((row) => row.map((value) => value / determinant));
  return inverse.map((_, i) => matrix.map((row) => [0, 1, 2].reduce((sum, j) => sum + inverse[j][i] * row[j], 0)));
}
