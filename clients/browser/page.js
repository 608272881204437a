/** Opens bundles, draws and completes their images where somebody watches. */

import * as ort from 'onnxruntime-web';
import { BundleError, openBundle } from 'tfprior';

import { chosenFiles, droppedFiles } from './files.js';
import { Picture } from './picture.js';

const WATCHED_FOR = 4000; // milliseconds that drawing a picture slowly takes
const $ = (id) => document.getElementById(id);
const picture = new Picture($('picture'), $('veil'), $('frame'));
let sampler;
let drawing = 0; // counts what was begun: a later one ends those before

ort.env.wasm.numThreads = 1; // more need headers of a server

async function open(source) {
  drawing++;
  say('Opening…');
  enable(false);
  try {
    sampler = await openBundle(source, ort, { executionProviders: ['wasm'] });
  } finally {
    enable(Boolean(sampler)); // the one from before, where this one is damaged
  }
  picture.reset(sampler.gridShape, sampler.numLevels, sampler.drawsInAnyOrder);
  describe();
  say('Nothing is drawn yet.');
}

function describe() {
  const [{ manifest }, [height, width, channels]] = [sampler.bundle, sampler.gridShape];
  const classes = sampler.numClasses ? `, ${sampler.numClasses} classes` : '';
  const size = `${height} × ${width}${channels === 1 ? '' : ` × ${channels}`}`;
  $('about').textContent = `${manifest.model.class_name}: ${size}, ${sampler.numLevels} levels${classes}`;
  $('classes').hidden = !sampler.numClasses;
  const options = Array.from(
    { length: sampler.numClasses ?? 0 },
    (_, label) => new Option(sampler.classNames[label] ?? label, label),
  );
  $('class').replaceChildren(...options);
  $('guided').hidden = !sampler.isGuided;
  $('orders').hidden = !sampler.drawsInAnyOrder;
  const { priors } = sampler.bundle.manifest;
  const inPasses = priors.every(({ hidden_apart: apart }) => apart !== null);
  document
    .querySelectorAll('#order .passes')
    .forEach((option) => (option.hidden = option.disabled = !inPasses));
  if ($('order').selectedOptions[0].disabled) $('order').value = 'raster';
  $('rule').textContent = sampler.drawsInAnyOrder
    ? 'This prior draws in any order: it fills any hole, given all that is left of the picture.'
    : 'This prior draws row by row: it fills in what lies behind the first hidden pixel, given what comes before it.';
}

/** What the controls ask for. */
function asked() {
  const { priors } = sampler.bundle.manifest;
  const options = { temperature: $('temperature').valueAsNumber, seed: $('seed').valueAsNumber };
  if (sampler.numClasses) options.condition = Number($('class').value);
  else if (priors[0].condition) options.condition = priors[0].golden.condition[0].flat(Infinity);
  if (sampler.isGuided) options.guidance = $('guidance').valueAsNumber;
  if (sampler.drawsInAnyOrder) {
    const [order, passes] = $('order').value.split('-');
    options[passes ? 'method' : 'order'] = order;
  }
  return options;
}

async function draw() {
  picture.painted.fill(0);
  picture.showVeil();
  picture.clear();
  await watch(
    asked(),
    picture.drawn.map(() => 1),
  );
}

async function complete() {
  const { hidden } = picture;
  if (!hidden.includes(1)) return say('Nothing is hidden: paint over a part of the picture first.');
  const values = picture.values.slice();
  hidden.forEach((is, place) => is && (picture.drawn[place] = 0));
  picture.painted = new Uint8Array(picture.painted.length);
  picture.showVeil();
  picture.show();
  await watch({ ...asked(), values, mask: hidden }, hidden);
}

/** Shows the pixels as they are drawn, where `wanted` is 1. */
async function watch(options, wanted) {
  const mine = ++drawing;
  const priors = sampler.samplers ?? [sampler];
  const steps = sampler.samplers
    ? priors.reduce((sum, { prior }) => sum + prior.num_steps, 0)
    : wanted.reduce((sum, is) => sum + is, 0);
  const pause = $('slowly').checked ? Math.min(WATCHED_FOR / steps, 60) : 0;
  $('completing').disabled = true;
  let [done, last, shown] = [0, undefined, 0];
  for await (last of sampler.draw(options)) {
    if (mine !== drawing) return;
    if (last.hidden) done = drawnBy(last);
    else done += 1;
    $('progress').value = done / steps;
    placesOf(last).forEach((place) => (picture.drawn[place] = 1));
    if (!pause && performance.now() - shown < 30) continue;
    await place(last, wanted);
    say(`Drawing: ${done} of ${steps}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
    shown = performance.now();
  }
  if (mine !== drawing) return;
  picture.drawn.fill(1);
  await place(last, wanted);
  $('progress').value = 1;
  $('completing').disabled = false;
  say(
    `Drawn from seed ${options.seed}: ${last.logProb[0].toFixed(2).replace('-', '−')} nats${options.values ? ' of what was hidden' : ''}.`,
  );
}

/** How many values are drawn after a pass, those of coarser grids too. */
function drawnBy({ hidden, grid = 0 }) {
  const before = (sampler.samplers ?? []).slice(0, grid).reduce((sum, { prior }) => sum + prior.num_steps, 0);
  return before + hidden.reduce((sum, is) => sum + (is ? 0 : 1), 0);
}

/** Where in the picture something was drawn: pixels, or the blocks that codes stand for. */
function placesOf({ position, hidden, grid }) {
  const drawn = position ? [position[0]] : Array.from(hidden.keys()).filter((place) => !hidden[place]);
  return drawn.flatMap((place) => blockOf(place, grid));
}

function blockOf(position, grid) {
  if (!sampler.samplers) return [position];
  const [rows, columns] = sampler.samplers[grid].gridShape;
  const [tall, wide] = [picture.height / rows, picture.width / columns];
  const [top, left] = [Math.floor(position / columns) * tall, (position % columns) * wide];
  return Array.from(
    { length: tall * wide },
    (_, cell) => (top + Math.floor(cell / wide)) * picture.width + left + (cell % wide),
  );
}

/** Shows what was drawn so far, of codes the images that they stand for. */
async function place({ values, codes }, wanted) {
  const images = codes ? (await sampler.decode(codes)).values : values;
  wanted.forEach((is, where) => {
    const start = where * picture.channels;
    if (is) picture.values.set(images.subarray(start, start + picture.channels), start);
  });
  picture.show();
}

function say(text) {
  $('status').textContent = text;
}

function enable(ready) {
  $('drawing').disabled = !ready;
  $('completing').disabled = true;
  $('progress').value = 0;
}

/** Does something, and tells what went wrong. */
async function attempt(action) {
  $('fault').hidden = true;
  try {
    await action();
  } catch (error) {
    const kind = error instanceof BundleError ? 'This bundle cannot be opened or drawn from. ' : '';
    $('fault').textContent = kind + error.message;
    $('fault').hidden = false;
    say(sampler ? 'Nothing new was drawn.' : 'No bundle is open.');
  }
}

function paintAt(event) {
  const { x, y } = picture.pixelAt(event);
  picture.paint(x, y, $('size').valueAsNumber, $('controls').elements.brush.value === 'hide');
}

const KEYS = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
};

function press(event) {
  if ($('completing').disabled) return;
  const cursor = (picture.cursor ??= { x: 0, y: 0 });
  if (event.key in KEYS) {
    const [right, down] = KEYS[event.key];
    cursor.x = Math.min(Math.max(cursor.x + right, 0), picture.width - 1);
    cursor.y = Math.min(Math.max(cursor.y + down, 0), picture.height - 1);
  } else if (event.key === ' ') {
    picture.paint(cursor.x, cursor.y, 1, !picture.painted[cursor.y * picture.width + cursor.x]);
  } else if (event.key === 'Enter') attempt(complete);
  else if (event.key === 'Escape') picture.painted.fill(0);
  else return;
  event.preventDefault();
  picture.showVeil();
}

$('folder').addEventListener('change', () => attempt(() => open(chosenFiles($('folder')))));
$('open').addEventListener('click', () => attempt(() => open($('url').value)));
$('url').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  attempt(() => open($('url').value));
});
$('controls').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(draw);
});
$('complete').addEventListener('click', () => attempt(complete));
$('clear').addEventListener('click', () => {
  picture.painted.fill(0);
  picture.showVeil();
});
$('another').addEventListener('click', () => {
  $('seed').value = Math.floor(Math.random() * 1e6);
  attempt(draw);
});
for (const name of ['temperature', 'guidance']) {
  $(name).addEventListener('input', () => ($(`${name}Shown`).textContent = $(name).valueAsNumber.toFixed(2)));
}
$('veil').addEventListener('pointerdown', (event) => {
  if ($('completing').disabled) return;
  $('veil').setPointerCapture(event.pointerId);
  picture.cursor = null;
  paintAt(event);
});
$('veil').addEventListener('pointermove', (event) => {
  if ($('veil').hasPointerCapture(event.pointerId)) paintAt(event);
});
$('veil').addEventListener('keydown', press);
$('veil').addEventListener('blur', () => {
  picture.cursor = null;
  picture.showVeil();
});
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  $('frame').classList.add('dropping');
});
for (const name of ['dragleave', 'drop']) {
  document.addEventListener(name, () => $('frame').classList.remove('dropping'));
}
document.addEventListener('drop', (event) => {
  event.preventDefault();
  attempt(async () => open(await droppedFiles(event.dataTransfer)));
});

const address = new URLSearchParams(location.search).get('bundle');
if (address) {
  $('url').value = new URL(address, location.href);
  attempt(() => open(address));
}
