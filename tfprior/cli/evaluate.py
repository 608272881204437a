"""`tfprior evaluate`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tfprior.cli.app import import_keras
from tfprior.cli.opening import generator_of, images_of, unit_of
from tfprior.cli.options import (
    DataOption,
    ImageSizeOption,
    LevelsOption,
    RunArgument,
    Split,
    TokenizerOption,
)
from tfprior.cli.tables import facts_table, score_table

if TYPE_CHECKING:
    from rich.table import Table

    from tfprior.data import Images


def evaluate(
    run: RunArgument,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
) -> None:
    """Measure bits per dimension beside three baselines on the same images.

    ```
    tfprior evaluate runs/digits
    tfprior evaluate runs/digits --split validation
    ```

    Of a tokenizer they are a bound, in which all codes are equally probable, and the use of its codes is
    shown too. Of a prior of codes they are bits per code; the bound of prior and tokenizer together follows.
    """
    import_keras()
    from tfprior.data import load
    from tfprior.training import bound_scores, load_run, scores_of, split_of

    folder = load_run(run)
    options = folder.config["options"]
    if tokenizer is not None and not folder.of_codes:
        raise typer.BadParameter(f"--tokenizer: {run} is not of codes; leave it out.")
    generator = generator_of(folder, tokenizer) if folder.of_codes else None
    model = folder.load() if generator is None else generator.priors[0]
    images = images_of(folder, data, image_size, levels)
    scores = scores_of(model, *split_of(images, split.value, options))
    bits = scores["bits_per_dim"]
    name = "this tokenizer, uniform codes" if folder.is_tokenizer else "this prior"
    console = Console()
    console.print(compared({name: bits}, images, split, options))
    if folder.is_tokenizer:
        console.print(facts_table("", {words: f"{scores[name]:.4g}" for name, words in SCORE_NAMES.items()}))
    if generator is not None and images.origin is not None:
        images = load(**images.origin.images)
        bounds = bound_scores(generator, *split_of(images, split.value, options), bits_per_code=bits)
        console.print(compared(bounds, images, split, options))


SCORE_NAMES = {
    "reconstruction_bits_per_dim": "bits/dim of the images given their codes",
    "perplexity": "perplexity of the codes",
    "usage": "share of codes in use",
    "dead_codes": "codes that are never used",
}


def compared(scores: dict[str, float], images: "Images", split: Split, options: dict[str, Any]) -> "Table":
    """A table of the scores beside the baselines of the same images."""
    from tfprior.training import baseline_bits, split_of

    values, _ = split_of(images, split.value, options)
    # The test part stays unseen by all; of the training images the baselines know what the model knows.
    known = images.x_train if split is Split.test else split_of(images, "train", options)[0]
    baselines = baseline_bits(known, values, images.num_levels, images.are_codes)
    title = f"{images.name}, {split.value} split, {len(values)} images"
    return score_table(title, {**scores, **baselines}, unit_of(images))
