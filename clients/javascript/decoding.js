/**
 * Decoding a masked prior in a few passes of `refine`: each draws all that is hidden, and hides again what it is least
 * confident of.
 *
 * Shapes: B examples · P positions · G values of a position that are hidden apart, of both one after the other.
 */

import { halton as haltonOrder, integer } from './request.js';

const CHOICE_TEMPERATURE = 4.5;
const TINY = 2 ** -24;
const EDGE = 1e-9;

/** Keeps the values that are most probable, but for Gumbel noise that fades (arXiv:2202.04200). */
const maskgit = {
  usual: 8,
  noisePerPosition: (prior, iterations) => iterations * (prior.noise.per_step + prior.hidden_apart),
  hiddenAfter(count, iterations) {
    let left = count;
    return counted(iterations, (iteration) => {
      const share = Math.cos(((Math.PI / 2) * iteration) / iterations);
      return (left = Math.max(Math.min(left - 1, Math.floor(count * share + EDGE)), Math.min(count, 1)));
    });
  },
  noise({ noise: { per_step: numbers }, hidden_apart: groups }, noise, width, pass) {
    return part(noise, width, pass * (numbers + groups), numbers);
  },
  confidence(prior, nats, noise, width, pass, iterations) {
    const [numbers, groups] = [prior.noise.per_step, prior.hidden_apart];
    const temperature = Math.fround(CHOICE_TEMPERATURE * (1 - (pass + 1) / iterations));
    return part(noise, width, pass * (numbers + groups) + numbers, groups).map((uniform, value) => {
      const clipped = Math.min(Math.max(uniform, TINY), 1 - TINY);
      const gumbel = -Math.fround(Math.log(-Math.fround(Math.log(clipped))));
      return nats[value] + Math.fround(temperature * gumbel);
    });
  },
};

/** Keeps the values that come first in Halton order, so that those drawn together lie far apart (arXiv:2503.17076). */
const halton = {
  usual: 32,
  noisePerPosition: (prior) => prior.noise.per_step,
  hiddenAfter: (count, iterations) =>
    counted(iterations, (iteration) => {
      const share = 1 - (Math.acos(iteration / iterations) * 2) / Math.PI;
      return Math.max(count - Math.max(iteration, Math.floor(count * share + EDGE)), 0);
    }),
  noise: (_, noise) => noise,
  confidence({ grid_shape: [height, width], hidden_apart: groups }, nats) {
    const ranks = new Float32Array(height * width);
    haltonOrder(height, width).forEach((place, rank) => (ranks[place] = rank));
    return nats.map((_, value) => {
      const place = Math.floor(value / groups) % ranks.length;
      return -(ranks[place] * groups + (value % groups));
    });
  },
};

const METHODS = { maskgit, halton };

/** A way of decoding by its name, with its number of passes; none where no method is asked for. */
export function decodingOf(prior, { method, iterations, order }) {
  if (method === undefined && iterations === undefined) return undefined;
  if (!Object.hasOwn(METHODS, method ?? '') || prior.hidden_apart === null) {
    const known = prior.hidden_apart === null ? 'none for this prior' : Object.keys(METHODS).join(' or ');
    throw new RangeError(`method is ${method}; expected ${known}. Without one, values are drawn one by one.`);
  }
  if (order !== undefined)
    throw new RangeError(`method '${method}' chooses itself what is drawn first; leave order out.`);
  const way = METHODS[method];
  return { ...way, iterations: integer('iterations', iterations ?? way.usual) };
}

/** The passes of a decoding: all values and nats after each, and what is hidden again. */
export async function* byDecoding(run, prior, canvas, inputs, way) {
  const { count, positions, noise, values } = canvas;
  const { hidden_apart: groups } = prior;
  const [tokens, width] = [positions * groups, noise.length / (count * positions)];
  let hidden = Int32Array.from(
    { length: count * tokens },
    (_, token) => canvas.hidden[Math.floor(token / groups)],
  );
  const each = counted(count, (example) => hidden.subarray((example - 1) * tokens, example * tokens));
  const stay = each.map((asked) => way.hiddenAfter(sum(asked), way.iterations));
  for (let pass = 0; pass < way.iterations && hidden.some(Boolean); pass++) {
    const uniforms = way.noise(prior, noise, width, pass);
    const out = await run('refine', { ...inputs, values: values.slice(), hidden, uniforms });
    const nats = out.log_prob.data;
    const confidence = way.confidence(prior, nats, noise, width, pass, way.iterations);
    const again = hidden.slice();
    for (let example = 0; example < count; example++) {
      const last = pass === way.iterations - 1; // the result is what was drawn last
      const [from, to] = [example * tokens, (example + 1) * tokens];
      keepBest(confidence.subarray(from, to), again.subarray(from, to), last ? 0 : stay[example][pass]);
      for (let token = from; token < to; token++) {
        if (hidden[token] && !again[token]) canvas.logProb[example] += nats[token];
      }
    }
    values.set(out.values_out.data);
    hidden = again;
    const left = canvas.hidden.map((_, place) =>
      hidden.subarray(place * groups, (place + 1) * groups).some(Boolean) ? 1 : 0,
    );
    yield { pass, hidden: left, values, logProb: canvas.logProb };
  }
}

/** Leaves hidden those `count` of what is hidden that have the least confidence. */
function keepBest(confidence, hidden, count) {
  const each = confidence.map((one, value) => (hidden[value] ? one : Infinity));
  const threshold = each.slice().sort()[Math.min(count, each.length - 1)];
  each.forEach((one, value) => (hidden[value] = one < threshold ? 1 : 0));
}

/** Some of the numbers of each position. */
function part(array, width, first, length) {
  const cut = new Float32Array((array.length / width) * length);
  for (let place = 0; place * width < array.length; place++) {
    cut.set(array.subarray(place * width + first, place * width + first + length), place * length);
  }
  return cut;
}

const sum = (array) => array.reduce((total, value) => total + value, 0);
const counted = (length, make) => Array.from({ length }, (_, index) => make(index + 1));
