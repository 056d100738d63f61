// Files for the user, made from the rows of the table.

/** Rows as CSV, as the command writes it: an empty cell for what is not told. */
export function toCsv(rows) {
  const columns = Object.keys(rows[0]);
  const line = (cells) => cells.map(quoted).join(",") + "\r\n";
  return line(columns) + rows.map((row) => line(columns.map((name) => row[name]))).join("");
}

function quoted(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function toJson(rows) {
  return JSON.stringify(rows, null, 1) + "\n";
}

/** Offer a Blob to be saved under a name. */
export function save(content, name) {
  const address = URL.createObjectURL(content);
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
