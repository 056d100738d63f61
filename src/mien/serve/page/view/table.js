// The rows as a table, and the files that can be had of them.

import { save, toCsv, toJson } from "../save.js";
import { capital, labelsOf, many, percent, reasonsOf, seconds, stateOf } from "../words.js";
import { made } from "./cards.js";

const MOST = 200;

export class Table {
  constructor() {
    this.head = document.getElementById("table-head");
    this.body = document.getElementById("table-rows");
    this.note = document.getElementById("table-note");
    this.downloads = document.getElementById("downloads");
  }

  /** Show rows. @param last of many rows show the last ones, newest first. @param note what else is to be said. */
  show(rows, { last = false, note = "" } = {}) {
    const labels = labelsOf(rows.find((row) => row.face !== null) ?? {});
    const files = new Set(rows.map((row) => row.path)).size > 1;
    const timed = rows.some((row) => row.time_s !== null);
    const tracked = rows.some((row) => row.track_id !== null);
    const titles = [...(timed ? ["time"] : files ? ["file"] : []), tracked ? "track" : "face", "expression", "confidence", "how sure", ...labels];
    const line = document.createElement("tr");
    line.append(...titles.map((title) => Object.assign(made("th", labels.includes(title) ? "wide" : "", title), { scope: "col" })));
    this.head.replaceChildren(line);
    const shown = last ? rows.slice(-MOST).reverse() : rows.slice(0, MOST);
    this.body.replaceChildren(...shown.map((row) => lineOf(row, labels, { timed, files, tracked })));
    const some = rows.length > MOST ? `${last ? "The newest" : "The first"} ${MOST} of ${many(rows.length, "row")}; the downloads have all. ` : "";
    this.note.textContent = some + note;
  }

  /** Offer files: CSV and JSON of `rows()`, and others as {label, name, get}; `get` gives a Blob, or null. */
  offer(rows, stem, others = []) {
    const files = [
      { label: "CSV", name: `${stem}.csv`, get: () => new Blob([toCsv(rows())], { type: "text/csv" }) },
      { label: "JSON", name: `${stem}.json`, get: () => new Blob([toJson(rows())], { type: "application/json" }) },
      ...others,
    ];
    this.downloads.replaceChildren(
      ...files.map(({ label, name, get }) => {
        const button = Object.assign(made("button", "", label), { type: "button" });
        button.setAttribute("aria-label", `Download ${label}`);
        button.addEventListener("click", async () => {
          const content = await get();
          if (content) save(content, name);
        });
        return button;
      }),
    );
  }

  clear() {
    this.head.replaceChildren();
    this.body.replaceChildren();
    this.downloads.replaceChildren();
    this.note.textContent = "";
  }
}

function lineOf(row, labels, { timed, files, tracked }) {
  const line = document.createElement("tr");
  const told = row.face !== null;
  const state = stateOf(row);
  const sure = { sure: "sure", unsure: "not sure", poor: capital(reasonsOf(row).join(", ")) }[state];
  line.dataset.state = told ? state : "none";
  const cells = [
    ...(timed ? [row.time_s === null ? "" : seconds(row.time_s)] : files ? [row.path] : []),
    told ? (tracked ? `#${row.track_id}` : String(row.face + 1)) : "",
    told ? `${row.expression}${state === "sure" ? "" : "?"}` : row.error ? `not read: ${row.error}` : "no face",
    told ? percent(row.confidence) : "",
    told ? sure : "",
  ];
  line.append(...cells.map((text) => made("td", "", text)));
  line.append(...labels.map((label) => made("td", "wide number", told ? row[`p_${label}`].toFixed(2) : "")));
  return line;
}
