// A clip: read by the service as a job, shown as its rows come in.

import { cancelJob, formatsOfJobs, jobEvents, jobResult, startJob } from "./api.js";
import { missing } from "./view/stage.js";
import { areaOf, many, seconds } from "./words.js";

const nameOf = (row) => `Face #${row.track_id}`;
const shortName = (row) => `#${row.track_id}`;

/** Send a clip and show what comes. @param options of the job, as the form has them. */
export function showClip(screen, file, options) {
  const session = new Clip(screen, file);
  session.done = session.run(options).catch((error) => {
    if (session.stopped) return;
    screen.part("progress").hidden = true;
    screen.trouble(error);
  });
  return session;
}

class Clip {
  constructor(screen, file) {
    Object.assign(this, { screen, file, rows: [], frames: [], tracks: new Map(), lengthS: 0, track: null, id: null });
    this.stopped = false;
    this.touched = false; // the user chose a time: the view no longer follows the work
    this.abort = new AbortController();
    this.video = Object.assign(document.createElement("video"), {
      src: URL.createObjectURL(file), controls: true, playsInline: true, muted: true, preload: "auto",
    });
    this.video.setAttribute("aria-label", `The clip ${file.name}`);
  }

  stop() {
    this.stopped = true;
    this.video.pause();
    if (this.id) cancelJob(this.id).catch(() => {}); // what is over is removed by that, too
    this.abort.abort();
    URL.revokeObjectURL(this.video.src);
  }

  async run(options) {
    const { screen, file } = this;
    screen.begin("Clip");
    screen.timeline.reset({ title: "", canSeek: true });
    screen.seek = (time) => this.chosen(time);
    screen.stage.show(this.video, { width: 16, height: 9 });
    this.video.addEventListener("loadedmetadata", () => screen.stage.shape(this.video.videoWidth, this.video.videoHeight));
    this.video.addEventListener("play", () => this.play());
    this.video.addEventListener("seeked", () => this.at(this.video.currentTime));
    this.video.addEventListener("error", () => this.unplayable());
    screen.part("tracks").onchange = () => this.choose(Number(screen.part("track").value));
    this.working("Sending the clip …", null);
    this.running = true;
    screen.part("cancel").onclick = () => this.cancel();
    this.id = await startJob(file, options, this.abort.signal);
    for await (const { kind, data } of jobEvents(this.id, this.abort.signal)) {
      if (kind === "rows") this.add(data.rows);
      else this.progress(data);
      if (kind === "end") break;
    }
    screen.part("progress").hidden = true;
    if (!this.touched && this.frames.length) this.chosen(this.frames[0].time, false);
  }

  async cancel() {
    if (this.id) {
      this.screen.part("progress-text").textContent = "Stopping …";
      return cancelJob(this.id);
    }
    this.stop(); // it is still on its way
    this.screen.part("progress").hidden = true;
    this.screen.part("pace").textContent = "Not sent.";
  }

  working(text, share) {
    this.screen.part("progress").hidden = false;
    this.screen.part("progress-text").textContent = text;
    if (share === null) this.screen.part("progress-bar").removeAttribute("value");
    else this.screen.part("progress-bar").value = share;
  }

  /** New rows: into frames, tracks, the timeline and the table. */
  add(rows) {
    for (const row of rows) {
      this.rows.push(row);
      if (row.error) this.screen.trouble(row.error);
      if (row.time_s === null) continue;
      if (this.frames.at(-1)?.time !== row.time_s) this.frames.push({ time: row.time_s, rows: [] });
      if (row.face === null) continue;
      this.frames.at(-1).rows.push(row);
      if (!this.tracks.has(row.track_id)) this.tracks.set(row.track_id, []);
      this.tracks.get(row.track_id).push(row);
    }
    if (this.track === null) this.track = this.tracks.keys().next().value ?? null;
    this.offerTracks();
    this.showTimeline();
    this.screen.table.show(this.rows);
    if (!this.touched && this.frames.length) this.follow();
  }

  unplayable() {
    if (this.stopped) return;
    this.unshown = true;
    this.screen.stage.show(missing("This browser cannot play this kind of clip; its faces are read all the same."), { width: 2, height: 1 });
  }

  /** While the work goes on, show the newest frame; no more often than the video can follow. */
  follow() {
    const { time } = this.frames.at(-1);
    if (!this.unshown && !this.video.seeking) this.video.currentTime = time;
    if (this.unshown) this.at(time);
  }

  progress(job) {
    this.lengthS = Math.max(this.lengthS, job.length_s ?? 0);
    const { done_s: done, length_s: length, frames, faces, state, error } = job;
    const counts = `${many(frames, "frame")}, ${many(faces, "face")}`;
    this.screen.part("pace").textContent = { done: counts, cancelled: `stopped: ${counts}`, failed: "" }[state] ?? "";
    if (error) this.screen.trouble(error);
    if (state === "queued") this.working("Waiting for its turn …", null);
    const of = length ? ` of ${seconds(length)}` : "";
    if (state === "running") this.working(`${seconds(done)}${of} · ${counts}`, length ? done / length : null);
    if (state !== "queued" && state !== "running") this.over(state);
    this.showTimeline();
  }

  async over(state) {
    this.running = false;
    const { screen, id } = this;
    const stem = this.file.name.replace(/\.[^.]*$/, "");
    const more = (label, format) => ({ label, name: `${stem}.${format}`, get: () => this.result(format) });
    const smoothed = "expression_smoothed" in (this.rows[0] ?? {});
    const formats = await formatsOfJobs().catch(() => null);
    const others = [["Parquet", "parquet"], ["Events", "events.csv"], ["Report", "html"]]
      .filter(([, format]) => (formats?.includes(format) ?? true) && (smoothed || format === "parquet"))
      .map(([label, format]) => more(label, format));
    if (this.stopped) return;
    if (this.rows.length) screen.table.offer(() => this.rows, stem, state === "done" && id ? others : []);
    this.offerTracks();
    screen.say(`${state === "done" ? "The clip is read" : "Not read to its end"}: ${many(this.rows.length, "row")}, ${many(this.tracks.size, "face")} over time.`);
  }

  /** A file of the service; null, with the reason on the page, where it cannot be had. */
  async result(format) {
    try {
      return await jobResult(this.id, format);
    } catch (error) {
      this.screen.trouble(error);
      return null;
    }
  }

  /** The faces over time to choose from, those seen longest first. */
  offerTracks() {
    const select = this.screen.part("track");
    if (select.children.length !== this.tracks.size || !this.running) {
      const order = [...this.tracks].sort((a, b) => b[1].length - a[1].length);
      select.replaceChildren(...order.map(([id, rows]) => new Option(`#${id} (${many(rows.length, "frame")})`, id)));
      select.value = String(this.track);
    }
    this.screen.part("tracks").hidden = this.tracks.size < 2;
  }

  choose(track) {
    this.track = track;
    this.showTimeline();
  }

  showTimeline() {
    const end = Math.max(this.lengthS, this.frames.at(-1)?.time ?? 0, 0.1);
    if (this.track === null) return;
    document.getElementById("timeline-of").textContent = this.tracks.size < 2 ? `Face #${this.track}` : "";
    this.screen.timeline.show(this.tracks.get(this.track), [0, end], this.shownTime ?? null);
  }

  /** The user chose a time, in the timeline or on the slider. */
  chosen(time, byUser = true) {
    this.touched ||= byUser;
    if (this.unshown) this.at(time);
    else this.video.currentTime = time;
    this.screen.timeline.mark(time);
  }

  play() {
    this.touched = true;
    const step = () => {
      if (this.stopped) return;
      this.at(this.video.currentTime);
      if (!this.video.paused) requestAnimationFrame(step);
    };
    step();
  }

  /** Show the last frame that was read at or before a time. */
  at(time) {
    this.shownTime = time;
    this.screen.timeline.mark(time);
    const frame = this.frames.findLast((item) => item.time <= time + 0.02);
    if (!frame || frame === this.shown) return;
    this.shown = frame;
    const rows = [...frame.rows].sort((a, b) => areaOf(b) - areaOf(a));
    const size = { width: this.video.videoWidth || 16, height: this.video.videoHeight || 9 };
    if (!this.unshown) this.screen.stage.draw(rows, size, { nameOf: shortName });
    const picture = this.unshown ? null : this.video;
    this.screen.cards.show(rows, { nameOf, picture, none: "No face in this frame." });
  }
}
