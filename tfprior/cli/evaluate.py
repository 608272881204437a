"""`tfprior evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import Source, generator_of, images_of, source_at
from tfprior.cli.options import (
    DataOption,
    FinerOption,
    ImageSizeOption,
    LevelsOption,
    RunArgument,
    Split,
    TokenizerOption,
    check_suffix,
)
from tfprior.cli.tables import facts_table, score_table

if TYPE_CHECKING:
    from rich.table import Table

    from tfprior.data import Images
    from tfprior.generator import Generator
    from tfprior.priors import Prior
    from tfprior.score import Score
    from tfprior.tokenizers import Tokenizer


def evaluate(
    run: RunArgument,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    maps: Annotated[
        Path | None, typer.Option(help="A picture to write: images above the bits that each pixel takes.")
    ] = None,
    num: Annotated[int | None, typer.Option(min=1, help="How many images --maps shows; 32.")] = None,
) -> None:
    """Measure bits per dimension beside baselines on the same images.

    ```
    tfprior evaluate runs/digits
    tfprior evaluate runs/digits --split validation
    tfprior evaluate runs/digits --maps maps.png --num 16
    tfprior evaluate runs/top --finer runs/bottom
    ```

    Of a tokenizer they are a bound, in which all codes are equally probable, and the use of its codes is
    shown too. Of a prior of codes they are bits per code; the bound of prior and tokenizer together follows;
    of a prior of one of several grids, where --finer names the others.

    --maps shows where the bits are, dark what was likely and bright what surprised. A tokenizer's are those
    of pixels given their codes; of a prior of codes, a code's are spread over the pixels it stands for.
    """
    if maps is None and num is not None:
        raise WrongUsage("--num: it goes with --maps; all images are measured.")
    if maps is not None:
        check_suffix("--maps", maps, ".png")
    import_keras()
    from tfprior.data import load
    from tfprior.measuring import bound_scores, scores_of
    from tfprior.runs.conditions import condition_map_of
    from tfprior.score import BITS_PER_DIM

    source = source_at(run)
    if tokenizer is not None and source.run is not None and not source.of_codes:
        raise WrongUsage(f"--tokenizer: {run} is not of codes; leave it out.")
    if finer and source.run is not None and not source.of_codes:
        raise WrongUsage(f"--finer: {run} is not of codes; leave it out.")
    of_codes = source.of_codes or tokenizer is not None or bool(finer)
    generator, why_none = generator_of(source, tokenizer, finer) if of_codes else (None, "")
    model = source.model() if generator is None else generator.priors[0]
    images = images_of(source, model, data, image_size, levels)
    if maps is not None and images.are_codes and (generator is None or images.origin is None):
        raise WrongUsage(f"--maps: {run} does not tell the images of its codes; leave it out.")
    condition_map = condition_map_of(images, tokenizer)
    scores = scores_of(model, *source.part_of(images, split.value), condition_map=condition_map)
    main, *others = model.scores
    name = f"this {model.kind}, {main.words}" if main.words else f"this {model.kind}"
    console = plain_console()
    console.print(compared(main, {name: scores[main.name]}, images, split, source))
    if others:
        facts = {score.words or score.name: f"{scores[score.name]:.4g}" for score in others}
        console.print(facts_table("", facts))
    if why_none:
        typer.echo(f"Bits per code alone: {why_none}", err=True)
    if generator is not None and images.origin is not None:
        images = load(**images.origin.images)
        bounds = bound_scores(generator, *source.part_of(images, split.value))
        console.print(compared(BITS_PER_DIM, bounds, images, split, source))
    if maps is not None:
        count = draw_maps(model if generator is None else generator, images, split, source, num or 32, maps)
        typer.echo(f"{maps}: {count} images above the bits of their pixels")


def draw_maps(
    model: "Prior | Tokenizer | Generator",
    images: "Images",
    split: Split,
    source: Source,
    num: int,
    path: Path,
) -> int:
    """Draws images of each class in turn; gives their number."""
    import math

    import numpy as np

    from tfprior.data import spread
    from tfprior.pictures import save_heat_maps

    values, labels = source.part_of(images, split.value)
    index = spread(labels, len(values))[:num]
    condition = [] if model.num_classes is None or labels is None else [labels[index]]
    nats = np.asarray(model.pixel_log_prob(values[index], *condition))
    save_heat_maps(values[index], nats / -math.log(2), images.num_levels, path)
    return len(index)


def compared(
    score: "Score", models: dict[str, float], images: "Images", split: Split, source: Source
) -> "Table":
    """A table of what models have as their score; of likelihoods beside the baselines of the same images."""
    from tfprior.measuring import baseline_bits

    values, _ = source.part_of(images, split.value)
    # The test part stays unseen by all; of the training images the baselines know what the model knows.
    known = images.x_train if split is Split.test else source.part_of(images, "train")[0]
    baselines = (
        baseline_bits(known, values, images.num_levels, images.are_codes) if score.is_likelihood else {}
    )
    title = f"{images.name}, {split.value} split, {len(values)} images"
    return score_table(title, {**models, **baselines}, score.per_code() if images.are_codes else score)
