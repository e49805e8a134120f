// The count bigram as an external program in JavaScript: p(j | i) = (count(i, j) + k) / (count(i) + k V).
//
//   harness run --models 'js-bigram@exec:program=node plugins/examples/bigram.js,k=1,context=1,count-bigram'
//
// It speaks the frames of docs/wire.md: it says hello, then answers one request after the other, until
// `bye` or the end of its input. It needs a little-endian machine: arrays are used as they come.

"use strict";
const fs = require("node:fs");

// ---- frames: "nch1", length of the header (4), length of the payload (8), header, payload

function read(size) { // so many bytes of stdin, or null at its end
  const buffer = Buffer.alloc(size);
  for (let got = 0; got < size; ) {
    const n = fs.readSync(0, buffer, got, size - got, null);
    if (n === 0) return null;
    got += n;
  }
  return buffer;
}

const TYPES = { "|u1": Uint8Array, "<u2": Uint16Array, "<i8": BigInt64Array, "<f8": Float64Array };

function readFrame() { // { message, arrays: name -> { shape, data } }, or null at the end
  const head = read(16);
  if (head === null) return null;
  if (head.toString("latin1", 0, 4) !== "nch1") throw new Error("what came is no frame");
  const message = JSON.parse(read(head.readUInt32LE(4)).toString("utf8"));
  const payload = read(Number(head.readBigUInt64LE(8)));
  const arrays = {};
  let first = 0;
  for (const [name, dtype, shape] of message.arrays) {
    const elements = shape.reduce((a, b) => a * b, 1);
    const size = elements * TYPES[dtype].BYTES_PER_ELEMENT;
    const bytes = Uint8Array.from(payload.subarray(first, first + size)); // a copy, so that it is aligned
    arrays[name] = { shape, data: new TYPES[dtype](bytes.buffer) };
    first += size;
  }
  return { message, arrays };
}

function write(buffer) {
  for (let sent = 0; sent < buffer.length; ) sent += fs.writeSync(1, buffer, sent);
}

function writeFrame(message, arrays = {}) { // name -> { shape, data: Float64Array }
  const listed = Object.entries(arrays).map(([name, { shape }]) => [name, "<f8", shape]);
  const header = Buffer.from(JSON.stringify({ ...message, arrays: listed }), "utf8");
  const pieces = Object.values(arrays).map(({ data }) =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  );
  const head = Buffer.alloc(16);
  head.write("nch1", "latin1");
  head.writeUInt32LE(header.length, 4);
  head.writeBigUInt64LE(BigInt(pieces.reduce((sum, piece) => sum + piece.length, 0)), 8);
  write(Buffer.concat([head, header, ...pieces]));
}

// ---- the model: V x V counts, and the rows that follow from them

let v = 0; // characters, the boundary included
let k = 1; // added to every count
let train; // the training text: every document ends in 0, and the first begins after one
let counts; // (V, V): how often the column follows the row
let rows; // (V, V): natural-log probabilities

function makeRows() {
  rows = new Float64Array(v * v);
  for (let i = 0; i < v; i++) {
    let total = 0;
    for (let j = 0; j < v; j++) total += counts[i * v + j] + k;
    for (let j = 0; j < v; j++) {
      rows[i * v + j] = Math.log(total > 0 ? (counts[i * v + j] + k) / total : 1 / v);
    }
  }
}

function rowsAfter(tokens, shape) { // the row after each token, with one more axis
  const data = new Float64Array(tokens.length * v);
  tokens.forEach((token, n) => {
    const i = Number(token); // inputs are 64-bit integers
    data.set(rows.subarray(i * v, (i + 1) * v), n * v);
  });
  return { rows: { shape: [...shape, v], data } };
}

const answers = {
  open({ vocabulary, config }) {
    v = vocabulary;
    k = config.k ?? 1;
  },
  data({ part }, { tokens }) {
    if (part === "train") train = tokens.data;
  },
  new() { // a new instance knows nothing
    counts = new Float64Array(v * v);
    makeRows();
  },
  fit() {
    for (let i = 0; i + 1 < train.length; i++) counts[train[i] * v + train[i + 1]] += 1;
    makeRows();
  },
  log_probs(_, { inputs }) {
    return rowsAfter(inputs.data, inputs.shape);
  },
  next_log_probs(_, { inputs }) {
    const [b, t] = inputs.shape;
    return rowsAfter(inputs.data.filter((_, n) => n % t === t - 1), [b]);
  },
  params() {
    return { counts: { shape: [v, v], data: counts } };
  },
  load(_, arrays) {
    counts = arrays.counts.data;
    makeRows();
  },
};

writeFrame({ hello: 1 });
for (let frame = readFrame(); frame !== null && frame.message.op !== "bye"; frame = readFrame()) {
  const answer = Object.hasOwn(answers, frame.message.op) ? answers[frame.message.op] : null;
  if (answer) writeFrame({ ok: true }, answer(frame.message, frame.arrays));
  else writeFrame({ error: "unsupported" }); // warm_up and sample: the harness does without
}
