"""Requests and answers as JSON, from which the OpenAPI description is made."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Grid = list[list[list[int]]]
"""An image (H, W, C) of integers."""
EXAMPLE_IMAGE: Grid = [[[0], [1]], [[2], [3]]]


class Asking(BaseModel):
    """What requests have in common; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    timeout: float | None = Field(
        None, gt=0, description="Seconds until the request is given up; the server's own limit at most."
    )


class Drawing(Asking):
    """How images are drawn."""

    condition: list[Any] | None = Field(
        None,
        description="One label, by its number or name, vector, map or source for each image; none for an "
        "unconditional prior.",
        examples=[[3]],
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**64,
        description="The same seed gives the same images in every runtime; left out, the answer tells it.",
        examples=[1],
    )
    temperature: Annotated[float, Field(gt=0)] | list[Annotated[float, Field(gt=0)]] = Field(
        1.0, description="One for all images, or one for each."
    )
    guidance: Annotated[float, Field(ge=0)] | list[Annotated[float, Field(ge=0)]] | None = Field(
        None, description="Towards the condition, of priors trained for it; one for all, or one for each."
    )
    order: str | list[int] | None = Field(
        None, description="In which positions are drawn, of a prior of any order: raster, halton, or a list."
    )
    method: str | None = Field(None, description="Of a masked prior: step, maskgit or halton.")
    iterations: int | None = Field(None, ge=1, description="How many passes maskgit and halton take.")


class SampleRequest(Drawing):
    """Images drawn anew."""

    num_samples: int = Field(1, ge=1, description="How many images.", examples=[1])


class CompleteRequest(Drawing):
    """Images of which the hidden part is drawn."""

    images: list[Grid] = Field(min_length=1, description="Integers (N, H, W, C).", examples=[[EXAMPLE_IMAGE]])
    mask: list[Any] = Field(
        description="1 or true where a pixel is hidden, 0 or false where it is known: (H, W) or (N, H, W).",
        examples=[[[0, 0], [1, 1]]],
    )


class ScoreRequest(Asking):
    """Images whose likelihood is asked for."""

    images: list[Grid] = Field(min_length=1, examples=[[EXAMPLE_IMAGE]])
    condition: list[Any] | None = Field(None, examples=[[3]])
    order: str | list[int] | None = None


class ImagesRequest(Asking):
    """Images to encode, or to take features of: integers, or what else the encoder takes."""

    images: list[list[list[list[int | float]]]] = Field(min_length=1, examples=[[EXAMPLE_IMAGE]])


class Drawn(BaseModel):
    """Images that were drawn.

    Attributes:
        values: integers (N, H, W, C).
        log_prob: nats of all that was drawn, at temperature 1; of a bundle with a tokenizer, its codes.
    """

    model: str
    version: str
    seed: int
    values: list[Grid]
    log_prob: list[float]


class Scored(BaseModel):
    """Log-likelihoods in nats; of a bundle with a tokenizer a lower bound."""

    model: str
    version: str
    log_prob: list[float]
    bits_per_dim: list[float]
    is_bound: bool


class Encoded(BaseModel):
    """Codes, a grid (N, h, w, G) for each prior, coarse to fine."""

    model: str
    version: str
    codes: list[list[Grid]]


class Features(BaseModel):
    """Features (N, F, D) of images."""

    model: str
    version: str
    features: list[list[list[float]]]


class Classified(BaseModel):
    """Logits (N, K) of classes."""

    model: str
    version: str
    logits: list[list[float]]


class Model(BaseModel):
    """A bundle that is served."""

    name: str
    version: str = Field(description="The first digits of the manifest's SHA-256.")
    class_name: str
    parameters: int
    verbs: list[str] = Field(description="What can be asked of it, as in /v1/models/NAME:VERB.")
    image_shape: list[int] = Field(min_length=3, max_length=3, description="(H, W, C).")
    num_levels: int | None = None
    condition: str | None = None
    num_classes: int | None = None
    class_names: list[str] = Field([], description="Of the classes, from 0 on, if they have any.")
    pixels: str | None = Field(None, description="grey or RGB, from black to white, of pixels.")
    is_guided: bool = False
    orders: str | None = None
    input: str | None = Field(None, description="What an encoder takes.")


class Models(BaseModel):
    models: list[Model]


class Health(BaseModel):
    status: str


class Fault(BaseModel):
    """Why there is no answer, in one sentence."""

    error: str
