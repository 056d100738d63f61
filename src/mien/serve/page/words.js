// Colours and plain words for what the columns hold.

/** One colour a class, after Okabe and Ito's palette, which colour-blind people can tell apart; as on drawn pictures. */
const COLOURS = {
  neutral: "#8ce6d8",
  happy: "#f0e442",
  surprise: "#56b4e9",
  sad: "#0072b2",
  angry: "#d55e00",
  disgust: "#009e73",
  fear: "#cc79a7",
  contempt: "#e69f00",
};

export const POOR = "#9a9a9a";

/** What speaks against a face -> what can be done about it. */
const HINTS = {
  "too small": "come closer",
  blurred: "hold still",
  "too dark": "turn towards the light",
  "too bright": "step out of the glare",
  "too little contrast": "turn towards the light",
  "turned away": "look towards the camera",
  "tilted up or down": "hold the head level",
  "cut off by the border": "move to the middle",
  "weak detection": "show the whole face",
};

export function colourOf(name) {
  return COLOURS[name] ?? "#ffffff";
}

/** Text that can be read on a class's colour. */
export function inkOn(name) {
  return name === "sad" ? "#ffffff" : "#000000";
}

/** The reasons of a row without their numbers. */
export function reasonsOf(row) {
  return (row.reason ?? "").split("; ").filter(Boolean).map((text) => text.split(" (")[0]);
}

/** What somebody could do so that the face can be judged. */
export function hintsOf(row) {
  return [...new Set(reasonsOf(row).map((reason) => HINTS[reason]).filter(Boolean))];
}

/** "sure", "unsure" (the network's own doubt) or "poor" (the picture's quality). */
export function stateOf(row) {
  if (row.reliable === false) return "poor";
  return row.uncertain ? "unsure" : "sure";
}

/** "87%"; never "100%", for nothing is certain. */
export function percent(value) {
  return value > 0.99 ? ">99%" : `${Math.round(100 * value)}%`;
}

export function seconds(value) {
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, "0")}`;
}

/** "1 face", "3 faces". */
export function many(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A face in one phrase, for who listens. */
export function spoken(row, name) {
  const state = stateOf(row);
  if (state === "poor") return `${name}: ${reasonsOf(row).join(", ")}; ${hintsOf(row).join(", ")}`;
  return `${name}: ${state === "unsure" ? "perhaps " : ""}${row.expression}, ${percent(row.confidence)}`;
}

/** The classes of a row's probabilities, in order. */
export function labelsOf(row) {
  return Object.keys(row)
    .filter((name) => name.startsWith("p_") && row[name] !== null && !/_(smoothed|relative)$/.test(name))
    .map((name) => name.slice(2));
}

/** Area of a row's box. */
export function areaOf(row) {
  return (row.x2_px - row.x1_px) * (row.y2_px - row.y1_px);
}
