/* Draws grids from the SavedModel of a bundle, by TensorFlow's C API: the loop around the function `step`.
 *
 *   sample BUNDLE COUNT SEED [TEMPERATURE [LABEL | FILE [GUIDANCE]]]
 *
 * prints COUNT lines of H · W · C integers, those that Python draws from the same seed. The condition is a label
 * for all, or a file of them, or of the float32 numbers of vectors or maps, in the order of this machine's bytes;
 * guidance is a number from 0 for priors that have learnt to do without their condition.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <tensorflow/c/c_api.h>

#include "json.h"
#include "philox.h"

#define MOST_PORTS 16

typedef struct {
  const char *manifest;
  TF_Graph *graph;
  TF_Session *session;
  TF_Status *status;
} Model;

typedef struct {
  const char *port;
  TF_Tensor *tensor;
} Named;

static void require(int holds, const char *fault, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s: %s\n", fault, what);
  exit(1);
}

static float number(const char *given, const char *fault) {
  char *end;
  const float read = strtof(given, &end);
  require(end != given && !*end && read - read == 0, fault, given); /* neither infinite nor NaN */
  return read;
}

static char *content(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  require(file && !fseek(file, 0, SEEK_END), "cannot read", path);
  *size = (size_t)ftell(file);
  char *bytes = calloc(*size + 1, 1);
  rewind(file);
  require(bytes && fread(bytes, 1, *size, file) == *size, "cannot read", path);
  fclose(file);
  return bytes;
}

static TF_Tensor *tensor(TF_DataType type, int64_t count, int64_t width, const void *values) {
  int64_t dims[2] = {count, width};
  size_t bytes = (size_t)(count * (width ? width : 1)) * 4;
  TF_Tensor *made = TF_AllocateTensor(type, dims, width ? 2 : 1, bytes);
  memcpy(TF_TensorData(made), values, bytes);
  return made;
}

/* The tensor "OPERATION:INDEX" that the manifest names for a port of a function. */
static TF_Output port(const Model *model, const char *function, const char *side, const char *name) {
  const char *at = json_at(model->manifest, "saved_model", 0);
  at = at ? json_at(at, function, 0) : NULL;
  at = at ? json_at(at, side, 0) : NULL;
  at = at ? json_at(at, name, 0) : NULL;
  if (!at) return (TF_Output){NULL, 0};
  char operation[256] = "";
  int index = 0;
  require(sscanf(at, "\"%255[^:]:%d", operation, &index) == 2, "no tensor in the manifest", name);
  TF_Output output = {TF_GraphOperationByName(model->graph, operation), index};
  require(output.oper != NULL, "the SavedModel has no operation", operation);
  return output;
}

/* Runs a function on those of the inputs that it takes; results take the place of the outputs' tensors. */
static void run(const Model *model, const char *function, const Named *in, int ins, Named *out, int outs) {
  TF_Output feeds[MOST_PORTS], fetches[MOST_PORTS];
  TF_Tensor *values[MOST_PORTS], *results[MOST_PORTS];
  int taken = 0;
  for (int i = 0; i < ins; i++) {
    feeds[taken] = port(model, function, "inputs", in[i].port);
    if (feeds[taken].oper) values[taken++] = in[i].tensor;
  }
  for (int i = 0; i < outs; i++) {
    fetches[i] = port(model, function, "outputs", out[i].port);
    require(fetches[i].oper != NULL, "the bundle was exported without a SavedModel, or lacks the output", out[i].port);
  }
  TF_SessionRun(model->session, NULL, feeds, values, taken, fetches, results, outs, NULL, 0, NULL, model->status);
  require(TF_GetCode(model->status) == TF_OK, function, TF_Message(model->status));
  for (int i = 0; i < outs; i++) out[i].tensor = results[i];
}

static Model open_model(const char *bundle) {
  char path[4096];
  size_t size;
  Model model = {NULL, TF_NewGraph(), NULL, TF_NewStatus()};
  snprintf(path, sizeof path, "%s/manifest.json", bundle);
  model.manifest = content(path, &size);
  snprintf(path, sizeof path, "%s/saved_model/1", bundle);
  const char *tags[] = {"serve"};
  TF_SessionOptions *options = TF_NewSessionOptions();
  model.session =
      TF_LoadSessionFromSavedModel(options, NULL, path, tags, 1, model.graph, NULL, model.status);
  require(TF_GetCode(model.status) == TF_OK, path, TF_Message(model.status));
  TF_DeleteSessionOptions(options);
  return model;
}

/* The condition of all examples, a label or what a file holds; NULL for none. */
static TF_Tensor *condition_of(const char *prior, const char *given, int64_t count) {
  const char *described = json_at(prior, "condition", 0), *kind = json_at(described, "kind", 0);
  require(!given == !kind, "a condition is for conditional priors, which need one", given ? given : "none");
  if (!kind) return NULL;
  int is_label = !strncmp(kind, "\"label\"", 7);
  char *end, *bytes;
  int32_t label = (int32_t)strtol(given, &end, 10);
  if (is_label && !*end) {
    require(label >= 0 && label < atoi(json_at(described, "num_classes", 0)), "no such class", given);
    int32_t *labels = malloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) labels[i] = label;
    return tensor(TF_INT32, count, 0, labels);
  }
  int64_t dims[4] = {count};
  int rank = 1;
  size_t expected = (size_t)count * 4, size;
  const char *shape = is_label ? NULL : json_at(described, "shape", 0);
  for (const char *length; shape && rank < 4 && (length = json_at(shape, NULL, rank - 1)); rank++) {
    dims[rank] = atoll(length);
    expected *= (size_t)dims[rank];
  }
  bytes = content(given, &size);
  require(size == expected, "the condition has another number of bytes than its shape", given);
  TF_Tensor *made = TF_AllocateTensor(is_label ? TF_INT32 : TF_FLOAT, dims, rank, size);
  memcpy(TF_TensorData(made), bytes, size);
  return made;
}

int main(int argc, char **argv) {
  require(argc >= 4, "usage", "sample BUNDLE COUNT SEED [TEMPERATURE [LABEL | FILE [GUIDANCE]]]");
  char *end;
  const int64_t count = strtoll(argv[2], &end, 10);
  require(count > 0 && !*end, "the count is a positive integer", argv[2]);
  const uint64_t seed = strtoull(argv[3], &end, 10);
  require(*argv[3] >= '0' && *argv[3] <= '9' && !*end && errno != ERANGE, "the seed is an integer from 0", argv[3]);
  const float temperature = argc > 4 ? number(argv[4], "the temperature is a number") : 1.0f;
  const float guidance = argc > 6 ? number(argv[6], "guidance is a number") : 0.0f;
  require(temperature > 0, "the temperature is above 0", argc > 4 ? argv[4] : "");
  const Model model = open_model(argv[1]);
  const char *prior = json_at(json_at(model.manifest, "priors", 0), NULL, 0);
  require(prior != NULL, "no prior in the bundle", argv[1]);
  require(port(&model, "initial_state", "outputs", "state").oper != NULL,
          "its steps lead no state: draw by its function `sample`", argv[1]);
  require(guidance == 0 || (guidance > 0 && port(&model, "step", "inputs", "guidance").oper),
          "guidance is a number from 0, for priors trained with condition_dropout", argc > 6 ? argv[6] : "");
  const int64_t steps = atoll(json_at(prior, "num_steps", 0));
  const int64_t channels = atoll(json_at(json_at(prior, "grid_shape", 0), NULL, 2));
  const int64_t per_step = atoll(json_at(json_at(prior, "noise", 0), "per_step", 0));

  int32_t *values = calloc((size_t)(count * steps * channels), 4), *positions = calloc((size_t)count, 4);
  float *noise = malloc((size_t)(count * per_step) * 4), *temperatures = malloc((size_t)count * 4);
  float *guided = malloc((size_t)count * 4);
  for (int64_t i = 0; i < count; i++) temperatures[i] = temperature, guided[i] = guidance;
  Named in[] = {{"state", NULL},
                {"previous", tensor(TF_INT32, count, channels, values)},
                {"position", tensor(TF_INT32, count, 0, positions)},
                {"uniforms", NULL},
                {"temperature", tensor(TF_FLOAT, count, 0, temperatures)},
                {"guidance", tensor(TF_FLOAT, count, 0, guided)},
                {"condition", condition_of(prior, argc > 5 ? argv[5] : NULL, count)}};
  Named first = {"state", NULL};
  run(&model, "initial_state", &in[2], 1, &first, 1);
  in[0].tensor = first.tensor;
  for (int64_t step = 0; step < steps; step++) {
    for (int64_t i = 0; i < count; i++) {
      positions[i] = (int32_t)step;
      for (int64_t k = 0; k < per_step; k++)
        noise[i * per_step + k] = uniform(seed, (uint32_t)i, (uint32_t)step, (uint32_t)k);
    }
    TF_DeleteTensor(in[2].tensor);
    in[2].tensor = tensor(TF_INT32, count, 0, positions);
    in[3].tensor = tensor(TF_FLOAT, count, per_step, noise);
    Named out[] = {{"value", NULL}, {"state_out", NULL}};
    run(&model, "step", in, sizeof in / sizeof *in, out, 2);
    const int32_t *drawn = TF_TensorData(out[0].tensor);
    for (int64_t i = 0; i < count; i++)
      memcpy(values + (i * steps + step) * channels, drawn + i * channels, (size_t)channels * 4);
    TF_DeleteTensor(in[0].tensor);
    TF_DeleteTensor(in[1].tensor);
    TF_DeleteTensor(in[3].tensor);
    in[1].tensor = out[0].tensor; /* the value drawn is the next step's previous one */
    in[0].tensor = out[1].tensor; /* and its state the next step's state */
  }
  for (int64_t i = 0; i < count * steps * channels; i++)
    printf("%d%c", (int)values[i], (i + 1) % (steps * channels) ? ' ' : '\n');
  return 0;
}
