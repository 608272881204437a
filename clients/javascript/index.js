/**
 * Bundles of tfprior in Node and browsers, over an onnxruntime that is passed in.
 *
 * const sampler = await openBundle('my_prior', ort);
 * const { values } = await sampler.sample({ count: 16, condition: 7, seed: 0 });
 * for await (const pixel of sampler.draw({ seed: 0 })) show(pixel);
 */

import { Bundle, BundleError } from './bundle.js';
import { Generator } from './generator.js';
import { Sampler } from './sampler.js';

export { BundleError, Generator, Sampler };
export { philox, uniforms } from './philox.js';

/** What draws the images of a bundle: of its prior, or of codes through its tokenizer. */
export async function openBundle(source, ort, sessionOptions) {
  const bundle = await Bundle.open(source, ort, sessionOptions);
  if (bundle.manifest.encoder)
    throw new BundleError('The bundle holds an encoder, which draws nothing; expected one of a prior.');
  return bundle.manifest.images ? new Generator(bundle) : new Sampler(bundle);
}
