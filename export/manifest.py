"""What a bundle holds: the manifest as frozen dataclasses. Files are read and written by `manifest_file`.

    my_prior/
    ├── manifest.json
    │   ├── format, schema_version   what kind of file this is; other versions are refused
    │   ├── manifest_sha256          of this very file, with the digest's own 64 digits taken as zeros
    │   ├── model                    class_name, Keras config, parameters
    │   ├── priors                   one, or with a tokenizer one for each grid of codes, coarse to fine
    │   │   ├── prefix               stands before the names of its functions: "", or "top_" and "bottom_"
    │   │   ├── grid_shape, num_levels, num_steps
    │   │   ├── orders               "raster", or "any", which callers choose
    │   │   ├── condition            null, or a label, vector, map or source; finer grids' by a function
    │   │   ├── noise                how many uniforms on [0, 1) a step takes, and what makes them of a seed
    │   │   ├── cache                null, or the keys and values that a Transformer's steps hand on
    │   │   ├── end_value            null, or what sequences are filled up with behind their ends
    │   │   ├── hidden_apart         null, or how many values of a position a masked prior hides apart
    │   │   └── golden               noise, condition, order, of a prior that is guided (its functions take
    │   │                            `guidance`) that too → values and nats, which every runtime repeats
    │   ├── images                   null, or with a tokenizer: shape, num_levels, golden images and codes
    │   ├── encoder                  null, or in the place of priors: what it takes and gives, golden features
    │   ├── opset, versions          of ONNX, and of the libraries that wrote the bundle
    │   ├── functions                name → inputs and outputs: name, dtype, ["batch", …], meaning
    │   ├── saved_model              null, or name → inputs and outputs: port → tensor of its graph
    │   └── files                    path, bytes and sha256 of every other file
    ├── litert/model.tflite          one signature for each function, if it was asked for
    ├── onnx/NAME.onnx               one graph for each function
    ├── onnx/weights.bin             the weights that these share
    └── saved_model/1/               one signature for each function, in TensorFlow Serving's layout

Each class below is an object of that JSON, its fields the object's keys. A manifest that contradicts itself
cannot be made: every class checks its fields against each other when it is built.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from tfprior.condition_kind import ConditionKind
from tfprior.export.checks import BundleError as BundleError
from tfprior.export.checks import Count, Layers, Size, check_array, check_tensor, require
from tfprior.export.encoder_description import EncoderDescription
from tfprior.export.ports import FunctionDescription, TensorNames
from tfprior.export.strict_json import FloatArray, IntArray


@dataclass(frozen=True)
class ModelDescription:
    class_name: str
    config: dict[str, Any]
    parameters: Count

    def __post_init__(self) -> None:
        require(
            self.class_name.isidentifier(),
            f"model.class_name is {self.class_name!r}; expected the name of a class.",
        )


@dataclass(frozen=True)
class ConditionDescription:
    """A label in [0, num_classes), or floats of a shape; `function` makes them where codes above do.

    A source is tokens in [0, num_levels) of a shape (S,), those behind its end `padding`.
    """

    kind: Literal["label", "vector", "map", "source"]
    num_classes: Size | None = None
    shape: tuple[Size, ...] | None = None
    function: str | None = None
    num_levels: Size | None = None
    padding: Count | None = None

    def __post_init__(self) -> None:
        rank = {"label": None, "vector": 1, "map": 3, "source": 1}[self.kind]
        fits = (self.num_classes is None) == (rank is not None) and rank == (self.shape and len(self.shape))
        require(
            fits,
            f"a condition of kind {self.kind!r} has num_classes {self.num_classes} and shape {self.shape}; "
            "expected num_classes for a label, (D,) for a vector, (H, W, D) for a map, (S,) for a source.",
        )
        levels, padding = self.num_levels, self.padding
        given = levels is not None and padding is not None and padding < levels
        require(
            given if self.kind == "source" else levels is None and padding is None,
            f"a condition of kind {self.kind!r} has num_levels {levels} and padding {padding}; expected both "
            "for a source, the padding one of its tokens, and neither for others.",
        )
        require(
            self.function is None or self.kind in ("vector", "map"),
            f"a {self.kind} is made by the function {self.function!r}; expected a vector or map.",
        )
        check_tensor("a condition", self.shape or ())

    @property
    def dtype(self) -> str:
        return "int32" if self.kind in ("label", "source") else "float32"

    @property
    def of_model(self) -> ConditionKind:
        """The same, as models tell it."""
        return ConditionKind(self.shape or (), self.num_classes or self.num_levels, self.padding)


@dataclass(frozen=True)
class NoiseDescription:
    """Each step takes `per_step` numbers of its own, by `generator` (`tfprior.philox`) from a seed."""

    per_step: Size
    distribution: Literal["uniform on [0, 1)"] = "uniform on [0, 1)"
    dtype: Literal["float32"] = "float32"
    generator: Literal["philox4x32-10"] = "philox4x32-10"


@dataclass(frozen=True)
class CacheDescription:
    """`layers` keys and as many values (B, heads, length, head_dim), longer by `per_step` with each step."""

    layers: Layers
    heads: Size
    head_dim: Size
    per_step: Size

    def __post_init__(self) -> None:
        check_tensor("a cache of one position", (self.layers, self.heads, self.per_step, self.head_dim))


@dataclass(frozen=True, eq=False)
class GoldenRollout:
    """uniforms (N, H, W, K), condition (N, …), order (N, P) → values (N, H, W, C), log_prob (N,) in nats.

    A prior that is guided draws the values with guidance (N,); the nats are without.
    """

    uniforms: FloatArray
    condition: IntArray | FloatArray | None
    order: IntArray | None
    values: IntArray
    log_prob: FloatArray
    guidance: FloatArray | None = None


@dataclass(frozen=True)
class PriorDescription:
    prefix: str
    grid_shape: tuple[Size, Size, Size]
    num_levels: Size
    num_steps: Size
    orders: Literal["raster", "any"]
    condition: ConditionDescription | None
    noise: NoiseDescription
    cache: CacheDescription | None
    hidden_apart: Size | None
    golden: GoldenRollout
    end_value: Count | None = None

    def __post_init__(self) -> None:
        name, golden, condition = f"{self.prefix}golden", self.golden, self.condition
        height, width, _ = self.grid_shape
        require(
            self.cache is not None or condition is None or condition.kind != "source",
            f"{self.prefix}cache is null; expected one for steps that attend to a source.",
        )
        apart = 1 if self.hidden_apart is None else self.hidden_apart
        require(
            apart in (1, self.grid_shape[-1]) and (self.hidden_apart is None or self.orders == "any"),
            f"{self.prefix}hidden_apart is {apart} and orders {self.orders!r}; expected 1, or one for each "
            "channel, of a prior that draws in any order.",
        )
        longer = 1 if self.cache is None else self.cache.per_step
        require(
            longer in (1, self.grid_shape[-1]),
            f"{self.prefix}cache is longer by {longer} a step; expected 1, or one for each channel.",
        )
        require(
            self.num_steps == height * width,
            f"{self.prefix}num_steps is {self.num_steps}; expected {height * width} for grids of "
            f"{height} × {width}.",
        )
        check_tensor(f"{self.prefix}grid_shape", self.grid_shape)
        require(
            self.end_value is None
            or (self.end_value < self.num_levels and self.grid_shape == (1, self.num_steps, 1)),
            f"{self.prefix}end_value is {self.end_value}; expected one of the levels, of grids (1, N, 1).",
        )
        samples = len(golden.values)
        check_array(f"{name}.values", golden.values, (samples, *self.grid_shape), self.num_levels)
        check_array(f"{name}.uniforms", golden.uniforms, (samples, height, width, self.noise.per_step))
        require(
            golden.uniforms.min() >= 0 and golden.uniforms.max() < 1,
            f"{name}.uniforms leave [0, 1); expected noise from 0 up to below 1.",
        )
        check_array(f"{name}.log_prob", golden.log_prob, (samples,))
        self._check_order(f"{name}.order", golden.order, samples)
        self._check_guidance(f"{name}.guidance", golden.guidance, samples)
        if condition is None or condition.function is not None:
            require(
                golden.condition is None,
                f"{name}.condition is given; expected null, for nobody chooses the condition.",
            )
        else:
            shape, levels = (samples, *(condition.shape or ())), condition.of_model.num_levels or 0
            check_array(f"{name}.condition", golden.condition, shape, levels)
        if condition is not None and condition.kind == "map":
            require(
                condition.shape is not None and condition.shape[:2] == (height, width),
                f"{self.prefix}condition has the shape {condition.shape}; expected ({height}, {width}, D), "
                "as large as the grid.",
            )

    @property
    def is_guided(self) -> bool:
        """Whether its functions take guidance, and what they hand on is as wide as two."""
        return self.golden.guidance is not None

    def _check_guidance(self, name: str, guidance: np.ndarray | None, samples: int) -> None:
        if guidance is None:
            return
        check_array(name, guidance, (samples,))
        require(guidance.min() >= 0, f"{name} is negative; expected numbers from 0.")
        require(
            self.condition is not None and self.condition.kind != "source",
            f"{name} is given; expected null without a label, vector or map to be guided to.",
        )

    def _check_order(self, name: str, order: np.ndarray | None, samples: int) -> None:
        if self.orders == "raster":
            require(order is None, f"{name} is given; expected null, for the prior draws in raster order.")
            return
        require(
            (self.cache is None) != (self.hidden_apart is None),
            f"{self.prefix}cache and hidden_apart are both given, or both null; expected one of them for "
            "steps in any order.",
        )
        check_array(name, order, (samples, self.num_steps), self.num_steps)
        assert order is not None
        each_once = (np.sort(order, axis=1) == np.arange(self.num_steps)).all()
        require(each_once, f"{name} has a position twice; expected each once.")


@dataclass(frozen=True, eq=False)
class GoldenImages:
    """images (N, H, W, C) → codes; those of the priors' golden values → expected (N, H, W, C)."""

    expected: FloatArray
    images: IntArray
    codes: tuple[IntArray, ...]
    log_prob_bound: FloatArray


@dataclass(frozen=True)
class ImagesDescription:
    shape: tuple[Size, Size, Size]
    num_levels: Size
    golden: GoldenImages

    def __post_init__(self) -> None:
        check_tensor("images.shape", self.shape)
        golden, samples = self.golden, len(self.golden.images)
        check_array("images.golden.images", golden.images, (samples, *self.shape), self.num_levels)
        check_array("images.golden.expected", golden.expected, (samples, *self.shape))
        check_array("images.golden.log_prob_bound", golden.log_prob_bound, (samples,))


@dataclass(frozen=True)
class FileDescription:
    path: str
    bytes: Count
    sha256: str

    def __post_init__(self) -> None:
        relative = PurePosixPath(self.path)
        require(
            re.fullmatch(r"[\w .@+-]+(/[\w .@+-]+)*", self.path, re.ASCII) and ".." not in relative.parts,
            f"the manifest lists {self.path!r}, which lies outside the bundle or is no plain name.",
        )
        require(
            re.fullmatch("[0-9a-f]{64}", self.sha256),
            f"{self.path} has the SHA-256 {self.sha256!r}; expected 64 hexadecimal digits.",
        )


@dataclass(frozen=True)
class Manifest:
    model: ModelDescription
    priors: tuple[PriorDescription, ...]
    images: ImagesDescription | None
    opset: Size
    versions: dict[str, str]
    functions: dict[str, FunctionDescription]
    files: tuple[FileDescription, ...]
    encoder: EncoderDescription | None = None
    saved_model: dict[str, TensorNames] | None = None

    def __post_init__(self) -> None:
        prefixes, paths = [prior.prefix for prior in self.priors], [file.path for file in self.files]
        is_encoder = self.encoder is not None
        require(
            not is_encoder or (not prefixes and self.images is None),
            f"an encoder stands beside {len(prefixes)} priors; expected neither priors nor their images.",
        )
        require(
            is_encoder
            or prefixes == [""]
            or (len(prefixes) > 1 and "" not in prefixes and len(set(prefixes)) == len(prefixes)),
            f"the priors have the prefixes {prefixes}; expected '' for a single one, else one for each.",
        )
        require(paths, "the manifest lists no files; expected those of the functions.")
        require(len(set(paths)) == len(paths), "the manifest lists a file twice; expected each once.")
        is_generator = self.model.class_name == "Generator"
        require(
            is_encoder
            or (is_generator == (self.images is not None) and (is_generator or len(self.priors) == 1)),
            f"a {self.model.class_name} has {len(self.priors)} priors and "
            f"{'no ' if self.images is None else ''}images; expected images and several priors of a "
            "Generator alone.",
        )
        for index, prior in enumerate(self.priors):
            made_by = prior.condition and prior.condition.function
            require(
                (made_by is None) == (index == 0),
                f"the condition of prior {index} is made by the function {made_by!r}; expected a function "
                "for every prior but the first.",
            )
        if self.images is not None:
            self._check_golden_codes(self.images.golden)

    def _check_golden_codes(self, golden: GoldenImages) -> None:
        require(
            len(golden.codes) == len(self.priors),
            f"images.golden.codes are {len(golden.codes)} grids; expected {len(self.priors)}.",
        )
        for prior, codes in zip(self.priors, golden.codes, strict=True):
            samples = len(golden.images)
            name = f"images.golden.{prior.prefix}codes"
            check_array(name, codes, (samples, *prior.grid_shape), prior.num_levels)
            check_array(f"{prior.prefix}golden.values", prior.golden.values, codes.shape)

    def formats(self) -> set[str]:
        """The folders of functions that the bundle holds: "onnx", "saved_model"."""
        return {file.path.split("/")[0] for file in self.files}
