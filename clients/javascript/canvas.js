/**
 * Grids while they are drawn: what is known, what was drawn, and which position comes when.
 *
 * Shapes: B examples · P positions y · W + x · C channels · K uniforms a position.
 */

export class Canvas {
  /** `values` (B, P, C) are known where not `hidden` (B, P); `order` (B, P) has what is known first. */
  constructor({ count, positions, channels, noise, order, values, hidden }) {
    Object.assign(this, { count, positions, channels, noise, order, hidden });
    this.values = values ?? new Int32Array(count * positions * channels);
    this.logProb = new Float64Array(count);
    this.places = Int32Array.from({ length: count * positions }, (_, place) => place % positions);
    const asked = Array.from({ length: positions }, (_, rank) => this.at(hidden, rank).some(Boolean));
    /** The ranks from the first one at which something is hidden to behind the last one. */
    [this.begin, this.end] = [asked.indexOf(true), asked.lastIndexOf(true) + 1];
    if (!this.end) this.begin = 0;
  }

  /** Where each example stands at a rank of its order: (B,). */
  position(rank) {
    return this.at(this.places, rank);
  }

  /** What an array (B, P, …) holds at a rank: (B, …). */
  at(array, rank) {
    return this.slice(array, rank, rank + 1);
  }

  /** What an array (B, P, …) holds from one rank to before another: (B, n, …). */
  slice(array, first, stop) {
    const width = array.length / (this.count * this.positions);
    const part = new array.constructor(this.count * (stop - first) * width);
    let filled = 0;
    for (let example = 0; example < this.count; example++) {
      for (let rank = first; rank < stop; rank++) {
        const start = (example * this.positions + this.order[example * this.positions + rank]) * width;
        part.set(array.subarray(start, start + width), filled);
        filled += width;
      }
    }
    return part;
  }

  /** Keeps what was drawn (B, C), with its nats (B,), where it is hidden at a rank. */
  put(rank, drawn, nats) {
    const position = this.position(rank);
    const hidden = this.at(this.hidden, rank);
    position.forEach((where, example) => {
      if (!hidden[example]) return;
      const start = example * this.channels;
      this.values.set(
        drawn.subarray(start, start + this.channels),
        (example * this.positions + where) * this.channels,
      );
      this.logProb[example] += nats[example];
    });
    return {
      rank,
      position,
      drawn: hidden,
      value: this.at(this.values, rank),
      values: this.values,
      logProb: this.logProb,
    };
  }
}
