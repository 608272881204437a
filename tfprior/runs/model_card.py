"""The model card: what was trained on what, how well it does, and how to use it."""

from typing import Any

from tfprior.runs.run_folder import BEST, RunFolder

ALT = {
    "curve.png": "training curve",
    "samples.png": "samples",
    "reconstructions.png": "reconstructions",
    "codebook_usage.png": "use of the codebook",
}


def model_card(run: RunFolder, result: dict[str, Any]) -> str:
    """A short page in Markdown."""
    data, model, options = (run.config[name] for name in ("data", "model", "options"))
    words = ", uniform codes" if run.is_tokenizer else ", an upper bound" if run.score.is_bound else ""
    name = f"{run.config['kind']}{words}"
    scores = {f"this {name}": result[f"best_{run.score.name}"], **result["baselines"]}
    table = "\n".join(f"| {one} | {score:.4f} |" for one, score in scores.items())
    pictures = "\n".join(f"![{ALT[name]}]({name})" for name in run.pictures)
    settings = "\n".join(
        f"| {name} | {value} |" for name, value in {**model, **options}.items() if value is not None
    )
    return f"""# {model["name"]} of {data["name_or_path"]}

{subject(run)} with
{model["parameters"]:,} parameters, trained on {data["images"]:,} images (one part of them held out) for
{result["epochs"]} epochs in {result["seconds"] / 60:.1f} minutes.

| {in_words(run)}, held-out part of the training images | |
|---|---|
{table}
{codebook(result) if run.is_tokenizer else ""}
{pictures}

## Use it

```python
{snippet(run)}
```

## Settings

| | |
|---|---|
{settings}

The same command with more epochs goes on from what `resume/` holds: weights, optimizer, averages and noise.

## Limits

{LIMITS[run.config["kind"]]}
"""


def in_words(run: RunFolder) -> str:
    """What the score is in, as charts and cards say it."""
    unit = run.score.unit
    return {"bits/dim": "bits per dimension", "bits/code": "bits per code"}.get(unit, unit)


def subject(run: RunFolder) -> str:
    data, model = run.config["data"], run.config["model"]
    grid = " × ".join(map(str, data["grid_shape"]))
    if run.is_tokenizer:
        return f"A tokenizer of {grid} images of {data['levels']} levels"
    if (kind := run.config["kind"]) in ("encoder", "classifier", "model"):
        return f"{'An' if kind == 'encoder' else 'A'} {kind} of {grid} images of {data['levels']} levels"
    kind = "A class-conditional" if model.get("conditional") else "An unconditional"
    values = "codes" if run.of_codes else "levels"
    if run.codes_origin is not None and run.codes_origin.grid:
        return f"A prior, given the coarser codes, over {grid} grids of {data['levels']} {values}"
    return f"{kind} prior over {grid} grids of {data['levels']} {values}"


def codebook(result: dict[str, Any]) -> str:
    return (
        f"\nOf the bits, {result['reconstruction_bits_per_dim']:.4f} are the image's given its codes. "
        f"{result['usage']:.1%} of the codes are\nin use, with a perplexity of {result['perplexity']:.1f}.\n"
    )


def snippet(run: RunFolder) -> str:
    if run.is_tokenizer:
        data = run.config["data"]
        arguments = {
            name: data[name] for name in ("image_size", "num_levels", "cache") if data.get(name) is not None
        }
        source = ", ".join(
            [f'"{data["name_or_path"]}"', *(f"{name}={arguments[name]!r}" for name in arguments)]
        )
        return f"""from tfprior.data import load
from tfprior.runs import load_tokenizer

tokenizer = load_tokenizer("{run.path.name}")  # {BEST}
images = load({source}).x_test
codes = tokenizer.encode(images)
reconstructed = tokenizer.reconstruct(images)"""
    if run.config["kind"] == "encoder":
        return f"""from tfprior.data import load
from tfprior.probing import linear_probe
from tfprior.runs import load_encoder

encoder, scaling = load_encoder("{run.path.name}")  # {BEST}
images = load("{run.config["data"]["name_or_path"]}")  # with labels
print(linear_probe(encoder, images, scaling).accuracy)"""
    if run.config["kind"] == "classifier":
        return f"""from tfprior.data import load
from tfprior.runs import load_run

model = load_run("{run.path.name}").load()  # {BEST}
logits = model.predict(load("{run.config["data"]["name_or_path"]}").x_test)
classifier = model.classifier  # of pixels in [0, 1]"""
    if run.config["kind"] == "model":
        return f"""from tfprior.runs import load_run

model = load_run("{run.path.name}").load()  # {BEST}"""
    name = "generator" if run.of_codes else "prior"
    condition = f"condition=np.arange(16) % {name}.num_classes, "
    numpy, condition = (
        ("import numpy as np\n", condition) if run.config["model"].get("conditional") else ("", "")
    )
    if run.of_codes:
        priors = f'"{run.path.name}"'
        if run.codes_origin is not None and run.codes_origin.num_grids > 1:
            is_finer = run.codes_origin.grid > 0
            priors = f'"coarsest", finer=[{priors}]' if is_finer else f'{priors}, finer=["finer"]'
        return f"""{numpy}from tfprior.runs import load_generator

generator = load_generator({priors})  # {BEST} and the tokenizer of its codes
images = generator.sample(16, {condition}seed=0)"""
    return f"""{numpy}from tfprior.runs import load_run
from tfprior.sampling import sample

prior = load_run("{run.path.name}").load()  # {BEST}
images = sample(prior, 16, {condition}seed=0)"""


LIMITS_OF_PRIORS = """\
The prior knows the images it was trained on and no others: likelihoods of images of another kind, size or
number of levels mean little, and likelihood alone does not tell whether an image is of the kind it knows
(`tfprior score` corrects it for how complex images are). Samples may resemble training images, more so after
many epochs on few images."""

LIMITS_OF_TOKENIZERS = """\
The tokenizer knows the images it was trained on and no others: what its codes leave out of an image, and of
images of another kind it is much, no prior of the codes brings back. Bits per dimension are a bound in which
every code is as probable as any other; a prior of the codes lowers it."""

LIMITS_OF_ENCODERS = """\
The encoder knows the images it was trained on and no others, and was never told what they show: what its
features are worth, labels tell (`tfprior probe`, `tfprior finetune`). The error of hidden pixels does not."""

LIMITS_OF_CLASSIFIERS = """\
The classifier knows the classes and the kind of images it was trained on and no others, and gives an image of
any kind one of them. Its probabilities are those of its training, smoothed labels and all; they are not
calibrated."""

LIMITS = {
    "prior": LIMITS_OF_PRIORS,
    "tokenizer": LIMITS_OF_TOKENIZERS,
    "encoder": LIMITS_OF_ENCODERS,
    "classifier": LIMITS_OF_CLASSIFIERS,
    "model": "The model knows the images it was trained on and no others.",
}
