// Pictures as bytes {data, width, height}, four bytes a pixel (red, green, blue, unused), made smaller or larger in the
// same whole numbers as Pillow does it, so that the networks see here what they see in Python.

const FIXED_BITS = 22;

/** A black picture. */
export function blank(width, height) {
  return { data: new Uint8ClampedArray(4 * width * height), width, height };
}

/** The part of a picture from (left, top) to (right, bottom), whole pixels; black where it reaches over the border. */
export function cut(image, left, top, right, bottom) {
  const part = blank(right - left, bottom - top);
  const [first, last] = [Math.max(left, 0), Math.min(right, image.width)];
  if (last <= first) return part;
  for (let y = Math.max(top, 0); y < Math.min(bottom, image.height); y++) {
    const row = image.data.subarray(4 * (y * image.width + first), 4 * (y * image.width + last));
    part.data.set(row, 4 * ((y - top) * part.width + first - left));
  }
  return part;
}

/** The mean of each block of `across` x `down` pixels; blocks at the right and lower border may be smaller. */
export function reduced(image, across, down) {
  const result = blank(Math.ceil(image.width / across), Math.ceil(image.height / down));
  for (let y = 0; y < result.height; y++) {
    const [top, bottom] = [y * down, Math.min((y + 1) * down, image.height)];
    for (let x = 0; x < result.width; x++) {
      const [left, right] = [x * across, Math.min((x + 1) * across, image.width)];
      meanOf(image, left, top, right, bottom, result.data, 4 * (y * result.width + x));
    }
  }
  return result;
}

function meanOf(image, left, top, right, bottom, target, place) {
  const { data, width } = image;
  const count = (right - left) * (bottom - top);
  // The sum is divided by a multiplication with 2^24 / count; half of count is added for rounding.
  const share = Math.trunc(Math.fround(2 ** 24 / count));
  const half = Math.floor(count / 2);
  let [red, green, blue] = [half, half, half];
  for (let y = top; y < bottom; y++) {
    for (let at = 4 * (y * width + left), end = 4 * (y * width + right); at < end; at += 4) {
      red += data[at];
      green += data[at + 1];
      blue += data[at + 2];
    }
  }
  target[place] = Math.floor((red * share) / 2 ** 24);
  target[place + 1] = Math.floor((green * share) / 2 ** 24);
  target[place + 2] = Math.floor((blue * share) / 2 ** 24);
}

/** A picture at another size: averaged over the source pixels when it shrinks, bilinear when it grows. */
export function resized(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const across = Math.max(1, Math.floor(image.width / width / 2));
  const down = Math.max(1, Math.floor(image.height / height / 2));
  const source = across > 1 || down > 1 ? reduced(image, across, down) : image;
  const columns = triangles(source.width, Math.fround(image.width / across), width);
  const rows = triangles(source.height, Math.fround(image.height / down), height);
  const narrowed = width === image.width ? source : weighted(source, columns, width, source.height, true);
  return height === image.height ? narrowed : weighted(narrowed, rows, width, height, false);
}

/** For each target pixel the first source pixel and the weights, in fixed point, of a triangle filter. */
function triangles(count, extent, size) {
  const scale = extent / size;
  const widening = Math.max(1, scale);
  const places = [];
  for (let target = 0; target < size; target++) {
    const centre = (target + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - widening + 0.5));
    const last = Math.min(count, Math.trunc(centre + widening + 0.5));
    const weights = [];
    for (let at = first; at < last; at++) {
      weights.push(Math.max(0, 1 - Math.abs((at - centre + 0.5) / widening)));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const fixed = weights.map((weight) => Math.trunc(0.5 + (sum ? weight / sum : weight) * 2 ** FIXED_BITS));
    places.push({ first, weights: Int32Array.from(fixed) });
  }
  return places;
}

function weighted(image, places, width, height, along) {
  const result = blank(width, height);
  const { data } = image;
  const step = along ? 4 : 4 * image.width;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = places[along ? x : y];
      let at = along ? 4 * (y * image.width + first) : 4 * (first * image.width + x);
      let red = 1 << (FIXED_BITS - 1);
      let [green, blue] = [red, red];
      for (let tap = 0; tap < weights.length; tap++, at += step) {
        red += data[at] * weights[tap];
        green += data[at + 1] * weights[tap];
        blue += data[at + 2] * weights[tap];
      }
      const place = 4 * (y * width + x);
      result.data[place] = red >> FIXED_BITS;
      result.data[place + 1] = green >> FIXED_BITS;
      result.data[place + 2] = blue >> FIXED_BITS;
    }
  }
  return result;
}
