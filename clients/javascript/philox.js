/** Noise from a seed, the same in every language: Philox4x32-10 (Salmon et al. 2011), laid out as docs/bundle.md says. */

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const WEYL = [0x9e3779b9, 0xbb67ae85];

/** Four random words of 32 bits, for a counter of four and a key of two. */
export function philox([a, b, c, d], [left, right]) {
  for (let round = 0; round < 10; round++) {
    const first = product(MULTIPLIERS[0], a >>> 0);
    const second = product(MULTIPLIERS[1], c >>> 0);
    [a, b, c, d] = [second.high ^ b ^ left, second.low, first.high ^ d ^ right, first.low];
    [left, right] = [left + WEYL[0], right + WEYL[1]];
  }
  return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}

/** The 64 bits of a product of two words, by halves, whose products doubles hold exactly. */
function product(a, b) {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + aLow * bHigh + Math.floor((aLow * bLow) / 0x10000);
  return { low: Math.imul(a, b), high: aHigh * bHigh + Math.floor(middle / 0x10000) };
}

/** Numbers in [0, 1), example after example, position after position. */
export function uniforms(seed, count, positions, perPosition, grid = 0) {
  const number = BigInt(seed);
  const key = [Number(number & 0xffffffffn), Number(number >> 32n)];
  const numbers = new Float32Array(count * positions * perPosition);
  let filled = 0;
  for (let example = 0; example < count; example++) {
    for (let position = 0; position < positions; position++) {
      let words;
      for (let k = 0; k < perPosition; k++) {
        if (k % 4 === 0) words = philox([k / 4, position, example, grid], key);
        numbers[filled++] = (words[k % 4] >>> 8) * 2 ** -24;
      }
    }
  }
  return numbers;
}

/** A seed as given, or another one each time; RangeError unless it is an integer from 0 to 2^64 − 1. */
export function checkedSeed(seed) {
  if (seed === undefined || seed === null) return crypto.getRandomValues(new BigUint64Array(1))[0];
  const fits =
    typeof seed === 'bigint' ? seed >= 0n && seed < 1n << 64n : Number.isSafeInteger(seed) && seed >= 0;
  if (!fits)
    throw new RangeError(`seed is ${seed}; expected an integer from 0 to 2^53 − 1, or a BigInt below 2^64.`);
  return BigInt(seed);
}
