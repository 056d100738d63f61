// Rounding and writing of numbers as Python does them.

/** Round half to even, as Python's `round` and `numpy.rint`. */
export function roundEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** A number rounded to so many decimals; `null` for what could not be told. */
export function rounded(value, digits) {
  if (value === null || !Number.isFinite(value)) return null;
  return Number(value.toFixed(digits));
}

/** A number with so many significant digits, as Python's format "g" writes it. */
export function general(value, digits) {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  const [mantissa] = value.toExponential(digits - 1).split("e");
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}
