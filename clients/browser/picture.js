/** A grid of integers on a canvas, a pixel for a pixel, and above it the veil that hides a part of it. */

export class Picture {
  #veil;
  #picture;

  constructor(picture, veil, frame) {
    [this.#picture, this.#veil, this.frame] = [picture, veil, frame];
    this.cursor = null;
    new ResizeObserver(() => this.showVeil()).observe(veil);
  }

  /** An empty one of other images. */
  reset([height, width, channels], numLevels, drawsInAnyOrder) {
    Object.assign(this, { height, width, channels, numLevels, drawsInAnyOrder, cursor: null });
    [this.#picture.width, this.#picture.height] = [width, height];
    this.frame.style.setProperty('--wide', width / height);
    this.painted = new Uint8Array(height * width);
    this.clear();
    this.showVeil();
  }

  /** Nothing is drawn. */
  clear() {
    this.values = new Int32Array(this.height * this.width * this.channels);
    this.drawn = new Uint8Array(this.height * this.width);
    this.show();
  }

  /** What is to be drawn anew: what was painted over, and in raster order all that comes after it. */
  get hidden() {
    if (this.drawsInAnyOrder) return this.painted;
    const first = this.painted.indexOf(1);
    return this.painted.map((_, place) => (first >= 0 && place >= first ? 1 : 0));
  }

  /** Paints what is drawn, in the greys or colours of its levels. */
  show() {
    const context = this.#picture.getContext('2d');
    const image = context.createImageData(this.width, this.height);
    for (let place = 0; place < this.drawn.length; place++) {
      for (let channel = 0; channel < 3; channel++) {
        const value = this.values[place * this.channels + (this.channels === 3 ? channel : 0)];
        image.data[4 * place + channel] = Math.round((255 * value) / Math.max(this.numLevels - 1, 1));
      }
      image.data[4 * place + 3] = this.drawn[place] ? 255 : 0;
    }
    context.putImageData(image, 0, 0);
  }

  /** Hatches what is hidden, and frames the pixel where the keyboard is. */
  showVeil() {
    if (!this.painted) return;
    const { clientWidth, clientHeight } = this.#veil;
    const scale = window.devicePixelRatio || 1;
    [this.#veil.width, this.#veil.height] = [clientWidth * scale, clientHeight * scale];
    const context = this.#veil.getContext('2d');
    context.scale((clientWidth * scale) / this.width, (clientHeight * scale) / this.height);
    const line = this.width / clientWidth; // a pixel of the screen
    const { hidden, painted, width } = this;
    context.strokeStyle = 'rgb(255 255 255 / 0.7)';
    context.lineWidth = 1.5 * line;
    hidden.forEach((is, place) => {
      if (!is) return;
      const [x, y] = [place % width, Math.floor(place / width)];
      context.fillStyle = painted[place] ? 'rgb(11 110 99 / 0.8)' : 'rgb(11 110 99 / 0.45)';
      context.fillRect(x, y, 1, 1);
      context.beginPath();
      context.moveTo(x, y + 1);
      context.lineTo(x + 1, y);
      context.stroke();
    });
    if (this.cursor) {
      for (const [colour, inset] of [
        ['#000', 1.5],
        ['#fff', 4],
      ]) {
        context.strokeStyle = colour;
        context.lineWidth = 2.5 * line;
        const { x, y } = this.cursor;
        context.strokeRect(x + inset * line, y + inset * line, 1 - 2 * inset * line, 1 - 2 * inset * line);
      }
    }
  }

  /** Hides or shows the square of pixels around one. */
  paint(x, y, size, hide) {
    const start = Math.floor((size - 1) / 2);
    for (let row = y - start; row < y - start + size; row++) {
      for (let column = x - start; column < x - start + size; column++) {
        const inside = row >= 0 && row < this.height && column >= 0 && column < this.width;
        if (inside) this.painted[row * this.width + column] = hide ? 1 : 0;
      }
    }
    this.showVeil();
  }

  /** The pixel below a pointer. */
  pixelAt({ clientX, clientY }) {
    const { left, top, width, height } = this.#veil.getBoundingClientRect();
    const at = (offset, length, count) =>
      Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
    return { x: at(clientX - left, width, this.width), y: at(clientY - top, height, this.height) };
  }
}
