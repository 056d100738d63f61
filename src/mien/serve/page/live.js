// The camera: read frame by frame in this browser, or through the service; the newest frame wins.

import { openLive } from "./api.js";
import { areaOf, capital, hintsOf, stateOf } from "./words.js";

const WINDOW_S = 30;
const MOST_ROWS = 50_000;
const PACE_S = 2;
const SAY_S = 4;
const JPEG_QUALITY = 0.9;

const nameOf = (row) => `Face ${row.face + 1}`;
const shortName = (row) => String(row.face + 1);
let sessions = 0;

/** Turn the camera on. @param engine of this browser, or null for the service. @param where says which is in use. */
export function showLive(screen, engine, where) {
  const session = new Live(screen, engine, where);
  session.done = session.start().catch((error) => {
    if (session.stopped) return; // what is in flight when the camera goes off may fail
    session.stop();
    screen.trouble(wordsFor(error));
  });
  return session;
}

/** What to do where the camera cannot be had. */
function wordsFor(error) {
  if (!navigator.mediaDevices) {
    return "This browser gives the camera only to pages of this machine itself (127.0.0.1) or over https.";
  }
  return (
    {
      NotAllowedError: "The camera was not allowed. Allow it beside the address of this page, then turn it on again.",
      NotFoundError: "No camera was found. Connect one, then turn it on again.",
      NotReadableError: "The camera is used by another program. Close that, then turn it on again.",
    }[error.name] ?? error
  );
}

class Live {
  constructor(screen, engine, where) {
    Object.assign(this, { screen, engine, where, number: ++sessions, rows: [], points: [], times: [], frame: 0, left: 0 });
    [this.arrived, this.used] = [0, 0]; // frames that the camera brought, and how many had come when one was read
    this.stopped = false;
    this.saidAt = -SAY_S;
    this.video = Object.assign(document.createElement("video"), { playsInline: true, muted: true, autoplay: true });
    this.video.setAttribute("aria-label", "The camera");
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.line?.close();
    const { screen } = this;
    screen.part("stop").hidden = true;
    screen.part("devices").hidden = true;
    screen.part("pace").textContent = "The camera is off.";
    if (this.rows.length) this.showTable();
  }

  async start() {
    const { screen } = this;
    screen.begin("Camera");
    screen.timeline.reset({ title: "Largest face, last 30 seconds" });
    screen.part("stop").hidden = false;
    screen.part("stop").onclick = () => this.stop();
    screen.part("pace").textContent = "Waiting for the camera …";
    await this.open();
    if (!this.engine) this.line = await openLive();
    if (!this.stopped) await this.offerDevices();
    if (this.stopped) return this.line?.close();
    screen.table.offer(() => this.rows, "camera");
    this.began = performance.now();
    const arrived = () => {
      this.arrived += 1;
      this.video.requestVideoFrameCallback(arrived);
    };
    arrived();
    let coming = this.read();
    while (!this.stopped) {
      const answer = await coming;
      if (this.stopped) return;
      coming = this.read(); // the next frame is read while this one is drawn
      coming.catch(() => {}); // an error is met at `await`
      this.keep(answer.rows);
      this.show(answer.rows, answer);
      this.pace();
    }
  }

  /** Open a camera, by its id or the one that faces the user. */
  async open(id = null) {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, ...which } });
    if (this.stopped) return this.stream.getTracks().forEach((track) => track.stop());
    this.video.srcObject = this.stream;
    await this.video.play();
    this.stream.getVideoTracks()[0].onended = () => {
      this.stop();
      this.screen.trouble("The camera is gone. Connect it, then turn it on again.");
    };
    const facing = this.stream.getVideoTracks()[0].getSettings().facingMode;
    this.mirrored = facing !== "environment";
    const { videoWidth: width, videoHeight: height } = this.video;
    this.screen.stage.show(this.video, { width, height, mirrored: this.mirrored });
  }

  async offerDevices() {
    const { screen } = this;
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const options = cameras.map(({ deviceId, label }, index) => new Option(label || `camera ${index + 1}`, deviceId));
    screen.part("device").replaceChildren(...options);
    screen.part("device").value = this.stream.getVideoTracks()[0].getSettings().deviceId ?? "";
    screen.part("devices").hidden = cameras.length < 2;
    screen.part("device").onchange = ({ target }) => this.open(target.value).catch((error) => screen.trouble(wordsFor(error)));
  }

  /** Read the newest frame; waits where the last one that came was read already. */
  async read() {
    if (this.used === this.arrived) await new Promise((resolve) => this.video.requestVideoFrameCallback(resolve));
    this.used = this.arrived;
    const timeS = (performance.now() - this.began) / 1000;
    const bitmap = await createImageBitmap(this.video);
    const frame = this.frame++;
    return this.engine
      ? this.engine.read(bitmap, "camera", { frame, timeS, live: this.number })
      : this.throughService(bitmap, frame, timeS);
  }

  async throughService(bitmap, frame, timeS) {
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
    const { faces } = await this.line.read(jpeg);
    const told = { path: "camera", frame, time_s: Number(timeS.toFixed(6)) };
    const blank = { ...told, face: null, track_id: null, error: null };
    return { rows: faces.length ? faces.map((row) => ({ ...row, ...told })) : [blank], width, height };
  }

  keep(rows) {
    this.rows.push(...rows);
    if (this.rows.length > MOST_ROWS) {
      this.left += this.rows.length - MOST_ROWS;
      this.rows = this.rows.slice(-MOST_ROWS);
    }
    const faces = rows.filter((row) => row.face !== null);
    if (faces.length) this.points.push(faces.reduce((best, row) => (areaOf(row) > areaOf(best) ? row : best)));
    const since = rows[0].time_s - WINDOW_S;
    this.points = this.points.filter((row) => row.time_s >= since);
  }

  show(rows, size) {
    const { screen } = this;
    const now = rows[0].time_s;
    screen.stage.draw(rows, size, { nameOf: shortName, mirrored: this.mirrored });
    screen.cards.show(rows, { nameOf, picture: this.video, none: "No face in sight." });
    if (this.points.length) screen.timeline.show(this.points, [Math.max(0, now - WINDOW_S), Math.max(WINDOW_S, now)]);
    const largest = this.points.at(-1)?.time_s === now ? this.points.at(-1) : null;
    const hints = largest && stateOf(largest) === "poor" ? hintsOf(largest) : [];
    screen.part("big-hint").hidden = !hints.length;
    screen.part("big-hint").textContent = hints.map(capital).join(". ");
    if (now - this.saidAt >= SAY_S) {
      this.saidAt = now;
      screen.sayFaces(rows, nameOf);
      this.showTable();
    }
  }

  showTable() {
    const note = this.left ? `Only the newest ${MOST_ROWS.toLocaleString("en")} rows are kept.` : "";
    this.screen.table.show(this.rows, { last: true, note });
  }

  /** Frames a second over the last two seconds, and where they are read. */
  pace() {
    const now = performance.now() / 1000;
    this.times = [...this.times.filter((time) => now - time < PACE_S), now];
    const span = now - this.times[0];
    if (span < 0.5) return;
    const rate = (this.times.length - 1) / span;
    const text = rate < 9.5 ? rate.toFixed(1) : String(Math.round(rate));
    this.screen.part("pace").textContent = `${this.where} · ${text} frames a second`;
  }
}
