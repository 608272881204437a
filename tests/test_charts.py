"""Charts: what is drawn stands where its value is, labels keep apart, and nobody's settings change."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation, Text
from PIL import Image

from tfprior.pictures import save_codebook_usage, save_curve
from tfprior.pictures.codebook_usage import usage
from tfprior.pictures.curve import curve
from tfprior.pictures.style import (
    ACCENT,
    DPI,
    LINE_HEIGHT,
    PALE,
    SIZE,
    STRONG,
    count_ticks,
    picture_of,
)

TRAIN, VALIDATION = [4.0, 3.1, 2.6, 2.4], [3.9, 3.2, 2.7, 2.8]
BASELINES = {"uniform": 8.0, "PNG (one file)": 4.17, "WebP (each image alone)": 4.16, "histogram": 6.5}


def drawn(
    train: Sequence[float],
    validation: Sequence[float],
    baselines: dict[str, float] | None = None,
    title: str = "bits per dimension",
) -> tuple[Figure, Axes]:
    figure = curve(train, validation, baselines or {}, title)
    picture_of(figure)  # lays it out
    return figure, figure.axes[0]


def labels_of(axes: Axes) -> dict[str, Annotation]:
    """The labels at the right, by their words."""
    found = [child for child in axes.texts if isinstance(child, Annotation) and child.arrow_patch]
    return {label.get_text(): label for label in found}


def middle(label: Annotation) -> float:
    """Height of the words above the lower edge of the picture, in points."""
    box = Text.get_window_extent(label)
    return (box.y0 + box.y1) / 2 * 72 / DPI


def words_of(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


# The training curve --------------------------------------------------------------------------------


def test_a_curve_goes_through_its_values() -> None:
    axes = drawn(TRAIN, VALIDATION, BASELINES)[1]
    lines = axes.lines
    for line, values, color in zip(lines, (TRAIN, VALIDATION), (PALE, STRONG), strict=False):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([[1, 2, 3, 4], values], axis=1))
        assert line.get_color() == color
        assert line.get_marker() == "o"
    assert [line.get_ydata()[0] for line in lines[2:]] == list(BASELINES.values())
    assert {line.get_color() for line in lines[2:]} == {ACCENT}
    assert {line.is_dashed() for line in lines[2:]} == {True}
    assert axes.get_xlim() == (1, 4)
    assert axes.get_ylim() == (2, 8)
    assert axes.get_xlabel() == "epoch"
    assert axes.get_title(loc="left") == "bits per dimension"


def test_the_best_epoch_has_a_ring() -> None:
    axes = drawn(TRAIN, VALIDATION)[1]
    (ring,) = axes.collections
    np.testing.assert_array_equal(ring.get_offsets(), [[3, 2.7]])
    assert to_hex(ring.get_edgecolor()[0]) == STRONG
    assert axes.texts[0].get_text() == "best validation 2.700 in epoch 3"


def test_long_curves_have_no_dots() -> None:
    axes = drawn(np.linspace(4, 2, 31).tolist(), np.linspace(4, 2, 31).tolist())[1]
    assert {line.get_marker() for line in axes.lines} == {""}


def test_ends_and_baselines_are_named_where_they_are() -> None:
    axes = drawn(TRAIN, VALIDATION, BASELINES)[1]
    labels = labels_of(axes)
    expected = {
        "training  2.400": (2.4, PALE),
        "validation  2.800": (2.8, STRONG),
        "uniform  8.00": (8, ACCENT),
        "PNG (one file)  4.17": (4.17, ACCENT),
        "WebP (each image alone)  4.16": (4.16, ACCENT),
        "histogram  6.50": (6.5, ACCENT),
    }
    assert {words: (label.xy[1], label.get_color()) for words, label in labels.items()} == expected
    shifts = {words: label.xyann[1] for words, label in labels.items()}
    assert shifts["histogram  6.50"] == pytest.approx(0)
    assert shifts["PNG (one file)  4.17"] == pytest.approx(-shifts["WebP (each image alone)  4.16"])
    for label in labels.values():
        assert Text.get_window_extent(label).x0 > axes.bbox.x1


@pytest.mark.parametrize("at", [8.0, 4.0, 1.0])
def test_labels_keep_their_order_and_apart(at: float) -> None:
    crowd = {f"number {index}": at + index / 100 for index in range(8)}
    axes = drawn([5, 4.0], [5, 4.1], crowd)[1]
    labels = sorted(labels_of(axes).values(), key=lambda label: label.xy[1])
    assert len(labels) == 10
    heights = [middle(label) for label in labels]
    assert np.diff(heights).min() >= LINE_HEIGHT - 1e-6
    below, above = axes.bbox.y0 * 72 / DPI, axes.bbox.y1 * 72 / DPI
    assert below - LINE_HEIGHT / 2 <= heights[0]
    assert heights[-1] <= above + LINE_HEIGHT / 2


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_no_words_are_cut_off(epochs: int) -> None:
    values = list(np.linspace(4, 2, epochs))
    title = "folder_with_a_very_long_name " * 9
    figure = drawn(values, values, BASELINES, title)[0]
    texts = words_of(figure)
    assert {"epoch", "1", "uniform  8.00"} <= {text.get_text() for text in texts}
    for text in texts:
        box = Text.get_window_extent(text)
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


def test_epochs_that_are_not_finite_leave_a_gap() -> None:
    axes = drawn([3, np.inf, 2], [3, np.nan, np.nan], {"uniform": 4.0, "PNG": np.inf})[1]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3, np.nan, 2])
    assert axes.get_ylim() == (2, 4)
    found = {words: label.xy[1] for words, label in labels_of(axes).items()}
    assert found == {"training  2.000": 2, "validation  nan": 3, "uniform  4.00": 4}


def test_a_curve_without_a_finite_epoch() -> None:
    axes = drawn([np.nan], [np.nan])[1]
    assert axes.texts[0].get_text() == "no finite validation"
    assert not labels_of(axes)


@pytest.mark.parametrize(
    ("low", "high", "limits"),
    [
        (1.7, 4.1, (1.5, 4.5)),
        (0, 1, (0, 1)),
        (2.72, 8, (2, 8)),
        (0.143, 0.25, (0.14, 0.26)),
        (-1.2, 3, (-2, 3)),
    ],
)
def test_limits_are_round_and_enclose(low: float, high: float, limits: tuple[float, float]) -> None:
    axes = drawn([high, low], [high, low])[1]
    np.testing.assert_allclose(axes.get_ylim(), limits, atol=1e-12)
    np.testing.assert_allclose(axes.get_yticks()[[0, -1]], limits, atol=1e-12)


def test_ticks_of_counts() -> None:
    assert count_ticks(1) == [1]
    assert count_ticks(2) == [1, 2]
    assert count_ticks(3) == [1, 2, 3]
    assert count_ticks(28) == [1, 5, 10, 15, 20, 25]
    assert count_ticks(50) == [1, 10, 20, 30, 40, 50]
    assert count_ticks(512) == [1, 100, 200, 300, 400, 500]


@pytest.mark.parametrize(
    ("train", "validation", "words"),
    [
        ([], [], "Got 0 training and 0 validation values; expected as many of both, and at least one."),
        ([1.0, 2.0], [1.0], "Got 2 training and 1 validation values; expected as many of both, and at least"),
    ],
)
def test_a_curve_needs_epochs(
    tmp_path: Path, train: list[float], validation: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        save_curve(train, validation, tmp_path / "curve.png")
    assert not any(tmp_path.iterdir())


# The use of a codebook --------------------------------------------------------------------------------


def test_bars_of_a_codebook_are_as_high_as_codes_are_used() -> None:
    axes = usage(np.array([0.6, 0.2, 0.2, 0]), "use").axes[0]
    ticks = [axes.yaxis.get_major_formatter()(value) for value in axes.get_yticks()]
    bars = axes.patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], [60, 20, 20, 0])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], [1, 2, 3, 4])
    assert {to_hex(bar.get_facecolor()) for bar in bars} == {STRONG}
    assert ticks == ["0 %", "10 %", "20 %", "30 %", "40 %", "50 %", "60 %"]
    assert axes.lines[0].get_ydata()[0] == 25
    assert list(labels_of(axes)) == ["uniform  25 %"]
    assert axes.texts[0].get_text() == "3 of 4 used · perplexity 2.6"


def test_many_codes_are_one_surface() -> None:
    shares = np.arange(512, 0, -1) / np.arange(513).sum()
    axes = usage(shares, "use").axes[0]
    (surface,) = axes.patches
    assert isinstance(surface, StepPatch)
    assert surface.get_fill()
    np.testing.assert_allclose(surface.get_data().values, 100 * shares)
    np.testing.assert_allclose(surface.get_data().edges, np.arange(513) + 0.5)
    assert axes.get_xlim() == (0.5, 512.5)
    assert axes.get_ylim()[0] == 0


def test_the_most_used_code_comes_first(tmp_path: Path) -> None:
    codes = np.array([[2] * 6 + [0] * 2 + [3] * 2])
    save_codebook_usage(codes, 4, tmp_path / "usage.png", "use")
    expected = picture_of(usage(np.array([0.6, 0.2, 0.2, 0]), "use"))
    with Image.open(tmp_path / "usage.png") as found:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("codes", [np.array([4]), np.array([-1]), np.array([], int), np.array([0.5])])
def test_what_are_no_codes(tmp_path: Path, codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"to count; expected codes in \[0, 3\], at least one\."):
        save_codebook_usage(codes, 4, tmp_path / "usage.png")
    assert not any(tmp_path.iterdir())


# Files and settings --------------------------------------------------------------------------------


def test_a_chart_is_the_same_to_the_byte_under_any_settings(tmp_path: Path) -> None:
    save_curve(TRAIN, VALIDATION, tmp_path / "one.png", BASELINES)
    theirs = {"axes.facecolor": "black", "font.size": 30, "text.usetex": True, "savefig.dpi": 10}
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams)
        save_curve(TRAIN, VALIDATION, tmp_path / "two.png", BASELINES)
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (round(SIZE[0] * DPI), round(SIZE[1] * DPI))
        assert picture.mode == "RGB"
        assert picture.info == {}


def test_titles_are_no_formulas_and_may_have_any_letters() -> None:
    figure = drawn(TRAIN, VALIDATION, title="$x^2$ of 写真")[0]  # a warning would be an error
    assert figure.axes[0].get_title(loc="left") == "$x^2$ of 写真"
    assert not figure.axes[0].title.get_parse_math()


def test_a_failed_write_leaves_the_old_chart_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "curve.png"
    save_curve(TRAIN, VALIDATION, file)
    old = file.read_bytes()

    def fail(picture: Image.Image, path: Path, *args: object, **options: object) -> None:
        path.write_bytes(old[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_curve(VALIDATION, TRAIN, file)
    assert file.read_bytes() == old
    assert list(tmp_path.iterdir()) == [file]


def printed(code: str, **environment: str) -> tuple[str, str]:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip(), result.stderr


def test_only_charts_import_matplotlib() -> None:
    names = "tfprior, tfprior.pictures.sheets, tfprior.cli, sys"
    assert printed(f"import {names}; print('matplotlib' in sys.modules)") == ("False", "")


@pytest.mark.parametrize(
    "drawing",
    [
        "save_curve([1.0], [1.0], path)",
        "save_heat_maps(np.zeros((1, 2, 2, 1), int), np.zeros((1, 2, 2)), 4, path)",
    ],
)
def test_charts_are_silent_and_leave_pyplot_alone(tmp_path: Path, drawing: str) -> None:
    function = drawing.split("(")[0]  # alone: each may be the first to import matplotlib
    code = f"""
import sys
import numpy as np
from tfprior.pictures import {function}
path = {str(tmp_path / "picture.png")!r}
{drawing}
print("matplotlib.pyplot" in sys.modules)
"""
    nowhere = str(tmp_path / "file" / "cache")  # cannot be made: matplotlib has no place for its fonts
    (tmp_path / "file").write_text("")
    assert printed(code, MPLCONFIGDIR=nowhere) == ("False", "")
