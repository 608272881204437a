"""One array in an .npy file, and files that are larger inside than outside."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import check_sentence, images, integers, save_arrays

from tfprior import data
from tfprior.data import arrays


def test_npy(tmp_path: Path) -> None:
    x = np.arange(20, dtype=np.uint8)[:, None, None] + np.zeros((20, 5, 6), np.uint8)
    np.save(tmp_path / "mine.npy", x)
    loaded = data.load(tmp_path / "mine.npy")
    assert (loaded.name, loaded.grid_shape, loaded.num_levels, loaded.y_train) == (
        "mine",
        (5, 6, 1),
        256,
        None,
    )
    assert sorted([*loaded.x_train[:, 4, 5, 0], *loaded.x_test[:, 4, 5, 0]]) == list(range(20))
    assert len(loaded.x_test) == 2
    assert data.load(tmp_path / "mine.npy", num_levels=32).num_levels == 32
    np.testing.assert_array_equal(data.load(tmp_path / "mine.npy", num_levels=19).x_train[0], 0)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(x))
    np.testing.assert_array_equal(data.load(tmp_path / "fortran.npy").x_train, loaded.x_train)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 1, 6, 6), np.uint8), r"shape \(8, 1, 6, 6\), channels first"),
        (np.zeros((9, 4, 6, 6), np.uint8), r"shape \(8, 4, 6, 6\), channels first"),
        (np.ones((9, 6, 6)) / 2, r"in \[0.5, 0.5\], so store np\.round\(x \* 255\)"),
        (np.array([{}] * 9), r"a\.npy holds Python objects as an array; expected integers"),
        (np.zeros((9, 6, 6), [("r", "u1"), ("g", "u1")]), r"dtype \[\('r', 'u1'\), .*; expected integers"),
        (np.zeros(9, np.uint8), r"shape \(9,\); expected \(N, H, W\)"),
    ],
)
def test_npy_faults(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as told:
        data.load(tmp_path / "a.npy")
    check_sentence(told.value, "a")


def test_few_pixels_are_no_channels(tmp_path: Path) -> None:
    """(N, 4, 4, 8) may be 4 × 4 codes of depth 8: only what is plain is refused."""
    for shape in ((6, 4, 4, 8), (6, 3, 3, 3), (6, 1, 9, 3)):
        np.save(tmp_path / "a.npy", integers(*shape))
        assert data.load(tmp_path / "a.npy").grid_shape == shape[1:]
    codes = images(x_train=integers(10, 3, 8, 8, top=9), x_test=integers(7, 3, 8, 8, top=9), are_codes=True)
    assert codes.grid_shape == (3, 8, 8)


def test_truncated_and_prolonged_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", integers(6, 4, 5))
    content = (tmp_path / "a.npy").read_bytes()
    for changed in (b"", content[:5], content[:90], content[:-1], content + b"\0"):
        (tmp_path / "a.npy").write_bytes(changed)
        with pytest.raises(ValueError, match=r"a\.npy could not be read .*expected a complete \.npy") as told:
            data.load(tmp_path / "a.npy")
        check_sentence(told.value, "a.npy")
    with pytest.raises(
        ValueError, match=r"an array has 121 bytes of values where its shape \(6, 4, 5\) takes 120"
    ):
        data.load(tmp_path / "a.npy")


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_arrays_larger_than_their_file_are_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header((10**6, 1000, 1000)) + bytes(9))
    with pytest.raises(ValueError, match=r"has 9 bytes of values where its shape .* takes 1000000000000"):
        data.load(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", header((10**6, 1000, 1000)) + bytes(10**6))
    with pytest.raises(
        ValueError, match=r"x_train has 1000000 bytes of values where its shape .* takes 1000000000000"
    ):
        data.load(tmp_path / "a.npz")


def test_bombs_are_refused_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((100, 100, 100), np.uint8)
    path = save_arrays(tmp_path / "bomb.npz", x_train=x, x_test=x, y_train=None, y_test=None)
    assert path.stat().st_size < 10_000
    np.save(tmp_path / "bomb.npy", x)
    monkeypatch.setattr(arrays, "MAX_BYTES", 2**20 // 2)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    for name in ("bomb.npz", "bomb.npy"):
        with pytest.raises(ValueError, match=rf"{name} holds 0\.0 GiB as (arrays|an array);") as told:
            data.load(tmp_path / name)
        check_sentence(told.value, name)


def test_headers_smaller_than_the_values_do_not_escape_the_checksum(tmp_path: Path) -> None:
    path = save_arrays(tmp_path / "a.npz", x_train=integers(6, 40, 50, 3), x_test=integers(3, 40, 50, 3))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    content = path.read_bytes()
    assert content.count(b"(6, 40, 50, 3)") == 1
    path.write_bytes(content.replace(b"(6, 40, 50, 3)", b"(5, 40, 50, 3)"))
    with pytest.raises(ValueError, match=r"x_train has 36000 bytes of values where its shape .* takes 30000"):
        data.load(path)
    path.write_bytes(content.replace(b"(6, 40, 50, 3)", b"(4, 60, 50, 3)"))
    with pytest.raises(ValueError, match=r"a\.npz could not be read \(Bad CRC-32 for file 'x_train.npy'\)"):
        data.load(path)


def test_other_packings_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_train.npy", header((2, 2, 2)) + bytes(8))
    with pytest.raises(ValueError, match=r"has x_train in another packing than NumPy's; expected np\.savez"):
        data.load(tmp_path / "a.npz")
