/** A prior of a bundle: it draws, completes and scores integer grids. */

import { ensure } from './bundle.js';
import { Canvas } from './canvas.js';
import { byDecoding, decodingOf } from './decoding.js';
import {
  checkedCount,
  completionOf,
  conditionOf,
  drawingOptions,
  integers,
  noiseOf,
  orderOf,
  size,
} from './request.js';
import { byCachedStep, byPair, byPasses, byStep } from './rollout.js';

/** Draws from the prior that is number `grid` of the bundle's, the only one but in generators of several grids. */
export class Sampler {
  constructor(bundle, grid = 0) {
    [this.bundle, this.grid, this.prior] = [bundle, grid, bundle.manifest.priors[grid]];
    this.gridShape = this.prior.grid_shape;
    this.numLevels = this.prior.num_levels;
    this.numClasses = this.prior.condition?.num_classes ?? null;
    this.classNames = this.prior.condition?.class_names ?? [];
    this.isGuided = (this.prior.golden.guidance ?? null) !== null;
    this.drawsInAnyOrder = this.prior.orders === 'any';
  }

  /** Whole grids, in one call of the function `sample`, or in the passes of a `method`. */
  async sample(options = {}) {
    if (decodingOf(this.prior, options)) return this.#drawn(options);
    const { count, noise, order, inputs } = this.#asked(options);
    const out = await this.#run('sample', count, { ...inputs, uniforms: noise, order });
    return this.#checked('sample', out.values.data, out.log_prob.data, count);
  }

  /** The pixels of grids, or the passes of a `method`, as they are drawn; with `values` and a `mask`, what it hides. */
  async *draw(options = {}) {
    const { count, inputs, way, ...asked } = this.#asked(options);
    const canvas = new Canvas({
      count,
      positions: this.prior.num_steps,
      channels: this.gridShape[2],
      ...asked,
    });
    const run = (name, arrays) => this.#run(name, count, arrays);
    const zeros = (name, port) => {
      const { shape } = this.#function(name).inputs.find((input) => input.name === port);
      return new Float32Array(count * size(shape.slice(1)));
    };
    if (way) {
      for await (const pass of byDecoding(run, this.prior, canvas, inputs, way)) {
        this.#checked('refine', pass.values, pass.logProb, count);
        yield pass;
      }
      return;
    }
    for await (const pixel of this.#way()(run, this.prior, canvas, inputs, zeros)) {
      this.#checked('step', pixel.value, pixel.logProb, count);
      if (pixel.drawn.some(Boolean)) yield pixel;
    }
  }

  /** Draws what is hidden, where `mask` is 1, of `values`. */
  async complete({ values, mask, ...options }) {
    const count = checkedCount(options.count ?? values.length / size(this.gridShape));
    const known = integers('values', values, count * size(this.gridShape), this.numLevels);
    return this.#drawn({ ...options, values: known, mask, count });
  }

  /** What there is at the end of drawing: what is known, where nothing is hidden. */
  async #drawn(options) {
    let grids = { values: options.values, logProb: new Float64Array(options.count ?? 1) };
    for await (grids of this.draw(options));
    return this.#checked('step', grids.values, grids.logProb, options.count ?? 1);
  }

  /** The exact log-likelihood of values in nats, one for each example. */
  async logProb({ values, condition, order, count = values.length / size(this.gridShape) }) {
    const known = integers('values', values, checkedCount(count) * size(this.gridShape), this.numLevels);
    const along = orderOf(this.prior, order, [], count);
    const out = await this.#run('log_prob', count, {
      values: known,
      order: along,
      ...conditionOf(this.prior, condition, count),
    });
    return this.#checked('log_prob', known, out.log_prob.data, count).logProb;
  }

  #asked({ count = 1, order, condition, ...options }) {
    checkedCount(count);
    const known = completionOf(this.prior, options, count);
    const way = decodingOf(this.prior, { ...options, order });
    const numbers = way?.noisePerPosition(this.prior, way.iterations);
    return {
      count,
      way,
      noise: noiseOf(this.prior, options, count, this.grid, numbers),
      order: orderOf(this.prior, order, known.hidden, count),
      inputs: {
        ...drawingOptions(options, this.isGuided, count),
        ...conditionOf(this.prior, condition, count),
      },
      ...known,
    };
  }

  #way() {
    if (this.prior.hidden_apart !== null) return byPasses;
    if (this.prior.cache !== null) return byCachedStep;
    return this.#function('row') ? byPair : byStep;
  }

  #function(name) {
    return this.bundle.manifest.functions[this.prior.prefix + name];
  }

  #run(name, count, arrays) {
    return this.bundle.run(this.prior.prefix + name, count, arrays);
  }

  #checked(name, values, logProb, count) {
    ensure(
      values.every((value) => value >= 0 && value < this.numLevels) && logProb.every(Number.isFinite),
      `The function '${name}' gives integers outside [0, ${this.numLevels - 1}], or a likelihood that is no number: do not use the bundle.`,
    );
    return { values, logProb, dims: [count, ...this.gridShape] };
  }
}
