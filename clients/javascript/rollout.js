/**
 * The loops around a prior's functions, one for each kind of prior: async iterators of the pixels they draw.
 *
 * `run(name, arrays)` runs a function, `inputs` are the options and the condition by name.
 */

/** By `row` once a row and `pixel` once a pixel. */
export async function* byPair(run, prior, canvas, inputs, zeros) {
  const [height, width] = prior.grid_shape;
  const leftEnd = zeros('pixel', 'pixel_state');
  let rowState = zeros('row', 'row_state');
  for (let y = 0; y < height && y * width < canvas.end; y++) {
    const above = canvas.slice(canvas.values, Math.max(y - 1, 0) * width, Math.max(y, 1) * width);
    const row = await run('row', {
      ...inputs,
      row_state: rowState,
      finished_row: above,
      position: canvas.position(y * width),
    });
    rowState = row.row_state_out;
    if ((y + 1) * width <= canvas.begin) continue;
    let pixelState = leftEnd;
    for (let rank = y * width; rank < (y + 1) * width; rank++) {
      const step = { row_features: row.row_features, pixel_state: pixelState, ...at(canvas, rank) };
      const out = await run('pixel', { ...inputs, ...step });
      pixelState = out.pixel_state_out;
      yield canvas.put(rank, out.value.data, out.log_prob.data);
    }
  }
}

/** By `step`, which leads a packed state. */
export async function* byStep(run, prior, canvas, inputs) {
  let { state } = await run('initial_state', { position: canvas.position(0) });
  for (let rank = 0; rank < canvas.end; rank++) {
    const out = await run('step', { ...inputs, state, ...at(canvas, rank) });
    state = out.state_out;
    yield canvas.put(rank, out.value.data, out.log_prob.data);
  }
}

/** By `step`, which leads the keys and values of a Transformer; those of what is known come from `prefill`. */
export async function* byCachedStep(run, prior, canvas, inputs, zeros) {
  const given =
    prior.condition?.kind === 'source' ? { ...inputs, ...(await run('encode_source', inputs)) } : inputs;
  let past = {};
  if (canvas.begin > 0) {
    const known = {
      values: canvas.slice(canvas.values, 0, canvas.begin),
      positions: canvas.slice(canvas.places, 0, canvas.begin),
    };
    past = await run('prefill', { ...given, ...known });
  } else {
    for (let layer = 0; layer < prior.cache.layers; layer++) {
      for (const part of ['key', 'value']) past[`present.${layer}.${part}`] = new Float32Array(0);
    }
  }
  for (let rank = canvas.begin; rank < canvas.end; rank++) {
    const before = Object.entries(past).map(([name, part]) => [
      name.replace('present', 'past_key_values'),
      part,
    ]);
    const out = await run('step', { ...given, ...Object.fromEntries(before), ...at(canvas, rank) });
    past = Object.fromEntries(Object.entries(out).filter(([name]) => name.startsWith('present.')));
    yield canvas.put(rank, out.value.data, out.log_prob.data);
  }
}

/** By `refine` of a masked prior, which draws all that is hidden: one value of it is kept a pass. */
export async function* byPasses(run, prior, canvas, inputs) {
  const { count, positions, channels } = canvas;
  const groups = prior.hidden_apart;
  const together = channels / groups;
  const hidden = new Int32Array(count * positions * groups);
  for (let rank = canvas.begin; rank < canvas.end; rank++) {
    const value = new Int32Array(count * channels);
    const nats = new Float64Array(count);
    const values = canvas.values.slice();
    const position = canvas.position(rank);
    for (let group = 0; group < groups; group++) {
      for (let example = 0; example < count; example++) {
        for (let later = 0; later < positions; later++) {
          const place = example * positions + canvas.order[example * positions + later];
          for (let each = 0; each < groups; each++) {
            hidden[place * groups + each] = later > rank || (later === rank && each >= group) ? 1 : 0;
          }
        }
      }
      const out = await run('refine', {
        ...inputs,
        values: values.slice(),
        hidden: hidden.slice(),
        uniforms: canvas.noise,
      });
      position.forEach((where, example) => {
        const place = example * positions + where;
        for (let channel = group * together; channel < (group + 1) * together; channel++) {
          const drawn = out.values_out.data[place * channels + channel];
          value[example * channels + channel] = drawn;
          if (canvas.hidden[place]) values[place * channels + channel] = drawn;
        }
        nats[example] += out.log_prob.data[place * groups + group];
      });
    }
    yield canvas.put(rank, value, nats);
  }
}

/** What every step takes of the canvas. */
function at(canvas, rank) {
  const before = Math.max(rank - 1, 0);
  return {
    previous: canvas.at(canvas.values, before),
    previous_position: canvas.position(before),
    position: canvas.position(rank),
    uniforms: canvas.at(canvas.noise, rank),
  };
}
