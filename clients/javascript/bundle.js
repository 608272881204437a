/** A bundle's files, compared with its manifest, and its functions in ONNX Runtime. */

const FORMAT = 'tfprior.bundle';
const SCHEMA_VERSIONS = [2, 3, 4, 5, 6];
/** What manifests of schema 2 do not say of their priors. */
const IN_RASTER_ORDER = { orders: 'raster', cache: null, hidden_apart: null };
const MANIFEST = 'manifest.json';
const GENERATOR = 'philox4x32-10';
const PLAIN_PATH = /^[\w .@+-]+(\/[\w .@+-]+)*$/;

/** A bundle that is missing, damaged, newer, or does not compute what its manifest says. */
export class BundleError extends Error {
  name = 'BundleError';
}

/**
 * A bundle whose manifest is whole; every other file is checked when it is first needed.
 * `source` is a Map of paths to Blobs or bytes, a URL, or in Node a folder; `ort` is onnxruntime-node or -web.
 */
export class Bundle {
  #read;
  #ort;
  #options;
  #sessions = new Map();
  #weights;

  constructor(read, manifest, ort, options) {
    [this.#read, this.manifest, this.#ort, this.#options] = [read, manifest, ort, options];
  }

  static async open(source, ort, options = {}) {
    const read = readerOf(source);
    return new Bundle(read, await checkedManifest(await read(MANIFEST)), ort, options);
  }

  /** Runs a function on arrays or tensors by name, of which it takes what it needs: tensors by name. */
  async run(name, count, arrays) {
    const session = await this.#session(name);
    const { inputs, outputs } = this.manifest.functions[name];
    const feeds = Object.fromEntries(
      inputs.map((port) => [port.name, this.#tensor(port, count, arrays[port.name])]),
    );
    const results = await session.run(feeds);
    for (const port of outputs) {
      const { dims, type } = results[port.name];
      const sizes = [count, ...port.shape.slice(1)];
      const fits =
        dims.length === sizes.length &&
        sizes.every((size, axis) => typeof size === 'string' || size === dims[axis]);
      ensure(
        fits && type === port.dtype,
        `The function '${name}' gives ${port.name} as ${type} [${dims}]; expected ${port.dtype} [${sizes}]: do not use the bundle.`,
      );
    }
    return results;
  }

  /** An array as the tensor of a port; the size that a call chooses follows from its length. */
  #tensor(port, count, array) {
    if (array?.dims) return array;
    const sizes = port.shape.slice(1);
    const chosen =
      array.length / sizes.reduce((product, size) => product * (typeof size === 'string' ? 1 : size), count);
    return new this.#ort.Tensor(port.dtype, array, [
      count,
      ...sizes.map((size) => (typeof size === 'string' ? chosen : size)),
    ]);
  }

  #session(name) {
    if (!this.#sessions.has(name)) this.#sessions.set(name, this.#load(name));
    return this.#sessions.get(name);
  }

  async #load(name) {
    const described = this.manifest.functions[name];
    ensure(described, `The bundle has no function '${name}'.`);
    const graph = await this.#file(`onnx/${name}.onnx`);
    const externalData = await (this.#weights ??= this.#sharedWeights());
    const options = externalData.length ? { ...this.#options, externalData } : this.#options;
    let session;
    try {
      session = await this.#ort.InferenceSession.create(graph, options);
    } catch (error) {
      throw new BundleError(
        `ONNX Runtime does not load onnx/${name}.onnx (${String(error.message).split('\n')[0]}).`,
      );
    }
    for (const side of ['input', 'output']) {
      const [found, expected] = [session[`${side}Names`], described[`${side}s`].map((port) => port.name)];
      const same = found.length === expected.length && expected.every((port) => found.includes(port));
      ensure(
        same,
        `onnx/${name}.onnx has the ${side}s ${found.join(', ')}; expected ${expected.join(', ')}: do not use the bundle.`,
      );
    }
    return session;
  }

  /** The files beside the graphs, whose weights several of them share. */
  #sharedWeights() {
    const shared = this.manifest.files.filter(
      ({ path }) => path.startsWith('onnx/') && !path.endsWith('.onnx'),
    );
    return Promise.all(
      shared.map(async ({ path }) => ({ path: path.slice('onnx/'.length), data: await this.#file(path) })),
    );
  }

  async #file(path) {
    const entry = this.manifest.files.find((file) => file.path === path);
    ensure(
      entry && PLAIN_PATH.test(path) && !path.split('/').includes('..'),
      `The bundle holds no ${path}; export it with ONNX.`,
    );
    const bytes = await this.#read(path);
    ensure(
      bytes.length === entry.bytes,
      `${path} has ${bytes.length} bytes and the manifest says ${entry.bytes}: it is truncated or changed; copy the bundle again.`,
    );
    ensure(
      (await sha256(bytes)) === entry.sha256,
      `${path} does not have the SHA-256 of the manifest: it was changed; copy it again.`,
    );
    return bytes;
  }
}

async function checkedManifest(bytes) {
  let text, manifest;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    manifest = JSON.parse(text);
  } catch (error) {
    throw new BundleError(`${MANIFEST} is unreadable (${error.message}); copy or export the bundle again.`);
  }
  ensure(
    manifest?.format === FORMAT,
    `${MANIFEST} is not that of a ${FORMAT}; expected a folder made by tfprior.export.save.`,
  );
  const [version, newest] = [manifest.schema_version, SCHEMA_VERSIONS.at(-1)];
  const remedy = version > newest ? 'upgrade the client' : 'export the bundle again';
  ensure(
    SCHEMA_VERSIONS.includes(version),
    `${MANIFEST} has schema version ${version} and this client reads ${SCHEMA_VERSIONS[0]} to ${newest}: ${remedy}.`,
  );
  const unsealed = text.replace(/("manifest_sha256": ")[0-9a-f]{64}"/, `$1${'0'.repeat(64)}"`);
  ensure(
    manifest.manifest_sha256 === (await sha256(new TextEncoder().encode(unsealed))),
    `${MANIFEST} does not have its own SHA-256: it was changed; copy the bundle again.`,
  );
  for (const { noise } of manifest.priors) {
    const generator = noise.generator ?? GENERATOR;
    ensure(
      generator === GENERATOR,
      `The bundle's seeds are those of ${generator} and this client knows ${GENERATOR}: upgrade it.`,
    );
  }
  return { ...manifest, priors: manifest.priors.map((prior) => ({ ...IN_RASTER_ORDER, ...prior })) };
}

/** Reads a file by its path, wherever the bundle lies. */
function readerOf(source) {
  const missing = (path, why) =>
    new BundleError(`${path} is missing (${why}); expected the whole folder that tfprior.export.save made.`);
  if (source instanceof Map) {
    return async (path) => {
      const file = source.get(path);
      if (!file) throw missing(path, 'not among the files');
      return file instanceof Uint8Array ? file : new Uint8Array(await file.arrayBuffer());
    };
  }
  const inBrowser = typeof document !== 'undefined';
  if (!inBrowser && !/^https?:/.test(source)) {
    return async (path) => {
      const [{ readFile }, { join }, { fileURLToPath }] = await Promise.all(
        ['node:fs/promises', 'node:path', 'node:url'].map((name) => import(name)),
      );
      const folder = source instanceof URL ? fileURLToPath(source) : source;
      return readFile(join(folder, path)).catch((error) => Promise.reject(missing(path, error.code)));
    };
  }
  const folder = new URL(String(source).replace(/\/*$/, '/'), inBrowser ? document.baseURI : undefined);
  return async (path) => {
    const response = await fetch(new URL(path, folder)).catch((error) =>
      Promise.reject(missing(path, error.message)),
    );
    if (!response.ok) throw missing(path, `status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

async function sha256(bytes) {
  ensure(
    globalThis.crypto?.subtle,
    'There is no WebCrypto to check the bundle by; serve the page by https: or on localhost.',
  );
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function ensure(holds, message) {
  if (!holds) throw new BundleError(message);
}
