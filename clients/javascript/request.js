/** What is asked for, checked before any work is done: everything as one typed array for all examples. */

import { checkedSeed, uniforms } from './philox.js';

export const size = (shape) => shape.reduce((product, length) => product * length, 1);

/** A number for each of `count` examples, of one number for all or of a list. */
export function perExample(name, option, count, fits, expected, Numbers = Float32Array) {
  const given = typeof option === 'number' ? Array(count).fill(option) : Array.from(option ?? []);
  if (given.length !== count || !given.every(fits)) {
    throw new RangeError(
      `${name} is ${shown(option)}; expected ${expected}, or one for each of ${count} examples.`,
    );
  }
  return Numbers.from(given);
}

/** Integers in [0, levels), example after example. */
export function integers(name, values, length, levels) {
  const fits =
    values?.length === length &&
    Array.prototype.every.call(values, (value) => Number.isInteger(value) && value >= 0 && value < levels);
  if (!fits)
    throw new RangeError(
      `${name} are ${shown(values)}; expected ${length} integers from 0 to ${levels - 1}.`,
    );
  return Int32Array.from(values);
}

/** A number of examples. */
export const checkedCount = (count) => integer('count', count);

/** How many there are of something. */
export function integer(name, number) {
  if (!Number.isSafeInteger(number) || number < 1)
    throw new RangeError(`${name} is ${number}; expected an integer from 1.`);
  return number;
}

/** Temperature and guidance by their names as the functions take them. */
export function drawingOptions({ temperature = 1, guidance }, isGuided, count) {
  if (guidance !== undefined && !isGuided) {
    throw new RangeError(
      `guidance is ${guidance} and the prior was not trained with condition_dropout; leave it out.`,
    );
  }
  const positive = (number) => Number.isFinite(number) && number > 0;
  const options = {
    temperature: perExample('temperature', temperature, count, positive, 'a positive number'),
  };
  if (isGuided) {
    options.guidance = perExample(
      'guidance',
      guidance ?? 0,
      count,
      (w) => Number.isFinite(w) && w >= 0,
      'a number from 0',
    );
  }
  return options;
}

/** The condition under its name as the functions take it; nothing for an unconditional prior. */
export function conditionOf(prior, condition, count) {
  const kind = prior.condition;
  if (!kind || condition === undefined || condition === null) {
    if (!kind === (condition === undefined || condition === null)) return {};
    throw new RangeError(
      kind
        ? `The prior takes a ${kind.kind} as its condition; got none.`
        : 'The prior takes no condition; leave it out.',
    );
  }
  if (kind.kind === 'label') {
    const fits = (label) => Number.isInteger(label) && label >= 0 && label < kind.num_classes;
    return {
      condition: perExample(
        'condition',
        numbered(condition, kind),
        count,
        fits,
        `a label from 0 to ${kind.num_classes - 1}`,
        Int32Array,
      ),
    };
  }
  const length = size(kind.shape);
  if (kind.kind === 'source') {
    const given = condition.length / count; // sources may be shorter
    const tokens = integers(
      'condition',
      condition,
      count * Math.min(Math.floor(given), length),
      kind.num_levels,
    );
    const padded = new Int32Array(count * length).fill(kind.padding);
    for (let example = 0; example < count; example++) {
      padded.set(tokens.subarray(example * given, (example + 1) * given), example * length);
    }
    return { condition: padded };
  }
  if (condition.length !== count * length || !Array.prototype.every.call(condition, Number.isFinite)) {
    throw new RangeError(
      `condition has ${condition.length} numbers; expected ${count * length} finite ones: ${count} of [${kind.shape}].`,
    );
  }
  return { condition: Float32Array.from(condition) };
}

/** Labels that are told by their names as numbers. */
function numbered(labels, { num_classes: classes, class_names: names }) {
  const one = (label) => {
    if (typeof label !== 'string') return label;
    const number = names?.indexOf(label) ?? -1;
    if (number < 0 || names.lastIndexOf(label) !== number) {
      const byName = names ? `, or one of ${names.join(', ')}` : '';
      throw new RangeError(
        `No class is called '${label}'; expected a label from 0 to ${classes - 1}${byName}.`,
      );
    }
    return number;
  };
  return typeof labels === 'string' || typeof labels === 'number' ? one(labels) : Array.from(labels, one);
}

/** The noise (B, P, K): given, or of a seed. */
export function noiseOf(prior, { seed, uniforms: given }, count, grid, perPosition = prior.noise.per_step) {
  const { num_steps: positions } = prior;
  if (given === undefined) return uniforms(checkedSeed(seed), count, positions, perPosition, grid);
  if (seed !== undefined)
    throw new RangeError('Got both uniforms and a seed; the uniforms are the noise: leave the seed out.');
  const length = count * positions * perPosition;
  const numbers = Float32Array.from(given);
  if (numbers.length !== length || !numbers.every((u) => u >= 0 && u < 1)) {
    throw new RangeError(`Got ${numbers.length} uniforms; expected ${length} numbers from 0 to below 1.`);
  }
  return numbers;
}

/** What is known and what is hidden, (B, P, C) and (B, P): all is hidden where nothing is observed. */
export function completionOf(prior, { values, mask }, count) {
  const positions = prior.num_steps;
  if (values === undefined && mask === undefined)
    return { hidden: new Uint8Array(count * positions).fill(1) };
  if (values === undefined || mask === undefined) {
    throw new RangeError('A completion takes both values and a mask, which is 1 where they are hidden.');
  }
  const known = integers('values', values, count * size(prior.grid_shape), prior.num_levels);
  return { values: known, hidden: hiddenBy(mask, count, positions) };
}

/** A mask of one example for all, or of each: (B, P) of 0 and 1. */
export function hiddenBy(mask, count, positions) {
  if (mask.length !== positions && mask.length !== count * positions) {
    throw new RangeError(
      `The mask has ${mask.length} places; expected ${positions}, or ${count * positions}.`,
    );
  }
  return Uint8Array.from({ length: count * positions }, (_, place) => (mask[place % mask.length] ? 1 : 0));
}

/** The order (B, P) in which positions are drawn: what is known comes first, where the prior draws in any order. */
export function orderOf(prior, order, hidden, count) {
  const {
    num_steps: positions,
    grid_shape: [height, width],
  } = prior;
  const raster = Int32Array.from({ length: positions }, (_, position) => position);
  if (prior.orders === 'raster' && order !== undefined) {
    throw new RangeError(
      `The prior draws in raster order alone and got order ${shown(order)}; leave it out.`,
    );
  }
  const named = { raster: () => raster, halton: () => halton(height, width) };
  const given =
    order === undefined ? raster : typeof order === 'string' ? named[order]?.() : Int32Array.from(order);
  const along = new Int32Array(count * positions);
  for (let example = 0; example < count; example++) {
    const own =
      given?.length === count * positions
        ? given.subarray(example * positions, (example + 1) * positions)
        : given;
    if (
      own?.length !== positions ||
      new Set(own).size !== positions ||
      !own.every((place) => place >= 0 && place < positions)
    ) {
      throw new RangeError(
        `order is ${shown(order)}; expected 'raster', 'halton', or each of 0 … ${positions - 1} once.`,
      );
    }
    const later = (place) => prior.orders === 'any' && hidden[example * positions + place];
    along.set([...own.filter((place) => !later(place)), ...own.filter(later)], example * positions);
  }
  return along;
}

/** The order in which the 2-D Halton sequence (bases 2 and 3) first visits the positions. */
export function halton(height, width) {
  const seen = new Set();
  for (let index = 1; seen.size < height * width; index++) {
    seen.add(
      Math.floor(radicalInverse(index, 2) * height) * width + Math.floor(radicalInverse(index, 3) * width),
    );
  }
  return Int32Array.from(seen);
}

function radicalInverse(index, base) {
  let [value, scale] = [0, 1];
  for (; index; index = Math.floor(index / base)) {
    scale /= base;
    value += (index % base) * scale;
  }
  return value;
}

function shown(option) {
  const text =
    option?.length === undefined || typeof option === 'string' ? String(option) : `[${Array.from(option)}]`;
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
