// The page: takes pictures, a clip or the camera, and says where they are read.

import { ask, token } from "./api.js";
import { showClip } from "./clip.js";
import { showLive } from "./live.js";
import { showPictures } from "./pictures.js";
import { Engine } from "./reading/engine.js";
import { Screen } from "./view/screen.js";

const CLIP = /\.(mp4|m4v|mov|mkv|webm|avi|mpg|mpeg|ts|mts|gif|wmv|flv|3gp|ogv)$/i;
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

const screen = new Screen();
const part = (id) => document.getElementById(id);
const here = LOCAL.includes(location.hostname);
const IN_BROWSER = here
  ? "In your browser, nothing leaves this machine"
  : `Pictures and camera in your browser; clips go to ${location.host}`;
const BY_SERVICE = here ? "Through the service on this machine" : `Through the service at ${location.host}`;
let session = null;

/** The reading in this browser; null where it cannot be had, and then the service reads. */
const engine = modelsOfService()
  .then(() => Engine.start(token()))
  .then(
  (found) => {
    say(IN_BROWSER, "browser");
    return found;
  },
  (error) => {
    console.info(`mien: not in this browser: ${error.message}`);
    say(BY_SERVICE, "service");
    part("camera-note").textContent = "frames go through the service; no picture is kept";
    return null;
  },
);

/** Ask what the service can do; it says whether it wants a token, and whether it has the mesh. */
async function modelsOfService() {
  const { mesh } = await (await ask("/v1/models")).json();
  part("mesh").hidden = !mesh;
}

function say(text, kind) {
  part("where").textContent = text;
  document.body.dataset.where = kind;
}

/** End what is shown and begin something else. */
function begin(next) {
  session?.stop();
  session = next();
  part("results").scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
}

function calm() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

async function open(files) {
  if (!files.length) return;
  const clip = files.find((file) => file.type.startsWith("video/") || CLIP.test(file.name));
  if (clip) {
    begin(() => showClip(screen, clip, jobOptions()));
    if (files.length > 1) screen.trouble(`One clip at a time: only ${clip.name} is read.`);
    return;
  }
  const ready = await engine;
  begin(() => showPictures(screen, files, ready));
}

/** What the form says of clips; what is left empty is left out. */
function jobOptions() {
  const form = new FormData(part("options"));
  const options = Object.fromEntries([...form].filter(([, value]) => value !== "" && value !== "on"));
  for (const name of ["smooth", "mesh"]) if (form.has(name)) options[name] = "true";
  return options;
}

part("options").addEventListener("submit", (event) => event.preventDefault());
part("choose").addEventListener("click", () => part("file").click());
part("file").addEventListener("change", ({ target }) => {
  open([...target.files]);
  target.value = "";
});
part("camera").addEventListener("click", async () => {
  const ready = await engine;
  begin(() => showLive(screen, ready, ready ? IN_BROWSER : BY_SERVICE));
});

// A file may be dropped anywhere on the page.
let over = 0;
const marked = (change) => (event) => {
  event.preventDefault();
  over = Math.max(0, over + change);
  part("drop").classList.toggle("over", over > 0);
};
document.addEventListener("dragenter", marked(1));
document.addEventListener("dragleave", marked(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  marked(-Infinity)(event);
  open([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => open([...event.clipboardData.files]));
