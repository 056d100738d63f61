// All parts of the page that show results, together.

import { many, spoken } from "../words.js";
import { Cards } from "./cards.js";
import { Stage } from "./stage.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";

export class Screen {
  constructor() {
    this.stage = new Stage();
    this.cards = new Cards((index) => this.stage.point(index));
    this.timeline = new Timeline((time) => this.seek(time));
    this.table = new Table();
    this.seek = () => {};
    this.told = "";
  }

  part(id) {
    return document.getElementById(id);
  }

  /** Clear everything for what comes next. */
  begin(title) {
    this.part("results").hidden = false;
    this.part("seen-title").textContent = title;
    for (const id of ["stop", "devices", "progress", "trouble", "tracks", "big-hint"]) this.part(id).hidden = true;
    for (const id of ["pace", "strip"]) this.part(id).replaceChildren();
    this.seek = () => {};
    this.stage.clear();
    this.cards.clear();
    this.table.clear();
    this.timeline.reset();
    this.timeline.hide();
    document.body.classList.add("busy");
  }

  /** What went wrong, in the words that came with it. */
  trouble(error) {
    this.part("trouble").textContent = error?.message ?? String(error);
    this.part("trouble").hidden = false;
  }

  /** Tell somebody who listens; the same words are not said twice. */
  say(text) {
    if (text === this.told) return;
    this.told = text;
    this.part("say").textContent = text;
  }

  /** Tell what faces there are. */
  sayFaces(rows, nameOf) {
    const faces = rows.filter((row) => row.face !== null);
    const some = faces.slice(0, 5).map((row) => spoken(row, nameOf(row)));
    this.say([`${many(faces.length, "face")} found.`, ...some].join(" "));
  }
}
