"""The pictures of a finished run."""

from typing import Any

from rich.console import Console

from tfprior.data import Images, spread
from tfprior.generator import Generator
from tfprior.pictures.codebook_usage import save_codebook_usage
from tfprior.pictures.curve import save_curve
from tfprior.pictures.sheets import save_grid
from tfprior.runs.conditions import ConditionMap
from tfprior.runs.model_card import in_words
from tfprior.runs.opening import load_generator, load_prior, load_tokenizer
from tfprior.runs.run_folder import CURVE, RECONSTRUCTIONS, SAMPLES, USAGE, RunFolder
from tfprior.tokenizers.base import as_levels
from tfprior.training.drawing import NUM_RECONSTRUCTIONS, draw_reconstructions, draw_samples


def illustrate(
    run: RunFolder,
    held_out: Images,
    rows: list[dict[str, float]],
    result: dict[str, Any],
    seed: int,
    console: Console,
    condition_map: ConditionMap | None = None,
) -> None:
    """Draws the curve, and what the best model makes: samples of a prior, reconstructions of any other.

    `held_out` has the validation part as its training part; `condition_map` is of a prior of finer codes.
    """
    save_curve(
        [row["train"] for row in rows],
        [row["validation"] for row in rows],
        run.file(CURVE),
        result["baselines"],
        f"{held_out.name}: {in_words(run)}",
        run.score.better,
    )
    if run.is_tokenizer:
        draw_tokenizer(run, held_out)
    elif RECONSTRUCTIONS in run.pictures:
        draw_reconstructions(run.load(), some_of(held_out), run.file(RECONSTRUCTIONS))
    if SAMPLES in run.pictures:
        if condition_map is None:
            draw_prior(run, seed, console)
        else:
            draw_finer(run, held_out, condition_map, seed)


def draw_tokenizer(run: RunFolder, held_out: Images) -> None:
    """Draws held-out images, one of each class in turn, above what their codes give; and the codes' use."""
    tokenizer = load_tokenizer(run.path)
    draw_reconstructions(tokenizer, some_of(held_out), run.file(RECONSTRUCTIONS))
    codes = tokenizer.grids_of(tokenizer.encode(held_out.x_train))
    title = f"{held_out.name}: share of each code in held-out images"
    save_codebook_usage(codes, tokenizer.codebook_sizes, run.file(USAGE), title)


def some_of(held_out: Images) -> Any:
    """Held-out images, one of each class in turn."""
    return held_out.x_train[spread(held_out.y_train, len(held_out.x_train))[:NUM_RECONSTRUCTIONS]]


def draw_prior(run: RunFolder, seed: int, console: Console) -> None:
    """Draws samples of the best prior; codes through their tokenizer if it is there."""
    generator = generator_of(run, console) if run.of_codes else None
    draw_samples(generator or load_prior(run.path), run.file(SAMPLES), seed)


def draw_finer(run: RunFolder, held_out: Images, condition_map: ConditionMap, seed: int) -> None:
    """Draws the finer codes of held-out images given their coarser ones, through their tokenizer."""
    prior, coarser = load_prior(run.path), held_out.y_train[:64]
    drawn = prior.sample(len(coarser), condition_map(coarser), seed=seed, **prior.sketching)
    tokenizer = condition_map.tokenizer
    save_grid(as_levels(tokenizer.decode([coarser, drawn])), tokenizer.num_levels, run.file(SAMPLES))


def generator_of(run: RunFolder, console: Console) -> Generator | None:
    try:
        return load_generator(run.path)
    except (OSError, ValueError) as error:
        say_grey(error, console)
        return None


def say_grey(error: Exception, console: Console) -> None:
    words = f"{SAMPLES} shows the codes as shades of grey: {error}"
    console.print(words, markup=False, highlight=False, soft_wrap=True)
