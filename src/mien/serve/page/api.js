// The service, by its interface. The token is kept until the tab is closed.

const KEY = "mien-token";

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** An error with the service's own words. */
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** An answer of the service; asks for the token where one is wanted. */
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: token() ? { Authorization: `Bearer ${token()}` } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "The service does not answer. Is `mien serve` still running?");
  }
  if (answer.status === 401) {
    await askForToken();
    return ask(address, options);
  }
  if (!answer.ok) throw new ServiceError(answer.status, await messageOf(answer));
  return answer;
}

async function messageOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The service answered ${answer.status} ${answer.statusText}.`;
  }
}

let asking = null;

/** Show the dialog, once, whoever asks. */
function askForToken() {
  const dialog = document.getElementById("ask");
  asking ??= new Promise((resolve, reject) => {
    dialog.returnValue = "";
    dialog.showModal();
    dialog.onclose = () => {
      asking = null;
      sessionStorage.setItem(KEY, document.getElementById("token").value.trim());
      if (dialog.returnValue === "go") resolve();
      else reject(new ServiceError(401, "The service wants its token. Load the page again to give it."));
    };
  });
  return asking;
}

/** The formats in which a job's result can be had, as the service describes itself; null where it does not say. */
export async function formatsOfJobs() {
  const { paths } = await (await ask("/openapi.json")).json();
  const [, found] = Object.entries(paths).find(([path]) => path.endsWith("/result")) ?? [];
  return found?.get.parameters?.find(({ name }) => name === "format")?.schema?.enum ?? null;
}

/** The result of one picture. */
export async function analyze(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  const answer = await (await ask("/v1/analyze", { method: "POST", body: form })).json();
  return answer.results[0];
}

/** Begin to read a clip; gives the job's id. */
export async function startJob(file, options, signal) {
  const form = new FormData();
  form.append("file", file, file.name);
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  return (await (await ask("/v1/jobs", { method: "POST", body: form, signal })).json()).id;
}

/** The events of a job, {kind, data}, as they come, until it ends. */
export async function* jobEvents(id, signal) {
  const answer = await ask(`/v1/jobs/${id}/events`, { signal });
  const stream = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await stream.read();
    if (done) return;
    held += value.replaceAll("\r\n", "\n");
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const kind = /^event: ?(.*)$/m.exec(part)?.[1];
      const data = [...part.matchAll(/^data: ?(.*)$/gm)].map((line) => line[1]).join("\n");
      if (kind && data) yield { kind, data: JSON.parse(data) };
    }
  }
}

export async function cancelJob(id) {
  await ask(`/v1/jobs/${id}`, { method: "DELETE" });
}

/** A job's result as a file. */
export async function jobResult(id, format) {
  return (await ask(`/v1/jobs/${id}/result?format=${encodeURIComponent(format)}`)).blob();
}

/** A line to the service for frames of the camera: `read(jpeg)` gives one answer. */
export async function openLive() {
  const address = new URL("/v1/live", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, token() ? ["mien", `bearer.${token()}`] : undefined);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new ServiceError(0, "The service does not take frames. Is `mien serve` still running?"));
  });
  const read = (jpeg) =>
    new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        const answer = JSON.parse(data);
        if (answer.error) reject(new ServiceError(0, answer.error.message));
        else resolve(answer);
      };
      socket.onclose = () => reject(new ServiceError(0, "The service ended the connection."));
      if (socket.readyState === WebSocket.OPEN) socket.send(jpeg);
      else socket.onclose();
    });
  return { read, close: () => socket.close() };
}
