// Pictures: read in this browser, or by the service where the browser cannot.

import { analyze } from "./api.js";
import { DECODING } from "./reading/engine.js";
import { missing } from "./view/stage.js";
import { many } from "./words.js";

const nameOf = (row) => `Face ${row.face + 1}`;
const shortName = (row) => String(row.face + 1);

/** Read pictures one after the other and show them. @param engine of this browser, or null. */
export function showPictures(screen, files, engine) {
  const session = { stopped: false, seen: [] };
  session.stop = () => {
    session.stopped = true;
    for (const { image } of session.seen) if (image) URL.revokeObjectURL(image.src);
  };
  session.done = run(screen, files, engine, session);
  return session;
}

async function run(screen, files, engine, session) {
  screen.begin(files.length > 1 ? "Pictures" : "Picture");
  const { seen } = session;
  const rows = () => seen.flatMap((item) => item.rows);
  for (const file of files) {
    screen.part("pace").textContent = `Reading ${files.length > 1 ? `${seen.length + 1} of ${files.length}` : file.name} …`;
    const item = await read(file, engine);
    if (session.stopped) return;
    seen.push(item);
    if (files.length > 1) addToStrip(screen, seen, seen.length - 1);
    if (seen.length === 1) show(screen, item);
    screen.table.show(rows());
  }
  const faces = rows().filter((row) => row.face !== null).length;
  screen.part("pace").textContent = files.length > 1 ? `${many(faces, "face")} in ${many(seen.length, "picture")}` : placeOf(seen[0]);
  screen.table.offer(rows, files.length > 1 ? "pictures" : files[0].name.replace(/\.[^.]*$/, ""));
}

/** Rows of a picture, or one row with the error; with an image to show where the browser can. */
async function read(file, engine) {
  const image = await decoded(file);
  try {
    if (engine && image) {
      const bitmap = await createImageBitmap(file, DECODING);
      return { file, image, where: "browser", ...(await engine.read(bitmap, file.name)) };
    }
    const { faces, width, height, error } = await analyze(file);
    if (error) throw new Error(error.message);
    return { file, image, where: "service", rows: faces.length ? faces : [blank(file.name)], width, height };
  } catch (error) {
    return { file, image, rows: [{ ...blank(file.name), error: error.message }], width: 4, height: 3 };
  }
}

function blank(path) {
  return { path, frame: 0, time_s: null, face: null, track_id: null, error: null };
}

/** The file as an <img>; null where this browser cannot show it. */
async function decoded(file) {
  const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: `The picture ${file.name}` });
  try {
    await image.decode();
    return image;
  } catch {
    return null;
  }
}

function placeOf({ where, ms, rows }) {
  if (!where) return "";
  const took = ms ? ` in ${(ms / 1000).toFixed(1)} s` : "";
  const how = where === "service" ? ", through the service" : "";
  return `${many(rows.filter((row) => row.face !== null).length, "face")}${took}${how}`;
}

function show(screen, item) {
  const { file, image, rows, width, height } = item;
  const error = rows.find((row) => row.error)?.error;
  const words = error ? `${file.name} could not be read.` : "This browser cannot show this kind of picture; its faces are listed.";
  screen.stage.show(image ?? missing(words), { width, height });
  if (image) screen.stage.draw(rows, { width, height }, { nameOf: shortName });
  screen.cards.show(rows, { nameOf, picture: image, none: error ?? "No face found. Small or hidden faces may be missed." });
  screen.sayFaces(rows, nameOf);
}

/** A small button for one of several pictures. */
function addToStrip(screen, seen, index) {
  const { file, image } = seen[index];
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.setAttribute("aria-label", `Show ${file.name}`);
  button.setAttribute("aria-pressed", String(index === 0));
  button.append(image ? Object.assign(new Image(), { src: image.src, alt: "" }) : "?");
  button.addEventListener("click", () => {
    for (const other of screen.part("strip").children) other.setAttribute("aria-pressed", String(other === button));
    show(screen, seen[index]);
  });
  screen.part("strip").append(button);
}
