"""Bundles that a server holds: what each can do, and one put in the place of another."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfprior.export.client import OnnxEncoder, OnnxGenerator, OnnxSampler, load_manifest, open_bundle
from tfprior.serving.drawing import Asked, Drawing, DrawingOfCodes, DrawingOfPixels
from tfprior.serving.engine import Engine
from tfprior.serving.settings import Settings

Stamp = tuple[int, int, int]
"""Of a manifest's file: which one it is, when it was written, and its size."""


class Served:
    """One bundle, opened.

    Args:
        path: the bundle.
        settings: of the server.

    Attributes:
        path: the bundle.
        stamp: of the manifest that was opened; None where there was none.
        version: the first digits of its SHA-256.
        manifest: the bundle's.
        sampler: what draws, completes and scores; None of an encoder.
        encoder: what gives features and classes; None of all else.
        engine: what draws for all requests; None of an encoder.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path, self.stamp = path, stamp_of(path)
        self.manifest = load_manifest(path)
        self.version = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()[:12]
        self.sampler: OnnxSampler | OnnxGenerator | None = None
        self.encoder: OnnxEncoder | None = None
        self.engine: Engine | None = None
        if self.manifest.encoder is not None:
            self.encoder = OnnxEncoder(path)
            return
        self.sampler = open_bundle(path)
        samplers = self.sampler.samplers if isinstance(self.sampler, OnnxGenerator) else [self.sampler]
        for sampler in samplers:
            sampler.continuous_batch()  # opens what it draws by
        # Now, for later another bundle may stand in its place; and what is damaged is found out.
        for name in self.manifest.functions:
            if name.endswith(("log_prob", "log_prob_bound", "encode", "decode", "condition")):
                self.sampler.functions.open(name)
        self.engine = Engine(samplers, settings.slots, settings.threads, settings.max_waiting)

    def drawing(self, asked: Asked) -> Drawing:
        """What a request asks for, checked.

        Raises:
            ValueError: for what cannot be drawn.
        """
        if isinstance(self.sampler, OnnxGenerator):
            return DrawingOfCodes(self.sampler, asked)
        return DrawingOfPixels(self.image_sampler, asked)

    @property
    def image_sampler(self) -> OnnxSampler | OnnxGenerator:
        """What draws; an encoder has none."""
        assert self.sampler is not None
        return self.sampler

    @property
    def image_encoder(self) -> OnnxEncoder:
        """What gives features; all but an encoder have none."""
        assert self.encoder is not None
        return self.encoder

    @property
    def engine_of_images(self) -> Engine:
        """What draws for all requests; an encoder has none."""
        assert self.engine is not None
        return self.engine

    @property
    def num_levels(self) -> int:
        return self.image_sampler.num_levels

    @property
    def verbs(self) -> list[str]:
        """What can be asked of it."""
        if self.encoder is not None:
            return ["features"] if self.encoder.encoder.num_classes is None else ["features", "classify"]
        drawing = ["sample", "complete", "score"]
        return [*drawing, "encode"] if isinstance(self.sampler, OnnxGenerator) else drawing

    def describe(self) -> dict[str, Any]:
        """What clients want to know of it."""
        manifest = self.manifest
        about: dict[str, Any] = {
            "class_name": manifest.model.class_name,
            "parameters": manifest.model.parameters,
            "verbs": self.verbs,
            "class_names": manifest.class_names,
            "pixels": manifest.pixels,
        }
        if self.encoder is not None:
            described = self.encoder.encoder
            return {
                **about,
                "image_shape": described.image_shape,
                "input": described.input,
                "num_classes": described.num_classes,
            }
        assert self.sampler is not None
        prior = manifest.priors[0]
        kind = None if prior.condition is None else prior.condition.kind
        return {
            **about,
            "image_shape": self.sampler.grid_shape,
            "num_levels": self.sampler.num_levels,
            "condition": kind,
            "num_classes": self.sampler.num_classes,
            "is_guided": any(each.is_guided for each in manifest.priors),
            "orders": prior.orders,
        }

    def close(self, finish: bool = False) -> None:
        """Ends what draws, where `finish` says so after all that was asked."""
        if self.engine is not None:
            self.engine.close(finish)


class Shelf:
    """The bundles of a server by name.

    Args:
        paths: name → bundle.
        settings: of the server.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer.
    """

    def __init__(self, paths: dict[str, Path], settings: Settings) -> None:
        self.settings = settings
        self._served = {name: Served(path, settings) for name, path in paths.items()}
        self._refused: dict[str, Stamp | None] = {}

    def __getitem__(self, name: str) -> Served:
        return self._served[name]

    def items(self) -> Iterable[tuple[str, Served]]:
        return self._served.items()

    def reload(self, told: Callable[[str, Exception | None], None]) -> None:
        """Opens bundles that were replaced; one that cannot be opened leaves the one before in its place.

        Args:
            told: hears the name of each, and why it was refused, if it was.
        """
        for name, old in list(self._served.items()):
            stamp = stamp_of(old.path)
            if stamp in (None, old.stamp, self._refused.get(name)):
                continue
            try:
                new = Served(old.path, self.settings)
            except Exception as error:  # whatever it is, the old bundle still serves
                self._refused[name] = stamp
                told(name, error)
                continue
            self._refused.pop(name, None)
            self._served[name] = new
            ending = threading.Timer(self.settings.timeout, old.close, kwargs={"finish": True})
            ending.daemon = True
            ending.start()  # whoever asked the old one before may still begin
            told(name, None)

    def close(self) -> None:
        for served in self._served.values():
            served.close()


def stamp_of(path: Path) -> Stamp | None:
    """None where there is no manifest."""
    try:
        about = os.stat(path / "manifest.json")
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def named_paths(bundles: Iterable[str]) -> dict[str, Path]:
    """PATH or NAME=PATH → name → path; a path's own name where it has no other.

    Raises:
        ValueError: for a name given twice, and one that no address can have.
    """
    paths: dict[str, Path] = {}
    for bundle in bundles:
        name, is_named, path = bundle.rpartition("=")
        if is_named and not Path(bundle).exists():
            place = Path(path)
        else:
            place = Path(bundle)
            name = place.resolve().name
        if not name or not all(letter.isalnum() or letter in "._-" for letter in name):
            raise ValueError(
                f"The bundle {bundle} would be served as {name!r}; expected letters, digits, dots and "
                "dashes: give it a name with NAME=PATH."
            )
        if name in paths:
            raise ValueError(f"Two bundles would be served as {name!r}; name one of them with NAME=PATH.")
        paths[name] = place
    return paths
