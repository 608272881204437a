"""`tfprior score`: which images are unlike those that a run was trained on."""

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Table

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import images_of, open_model, source_at
from tfprior.cli.options import (
    DataOption,
    FinerOption,
    ImageSizeOption,
    LevelsOption,
    RunArgument,
    TokenizerOption,
    check_suffix,
)

if TYPE_CHECKING:
    import numpy as np

    from tfprior.measuring.outliers import OutlierScores


def score(
    run: RunArgument,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A table to write (.csv), a line for each image, own ones first.")
    ] = None,
    num: Annotated[
        int | None, typer.Option(min=1, help="How many test images of each; all by default.")
    ] = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
) -> None:
    """Score how unlike test images are to what a prior was trained on; other data beside its own.

    ```
    tfprior score runs/fashion --data mnist --out scores.csv
    tfprior score runs/fashion --data mnist --num 1000
    tfprior score runs/digits --out scores.csv
    ```

    Likelihood alone can fail: simple images have a high one, of whatever kind they are. The score is the
    bits of an image less its complexity, the bits of its smallest lossless file, PNG or WebP with its
    header (Serrà et al. 2020). The higher, the more of an outlier. The last line is the area under the ROC
    curve of telling the other data by each: 1 is perfect, 0.5 is chance.

    A conditional prior is taken as the mixture of all its classes, which takes a pass for each; labels are
    not used. Of a prior of codes, the bound that it gives together with its tokenizer is scored. Of data
    without test images, a held-out tenth is scored. A .keras file has no data of its own: --data alone.
    """
    if out is not None:
        check_suffix("--out", out, ".csv")
    import_keras()
    import numpy as np

    from tfprior.data import spread
    from tfprior.measuring.outliers import outlier_scores

    source = source_at(run)
    model = open_model(run, tokenizer, finer)
    sets = {}
    if source.run is not None:
        sets["own"] = images_of(source, model, None, None, None)
    if data is not None:
        sets["other"] = images_of(source, model, data, image_size, levels)
    if not sets:
        raise WrongUsage(f"{run} does not tell its data; name them: --data.")
    scored = []
    for name, images in sets.items():
        index = np.sort(spread(images.y_test, len(images.x_test))[:num])
        scores = outlier_scores(model, images.x_test[index]).per_dim(math.prod(images.grid_shape))
        labels = None if images.y_test is None else images.y_test[index]
        scored.append(Scored(name, images.name, index, labels, scores))
    if out is not None:
        write_scores(out, scored)
    plain_console().print(outlier_table(scored))
    if out is not None:
        typer.echo(f"{out}: {sum(len(part.places) for part in scored)} images")


class Scored(NamedTuple):
    """Test images of one data set with their scores.

    Attributes:
        role: "own" or "other".
        name: of the data.
        places: of the images among the test images (N,).
        labels: (N,), if there are any.
        scores: in bits per dimension.
    """

    role: str
    name: str
    places: "np.ndarray"
    labels: "np.ndarray | None"
    scores: "OutlierScores"


def write_scores(path: Path, scored: list[Scored]) -> None:
    """Writes a line for each image, at once."""
    from tfprior.atomic import write_text
    from tfprior.measuring.outliers import COLUMNS

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("set", *COLUMNS))
    for part in scored:
        writer.writerows([part.role, *row] for row in part.scores.rows(part.places, part.labels))
    write_text(path, text.getvalue())


def outlier_table(scored: list[Scored]) -> Table:
    """Means of each data set, and how well likelihood and score tell the other one from one's own."""
    from tfprior.measuring.outliers import auroc

    table = Table(title="outliers among test images, bits/dim", title_justify="left")
    table.add_column("images")
    for column in ("number", "bits", "complexity", "score"):
        table.add_column(column, justify="right")
    for part in scored:
        means = (f"{numbers.mean():.4f}" for numbers in part.scores)
        table.add_row(f"{part.name} ({part.role})", str(len(part.places)), *means)
    if len(scored) == 2:
        own, other = (part.scores for part in scored)
        by_bits, by_score = auroc(own.bits, other.bits), auroc(own.score, other.score)
        table.add_section()
        table.add_row("AUROC", "", f"{by_bits:.4f}", "", f"{by_score:.4f}", style="bold")
    return table
