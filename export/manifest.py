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
    │   │   ├── condition            null, or a label, vector, map or source; finer grids' by a function;
    │   │   │                        class_names, where labels have names
    │   │   ├── noise                how many uniforms on [0, 1) a step takes, and what makes them of a seed
    │   │   ├── cache                null, or the keys and values that a Transformer's steps hand on
    │   │   ├── end_value            null, or what sequences are filled up with behind their ends
    │   │   ├── hidden_apart         null, or how many values of a position a masked prior hides apart
    │   │   └── golden               noise, condition, order, of a prior that is guided (its functions take
    │   │                            `guidance`) that too → values and nats, which every runtime repeats
    │   ├── images                   null, or with a tokenizer: shape, num_levels, golden images and codes
    │   ├── encoder                  null, or in the place of priors: what it takes and gives, golden features
    │   ├── weights                  null of float32, or the narrower type that they were rounded to: float16
    │   │                            or int8, and the bits/dim that this costs images which the model draws
    │   ├── pixels                   null, or "grey" or "RGB", in this order; 0 is black, the top level white
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

from tfprior.export.checks import BundleError as BundleError
from tfprior.export.checks import Count, Size, check_array, check_tensor, require
from tfprior.export.encoder_description import EncoderDescription
from tfprior.export.ports import FunctionDescription, TensorNames
from tfprior.export.prior_description import PriorDescription
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
class WeightsDescription:
    """What weights were rounded to; SavedModel and LiteRT hold the same numbers as float32."""

    type: Literal["float16", "int8"]
    added_bits_per_dim: float | None


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
    pixels: Literal["grey", "RGB"] | None = None
    weights: WeightsDescription | None = None

    def __post_init__(self) -> None:
        self._check_weights()
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
        require(
            self.pixels in (None, kind_of_pixels(self.image_shape)),
            f"pixels are {self.pixels!r} of the shape {self.image_shape}; expected 'grey' of one channel, "
            "'RGB' of three, or null.",
        )

    def _check_weights(self) -> None:
        if self.weights is not None:
            added = self.weights.added_bits_per_dim
            require(
                (added is None) == (self.encoder is not None),
                f"weights.added_bits_per_dim is {added}; expected a number, and null of an encoder alone.",
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels that are the condition, or that a classifier tells apart; none of those without."""
        described = self.priors[0].condition if self.encoder is None else self.encoder
        return (described and described.class_names) or ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what goes in or comes out."""
        if self.encoder is not None:
            return self.encoder.image_shape
        return self.priors[0].grid_shape if self.images is None else self.images.shape

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


def kind_of_pixels(image_shape: tuple[int, int, int]) -> Literal["grey", "RGB"] | None:
    """What images of so many channels are; None of other numbers."""
    kinds: dict[int, Literal["grey", "RGB"]] = {1: "grey", 3: "RGB"}
    return kinds.get(image_shape[-1])
