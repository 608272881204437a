"""The job of `tfprior bulk sample`: images drawn.

The noise of an image is a function of the seed and of its number: it does not matter who draws it, nor with
what else.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfprior.bulk.job import SHARD_SIZE, Job
from tfprior.bulk.models import is_bundle, model_of, open_model
from tfprior.bulk.npz import packed
from tfprior.condition_kind import ConditionKind
from tfprior.data.levels import smallest
from tfprior.inputs import check_condition, check_sampling_options, entropy_of
from tfprior.philox import Seed

BATCH_SIZE = 256


def sample_job(
    model: str | os.PathLike[str],
    num: int,
    *,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    method: str | None = None,
    iterations: int | None = None,
    guidance: float | None = None,
    tokenizer: str | None = None,
    finer: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
    batch_size: int = BATCH_SIZE,
) -> Job:
    """Images drawn from a model, and the codes that they were drawn through, if there are any.

    Args:
        model: a bundle, a run or a .keras file.
        num: how many images.
        classes: labels of a conditional model, each for as many images as `num` allows, in this order; all
            when left out.
        seed: of the noise.
        temperature: as in `tfprior.sampling.sample`, and likewise `top_k`, `top_p`, `method`, `iterations`
            and `guidance`.
        tokenizer: where the tokenizer's run is now, of a prior of codes.
        finer: runs of the priors of the finer codes.
        shard_size: images in a shard.
        batch_size: images that are drawn at once.

    Raises:
        FileNotFoundError: for a missing model.
        ValueError: for a damaged one, and options out of range.
    """
    at, opened = open_model(os.fspath(model), tokenizer, finer)
    of_bundle = is_bundle(at.path)
    for name, option in (("top_k", top_k), ("top_p", top_p)):
        if of_bundle and option is not None:
            raise ValueError(f"{name}={option!r}; a bundle draws by temperature alone: sample the model.")
    levels = opened.num_levels if of_bundle else max(part.num_levels for part in opened.chain())
    check_sampling_options(temperature, top_k, top_p, levels, 1, guidance)
    check_way(opened, of_bundle, method, iterations, guidance)
    if opened.num_classes is None and classes is not None:
        raise ValueError("The prior is unconditional and got classes; leave them out.")
    if opened.num_classes is not None:
        classes = list(range(opened.num_classes) if classes is None else classes)
        check_condition(np.asarray(classes), ConditionKind.of(opened.num_classes, None))
        classes = [int(label) for label in classes]
    options: dict[str, Any] = {
        "seed": entropy_of(seed),
        "batch_size": batch_size,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "method": method,
        "iterations": iterations,
        "guidance": guidance,
        "classes": classes,
    }
    return Job("sample", at, None, num, shard_size, options)


def check_way(
    model: Any, of_bundle: bool, method: str | None, iterations: int | None, guidance: float | None
) -> None:
    """Raises ValueError for a way of drawing that the model does not know."""
    if of_bundle:
        from tfprior.export.request import option_arrays

        samplers = getattr(model, "samplers", [model])
        for sampler in samplers:
            sampler.way_of(method, iterations)
        guided = [sampler for sampler in samplers if sampler.prior.is_guided]
        option_arrays((guided or samplers)[0].prior, 1.0, guidance, 1)
        return
    from tfprior.sampling.request import check_guidance
    from tfprior.sampling.running import way_of

    for prior in model.chain():
        way_of(prior, method, iterations)
    if guidance is not None:
        learnt = [prior for prior in model.chain() if prior.condition_dropout]
        check_guidance((learnt or model.chain())[0], guidance)


def content(job: Job, index: int) -> bytes:
    """The .npz file of a shard: values, codes where there are any, and labels of a conditional model."""
    start, stop = job.bounds(index)
    step = job.options["batch_size"]
    parts = [draw(job, first, min(first + step, stop)) for first in range(start, stop, step)]
    return packed({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def draw(job: Job, start: int, stop: int) -> dict[str, np.ndarray]:
    """The images from `start` to before `stop`, as one batch."""
    options, model, labels = job.options, model_of(job), labels_of(job, start, stop)
    optional = ("top_k", "top_p", "method", "iterations", "guidance")
    drawn = model.sample_parts(
        stop - start,
        labels,
        seed=Seed(options["seed"], start),
        temperature=options["temperature"],
        **{name: options[name] for name in optional if options.get(name) is not None},
    )
    drawn["values"] = smallest(drawn["values"], model.num_levels)
    return drawn if labels is None else {**drawn, "labels": labels}


def labels_of(job: Job, start: int, stop: int) -> np.ndarray | None:
    """The labels of images, as evenly as their number allows."""
    classes = job.options["classes"]
    if classes is None:
        return None
    return np.asarray(classes, "int32")[np.arange(start, stop) * len(classes) // job.count]
