/** A tokenizer and the priors of its codes: images drawn, completed, encoded and decoded. */

import { ensure } from './bundle.js';
import { checkedCount, conditionOf, drawingOptions, hiddenBy, integers, noiseOf, size } from './request.js';
import { checkedSeed } from './philox.js';
import { Sampler } from './sampler.js';

export class Generator {
  constructor(bundle) {
    this.bundle = bundle;
    this.samplers = bundle.manifest.priors.map((_, grid) => new Sampler(bundle, grid));
    this.gridShape = bundle.manifest.images.shape;
    this.numLevels = bundle.manifest.images.num_levels;
    this.numClasses = this.samplers[0].numClasses;
    this.classNames = this.samplers[0].classNames;
    this.isGuided = this.samplers.some((sampler) => sampler.isGuided);
    this.drawsInAnyOrder = this.samplers.every((sampler) => sampler.drawsInAnyOrder);
  }

  /** Images, from noise through their codes in one call of the function `generate`, or in the passes of a `method`. */
  async sample({ count = 1, condition, ...options } = {}) {
    checkedCount(count);
    const inPasses = options.method !== undefined || options.iterations !== undefined;
    if (inPasses) return this.#drawn({ ...options, count, condition });
    const seed = options.uniforms === undefined ? checkedSeed(options.seed) : undefined;
    const arrays = {
      ...drawingOptions(options, this.isGuided, count),
      ...conditionOf(this.samplers[0].prior, condition, count),
    };
    for (const { prior, grid } of this.samplers) {
      arrays[`${prior.prefix}uniforms`] = noiseOf(
        prior,
        { seed, uniforms: options.uniforms?.[grid] },
        count,
        grid,
      );
    }
    const out = await this.bundle.run('generate', count, arrays);
    return {
      ...this.#images('generate', out.images.data, count),
      codes: this.#codes('generate', out),
      logProb: out.log_prob.data,
    };
  }

  /**
   * The codes as they are drawn, grid by grid, coarse to fine, each with all `codes` so far, for `decode`; with the
   * `values` of images and a `mask` of their pixels, those that stand for what it hides.
   */
  async *draw({ count = 1, condition, seed, uniforms, guidance, values, mask, ...options } = {}) {
    const number = uniforms === undefined ? checkedSeed(seed) : undefined;
    const hidden = mask && hiddenBy(mask, checkedCount(count), size(this.gridShape.slice(0, 2)));
    const known = values && (await this.encode(meanFilled(values, hidden, this.gridShape[2], count)));
    const codes = known ?? this.samplers.map(({ gridShape }) => new Int32Array(count * size(gridShape)));
    for (const sampler of this.samplers) {
      const { grid, isGuided } = sampler;
      const its = { ...options, count, condition, seed: number, uniforms: uniforms?.[grid] };
      if (isGuided || !this.isGuided) its.guidance = guidance;
      if (grid > 0) its.condition = await this.#conditionOf(sampler.prior, codes[grid - 1], count);
      if (known)
        Object.assign(its, {
          values: known[grid],
          mask: coarsened(hidden, this.gridShape, sampler.gridShape, count),
        });
      for await (const pixel of sampler.draw(its)) {
        codes[grid] = pixel.values;
        yield { ...pixel, grid, codes };
      }
    }
  }

  /** Draws what is hidden of images, where `mask` is 1, through the codes that stand for it. */
  async complete({ values, mask, ...options }) {
    const count = checkedCount(options.count ?? values.length / size(this.gridShape));
    let codes;
    for await (const pixel of this.draw({ ...options, values, mask, count })) codes = pixel.codes;
    if (!codes)
      return {
        values: Int32Array.from(values),
        dims: [count, ...this.gridShape],
        codes: await this.encode(values),
      };
    const images = await this.decode(codes);
    const hidden = hiddenBy(mask, count, size(this.gridShape.slice(0, 2)));
    const placed = images.values.map((drawn, index) =>
      hidden[Math.floor(index / this.gridShape[2])] ? drawn : values[index],
    );
    return { ...images, values: placed, codes };
  }

  /** Codes of images, one array for each grid, coarse to fine. */
  async encode(images) {
    const count = checkedCount(images.length / size(this.gridShape));
    const values = integers('images', images, count * size(this.gridShape), this.numLevels);
    return this.#codes('encode', await this.bundle.run('encode', count, { images: values }));
  }

  /** Images of codes, one array for each grid. */
  async decode(codes) {
    const count = checkedCount(codes[0].length / size(this.samplers[0].gridShape));
    const named = this.samplers.map(({ prior, gridShape, numLevels, grid }) => [
      `${prior.prefix}codes`,
      integers('codes', codes[grid], count * size(gridShape), numLevels),
    ]);
    return this.#images(
      'decode',
      (await this.bundle.run('decode', count, Object.fromEntries(named))).images.data,
      count,
    );
  }

  /** Images of the codes that there are at the end of drawing. */
  async #drawn(options) {
    const logProb = new Float64Array(options.count);
    const nats = [];
    let codes;
    for await (const pass of this.draw(options)) {
      codes = pass.codes;
      nats[pass.grid] = pass.logProb;
    }
    nats.forEach((each) => each.forEach((one, example) => (logProb[example] += one)));
    return { ...(await this.decode(codes)), codes, logProb };
  }

  async #conditionOf(prior, coarser, count) {
    const { function: name } = prior.condition;
    const [{ name: port }] = this.bundle.manifest.functions[name].inputs;
    return (await this.bundle.run(name, count, { [port]: coarser })).condition.data;
  }

  #codes(name, tensors) {
    return this.samplers.map(({ prior, numLevels }) => {
      const codes = tensors[`${prior.prefix}codes`].data;
      ensure(
        codes.every((code) => code >= 0 && code < numLevels),
        `The function '${name}' gives codes out of range: do not use the bundle.`,
      );
      return codes;
    });
  }

  /** Expected images, rounded to their levels, which rounding errors may leave by a little. */
  #images(name, expected, count) {
    const top = this.numLevels - 1;
    const slack = 1e-3 * Math.max(top, 1);
    const fits = expected.every((value) => value >= -slack && value <= top + slack);
    ensure(fits, `The function '${name}' gives images outside [0, ${top}]: do not use the bundle.`);
    const values = Int32Array.from(expected, (value) => Math.min(Math.max(roundedToEven(value), 0), top));
    return { values, expected, dims: [count, ...this.gridShape] };
  }
}

/** Images with each hidden pixel as the mean of the known ones. */
function meanFilled(values, hidden, channels, count) {
  const [filled, pixels] = [Int32Array.from(values), hidden.length / count];
  for (let example = 0; example < count; example++) {
    for (let channel = 0; channel < channels; channel++) {
      const places = Array.from({ length: pixels }, (_, pixel) => example * pixels + pixel);
      const seen = places
        .filter((place) => !hidden[place])
        .map((place) => values[place * channels + channel]);
      const mean = roundedToEven(seen.reduce((sum, value) => sum + value, 0) / Math.max(seen.length, 1));
      places.filter((place) => hidden[place]).forEach((place) => (filled[place * channels + channel] = mean));
    }
  }
  return filled;
}

/** 1 where any pixel of a block is hidden. */
function coarsened(hidden, [height, width], [rows, columns], count) {
  const blocks = new Uint8Array(count * rows * columns);
  hidden.forEach((is, place) => {
    const [example, y, x] = [
      Math.floor(place / (height * width)),
      Math.floor(place / width) % height,
      place % width,
    ];
    const block =
      (example * rows + Math.floor((y * rows) / height)) * columns + Math.floor((x * columns) / width);
    blocks[block] |= is;
  });
  return blocks;
}

function roundedToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
