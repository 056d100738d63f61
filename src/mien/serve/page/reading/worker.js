// Runs the networks beside the page, so that it stays smooth. Takes {id, kind: "load", token} and {id, kind: "read",
// bitmap, live}; answers {id, ...} or {id, error}. `live` is the number of the camera's session, `null` for a picture.

import { Follower } from "./following.js";
import { Reader } from "./reader.js";

const DETECT_EVERY = 8;
const MOST_THREADS = 4;

let reader = null;
let canvas = null;
let follower = null;
let session = null;

self.onmessage = async ({ data }) => {
  try {
    const answer = data.kind === "load" ? await load(data.token) : await read(data.bitmap, data.live);
    self.postMessage({ id: data.id, ...answer });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
};

async function load(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const contracts = JSON.parse(new TextDecoder().decode(await bytes("/models/contracts.json", headers)));
  await bytes("/ort/ort.wasm.min.mjs", headers); // its absence says more here than to `import`
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = "/ort/";
  // More threads than one need memory that they share, which browsers give only to pages with two headers of isolation.
  const threads = Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency >> 1));
  ort.env.wasm.numThreads = self.crossOriginIsolated ? threads : 1;
  const detect = await network(ort, "/models/detector.onnx", headers, contracts.detector.sha256);
  const express = await network(ort, "/models/expression.onnx", headers, contracts.expression.sha256);
  reader = new Reader(contracts, detect, express);
  return { labels: reader.labels };
}

/** A network of verified bytes as a function from {data, dims} to its outputs by name. */
async function network(ort, address, headers, expected) {
  const content = await bytes(address, headers);
  if (self.crypto.subtle) {
    const hash = new Uint8Array(await self.crypto.subtle.digest("SHA-256", content));
    const found = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== expected) throw new Error(`expected sha256 ${expected} of ${address}, got ${found}`);
  }
  const session = await ort.InferenceSession.create(new Uint8Array(content), { executionProviders: ["wasm"] });
  const [input] = session.inputNames;
  return async ({ data, dims }) => {
    const outputs = await session.run({ [input]: new ort.Tensor("float32", data, dims) });
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  };
}

async function bytes(address, headers) {
  const answer = await fetch(address, { headers });
  if (answer.ok) return answer.arrayBuffer();
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error?.message ?? `${address}: ${answer.status}`);
}

/** The faces of a bitmap, which is laid on white, and the milliseconds that it took. */
async function read(bitmap, live) {
  const start = performance.now();
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas?.height !== height) canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  if (live !== session) {
    session = live;
    follower = live === null ? null : new Follower(reader.detector, DETECT_EVERY);
  }
  const faces = await reader.read(pen.getImageData(0, 0, width, height), follower);
  return { faces, width, height, ms: performance.now() - start };
}
