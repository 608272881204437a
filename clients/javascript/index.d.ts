/** Arrays are flat, example after example, row after row, channels last. */

export class BundleError extends Error {}

/** A folder (Node), a URL, or files by their path in the bundle. */
export type Source = string | URL | Map<string, Blob | Uint8Array>;

/** What is used of onnxruntime-node or onnxruntime-web. */
export interface OnnxRuntime {
  InferenceSession: { create(graph: Uint8Array, options?: object): Promise<unknown> };
  Tensor: new (type: never, data: never, dims: readonly number[]) => unknown;
}

/** A number for all examples, or one for each. */
export type PerExample = number | ArrayLike<number>;

/** A label, by its number or its name, for all examples or for each; or what else the prior takes, flat. */
export type Condition = PerExample | string | (string | number)[];

export interface DrawOptions {
  /** How many grids; 1 when left out. */
  count?: number;
  /** Labels, by number or by name, or the numbers of vectors, maps or tokens of all examples. */
  condition?: Condition;
  /** Below 1 sharpens, above 1 flattens every distribution. */
  temperature?: PerExample;
  /** w of classifier-free guidance, of priors trained with condition_dropout. */
  guidance?: PerExample;
  /** From 0 to 2^53 − 1, or a BigInt below 2^64; another one each time when left out. */
  seed?: number | bigint;
}

/** Of masked priors: drawn in a few passes, not value by value; about the same distribution. */
export interface Decoding {
  method: 'maskgit' | 'halton';
  /** How many passes; 8 of "maskgit" and 32 of "halton" when left out. */
  iterations?: number;
}

export interface PriorOptions extends DrawOptions {
  /** The noise (B, H, W, K) in [0, 1) in the place of a seed. */
  uniforms?: ArrayLike<number>;
  /** Of any-order and masked priors: each position y · W + x once, for all examples or for each. */
  order?: 'raster' | 'halton' | ArrayLike<number>;
}

/** What is known (B, H, W, C), and where it is hidden, 1 in (H, W) or (B, H, W). */
export interface Completion {
  values: ArrayLike<number>;
  mask: ArrayLike<number | boolean>;
}

export interface Grids {
  /** Integers (B, H, W, C). */
  values: Int32Array;
  dims: [number, number, number, number];
  /** Nats of what was drawn (B,). */
  logProb: Float32Array | Float64Array;
}

/** A position of each example as it is drawn. */
export interface Pixel {
  /** How many come before it in the order. */
  rank: number;
  /** y · W + x (B,). */
  position: Int32Array;
  /** (B, C). */
  value: Int32Array;
  /** 1 where it was hidden, and so was drawn (B,). */
  drawn: Uint8Array;
  /** All so far (B, H, W, C): the same array each time, written to as drawing goes on. */
  values: Int32Array;
  /** Nats so far (B,); likewise. */
  logProb: Float64Array;
}

/** All after a pass. */
export interface Pass {
  /** How many came before. */
  pass: number;
  /** 1 where something is hidden again (B, H, W). */
  hidden: Uint8Array;
  /** All so far (B, H, W, C): the same array each time. */
  values: Int32Array;
  /** Nats so far (B,); likewise. */
  logProb: Float64Array;
}

export class Sampler {
  readonly gridShape: [number, number, number];
  readonly numLevels: number;
  readonly numClasses: number | null;
  /** By which labels may be told, too; none where the bundle has none. */
  readonly classNames: string[];
  readonly isGuided: boolean;
  readonly drawsInAnyOrder: boolean;
  /** Whole grids, in one call of the exported loop, or in the passes of a `method`. */
  sample(options?: PriorOptions & Partial<Decoding>): Promise<Grids>;
  /** The passes of a `method`; of a completion those that draw what its mask hides. */
  draw(options: PriorOptions & Partial<Completion> & Decoding): AsyncGenerator<Pass, void>;
  /** The pixels as they are drawn; of a completion those that its mask hides. */
  draw(options?: PriorOptions & Partial<Completion>): AsyncGenerator<Pixel, void>;
  /** Draws what is hidden: an any-order prior given all that is known, others given what comes before. */
  complete(options: PriorOptions & Completion & Partial<Decoding>): Promise<Grids>;
  /** Exact log-likelihoods in nats (B,). */
  logProb(options: {
    values: ArrayLike<number>;
    condition?: Condition;
    order?: PriorOptions['order'];
    count?: number;
  }): Promise<Float32Array>;
}

/** Codes, one array (B, h, w, G) for each grid, coarse to fine. */
export type Codes = Int32Array[];

export interface Images {
  /** Integers (B, H, W, C). */
  values: Int32Array;
  /** The same before rounding. */
  expected: Float32Array;
  dims: [number, number, number, number];
}

export interface GeneratorOptions extends DrawOptions {
  /** The noise of each grid of codes in the place of a seed. */
  uniforms?: ArrayLike<number>[];
}

export class Generator {
  readonly samplers: Sampler[];
  readonly gridShape: [number, number, number];
  readonly numLevels: number;
  readonly numClasses: number | null;
  /** By which labels may be told, too; none where the bundle has none. */
  readonly classNames: string[];
  readonly isGuided: boolean;
  readonly drawsInAnyOrder: boolean;
  sample(
    options?: GeneratorOptions & Partial<Decoding>,
  ): Promise<Images & { codes: Codes; logProb: Float32Array | Float64Array }>;
  draw(
    options: GeneratorOptions & Partial<Completion> & Decoding,
  ): AsyncGenerator<Pass & { grid: number; codes: Codes }, void>;
  /** The codes as they are drawn, with all so far for `decode`. */
  draw(
    options?: GeneratorOptions & Partial<Completion>,
  ): AsyncGenerator<Pixel & { grid: number; codes: Codes }, void>;
  /** Draws what is hidden of images, through the codes that stand for it. */
  complete(
    options: GeneratorOptions & Completion & Partial<Decoding>,
  ): Promise<{ values: Int32Array; codes: Codes }>;
  encode(images: ArrayLike<number>): Promise<Codes>;
  decode(codes: Codes): Promise<Images>;
}

/**
 * What draws the images of a bundle: of its prior, or of codes through its tokenizer.
 *
 * Rejects with a BundleError where it is missing, damaged or newer; wrong arguments are RangeErrors.
 */
export function openBundle(
  source: Source,
  ort: OnnxRuntime,
  sessionOptions?: object,
): Promise<Sampler | Generator>;

/** Four random words of 32 bits, for a counter of four and a key of two: Philox4x32-10. */
export function philox(counter: ArrayLike<number>, key: ArrayLike<number>): number[];

/** The noise of a seed (count, positions, perPosition), of a grid of codes. */
export function uniforms(
  seed: number | bigint,
  count: number,
  positions: number,
  perPosition: number,
  grid?: number,
): Float32Array;
