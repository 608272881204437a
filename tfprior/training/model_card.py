"""The model card: what was trained on what, how well it does, and how to use it."""

from typing import Any

from tfprior.training.run_folder import BEST, CURVE, SAMPLES, RunFolder


def model_card(run: RunFolder, result: dict[str, Any]) -> str:
    """A short page in Markdown."""
    data, model, options = (run.config[name] for name in ("data", "model", "options"))
    height, width, channels = data["grid_shape"]
    condition = "class-conditional" if model.get("conditional") else "unconditional"
    scores = {"this prior": result["best_bits_per_dim"], **result["baselines"]}
    table = "\n".join(f"| {name} | {bits:.4f} |" for name, bits in scores.items())
    numpy, condition_argument = (
        ("import numpy as np\n", "condition=np.arange(16) % prior.num_classes, ")
        if model.get("conditional")
        else ("", "")
    )
    settings = "\n".join(
        f"| {name} | {value} |" for name, value in {**model, **options}.items() if value is not None
    )
    return f"""# {model["name"]} of {data["name_or_path"]}

A {condition} prior over {height} × {width} × {channels} grids of {data["levels"]} levels with
{model["parameters"]:,} parameters, trained on {data["images"]:,} images (one part of them held out) for
{result["epochs"]} epochs in {result["seconds"] / 60:.1f} minutes.

| bits per dimension, held-out part of the training images | |
|---|---|
{table}

![training curve]({CURVE})
![samples]({SAMPLES})

## Use it

```python
{numpy}from tfprior.training import load_run
from tfprior.sampling import sample

prior = load_run("{run.path.name}").load()  # {BEST}
images = sample(prior, 16, {condition_argument}seed=0)
```

## Settings

| | |
|---|---|
{settings}

## Limits

The prior knows the images it was trained on and no others: likelihoods of images of another kind, size or
number of levels mean little, and likelihood alone does not tell whether an image is of the kind it knows.
Samples may resemble training images, more so after many epochs on few images.
"""
