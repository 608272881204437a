/**
 * Asks a bundle what a test wants to know: calls come as JSON on standard input, answers go back as JSON.
 *
 * node ask.mjs FOLDER_OF_NODE_MODULES
 */

import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

import { openBundle, philox } from '../../clients/javascript/index.js';

const ort = createRequire(`${process.argv[2]}/`)('onnxruntime-node');
const { source, held, calls } = JSON.parse(await text(process.stdin));
const files =
  held && new Map(held.map(([path, bytes]) => [path, new Uint8Array(Buffer.from(bytes, 'base64'))]));
const answers = [];
let sampler;
for (const [method, options] of calls) answers.push(await answer(method, options));
process.stdout.write(
  JSON.stringify(answers, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)),
);

async function answer(method, options) {
  try {
    if (method === 'philox') return { values: philox(...options) };
    sampler ??= await openBundle(files ?? source, ort);
    if (method !== 'draw') return wrapped(await sampler[method](options));
    const [ranks, positions] = [[], []];
    let last;
    for await (const pixel of sampler.draw(options)) {
      last = pixel;
      ranks.push(pixel.rank ?? pixel.pass);
      positions.push(Array.from(pixel.position ?? pixel.hidden));
    }
    return { ...last, ranks, positions };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}

function wrapped(result) {
  return ArrayBuffer.isView(result) || Array.isArray(result) ? { values: result } : result;
}
