// One card a face: who, the answer, how sure, bars with numbers, and what would help where the view is poor.

import { capital, colourOf, hintsOf, inkOn, labelsOf, percent, reasonsOf, stateOf } from "../words.js";

export class Cards {
  /** @param point called with the index of the face that is pointed at, or -1. */
  constructor(point) {
    this.list = document.getElementById("faces");
    this.none = document.getElementById("none");
    this.point = point;
    this.cards = [];
    this.labels = "";
  }

  /** Show rows, one card each. @param nameOf names a face. @param picture what the small pictures are cut from. */
  show(rows, { nameOf, picture = null, none = "No face found." }) {
    const faces = rows.filter((row) => row.face !== null);
    document.getElementById("look").classList.toggle("many", faces.length > 2);
    this.none.hidden = faces.length > 0;
    this.none.textContent = none;
    if (faces.length) this.fit(faces);
    this.cards.forEach((card, index) => {
      card.root.hidden = index >= faces.length;
      if (index < faces.length) card.update(faces[index], nameOf(faces[index]), picture);
    });
  }

  /** As many cards as faces, with a bar for each class. */
  fit(faces) {
    const labels = labelsOf(faces[0]);
    if (labels.join() !== this.labels) {
      this.labels = labels.join();
      this.cards = [];
      this.list.replaceChildren();
    }
    while (this.cards.length < faces.length) {
      const index = this.cards.length;
      const card = new Card(labels);
      card.root.addEventListener("pointerenter", () => this.point(index));
      card.root.addEventListener("pointerleave", () => this.point(-1));
      this.cards.push(card);
      this.list.append(card.root);
    }
  }

  clear() {
    this.show([], { nameOf: () => "", none: "" });
  }
}

class Card {
  constructor(labels) {
    this.root = made("li", "face");
    this.thumb = Object.assign(made("canvas", "thumb"), { width: 112, height: 112 });
    this.thumb.setAttribute("aria-hidden", "true");
    this.name = made("h3");
    this.chip = made("span", "chip");
    this.sure = made("span", "sure");
    this.hint = made("p", "hint");
    const head = made("div", "head");
    const answer = made("p", "answer");
    answer.append(this.chip, " ", this.sure);
    const words = made("div");
    words.append(this.name, answer);
    head.append(this.thumb, words);
    const bars = made("ul", "bars");
    this.bars = labels.map((label) => {
      const [row, track, fill, number] = [made("li"), made("span", "track"), made("span", "fill"), made("span", "number")];
      fill.style.setProperty("--colour", colourOf(label));
      track.setAttribute("aria-hidden", "true");
      track.append(fill);
      row.append(made("span", "label", label), track, number);
      bars.append(row);
      return { label, row, fill, number };
    });
    this.root.append(head, this.hint, bars);
  }

  update(row, name, picture) {
    const state = stateOf(row);
    this.root.dataset.state = state;
    this.name.textContent = name;
    this.chip.textContent = `${row.expression}${state === "sure" ? "" : "?"} ${percent(row.confidence)}`;
    this.chip.style.setProperty("--colour", colourOf(row.expression));
    this.chip.style.setProperty("--ink", inkOn(row.expression));
    this.sure.textContent = { sure: "", unsure: "not sure", poor: "cannot be judged" }[state];
    this.hint.hidden = state !== "poor";
    this.hint.textContent = state === "poor" ? `${capital(reasonsOf(row).join(", "))}: ${hintsOf(row).join(", ")}.` : "";
    for (const { label, row: line, fill, number } of this.bars) {
      const value = row[`p_${label}`];
      fill.style.setProperty("--share", String(value));
      number.textContent = value.toFixed(2);
      line.classList.toggle("best", label === row.expression);
    }
    this.thumb.hidden = !picture;
    if (picture) drawThumb(this.thumb, row, picture);
  }
}

/** The face with some room around it. */
function drawThumb(canvas, row, picture) {
  const side = 1.25 * Math.max(row.x2_px - row.x1_px, row.y2_px - row.y1_px);
  const [left, top] = [(row.x1_px + row.x2_px - side) / 2, (row.y1_px + row.y2_px - side) / 2];
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, left, top, side, side, 0, 0, canvas.width, canvas.height);
}

/** An element with a class and a text. */
export function made(tag, kind = "", text = "") {
  return Object.assign(document.createElement(tag), { className: kind, textContent: text });
}
