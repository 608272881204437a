"""The functions of a bundle that holds a tokenizer and the priors of its codes.

Shapes: B batch · H W C image · h w G codes · K uniforms a code's position.
"""

from typing import Any

from tfprior.export.functions import functions, sample
from tfprior.export.guidance import is_guided
from tfprior.export.ranges import within_range
from tfprior.export.signatures import Function, Port, Ports, Tensors
from tfprior.generator import Generator
from tfprior.image_model import ImageModel

PREFIXES = {1: ("",), 2: ("top_", "bottom_")}
"""What stands before the names of each grid's functions and tensors, by the number of grids."""


def prefixes(model: ImageModel) -> tuple[str, ...]:
    return PREFIXES[len(model.chain())]


def condition_function(prefix: str) -> str:
    """The function that makes the condition of a grid's prior from the codes above it."""
    return f"{prefix}condition"


def generator_functions(generator: Generator) -> list[Function]:
    """Those of every prior, and between images and codes."""
    ports = ImagePorts(generator)
    names = prefixes(generator)
    made = [
        function._replace(name=prefix + function.name)
        for prefix, prior in zip(names, generator.priors, strict=True)
        for function in functions(prior)
    ]
    between = [
        *(_condition(generator, index, ports) for index in range(1, len(names))),
        _encode(generator, ports),
        _decode(generator, ports),
        _generate(generator, ports),
        _log_prob_bound(generator, ports),
    ]
    return [*made, *map(within_range, between)]


class ImagePorts:
    """The tensors between images and codes."""

    def __init__(self, generator: Generator) -> None:
        tokenizer, names = generator.tokenizer, prefixes(generator)
        levels = tokenizer.distribution.num_levels
        self.tokenizer = tokenizer
        of_priors = [Ports(prior) for prior in generator.priors]
        shape = tokenizer.image_shape
        self.images = Port("images", "int32", shape, f"images in [0, {levels})", levels=levels)
        self.expected = self.images._replace(
            dtype="float32",
            levels=0,
            meaning=f"expected images on [0, {levels - 1}]; round them to have levels",
        )
        self.codes = tuple(
            ports.values._replace(
                name=f"{prefix}codes", meaning=ports.values.meaning.replace("grids", "codes")
            )
            for prefix, ports in zip(names, of_priors, strict=True)
        )
        self.noise = tuple(
            ports.noise._replace(name=f"{prefix}uniforms")
            for prefix, ports in zip(names, of_priors, strict=True)
        )
        self.temperature = of_priors[0].temperature
        self.guidance = (of_priors[0].guidance,) if any(map(is_guided, generator.priors)) else ()
        self.condition = of_priors[0].condition

    def codes_in(self, tensors: Tensors) -> Any:
        """The codes among the tensors, as a tokenizer takes them."""
        return self.tokenizer.codes_of([tensors[port.name] for port in self.codes])

    def named(self, codes: Any) -> Tensors:
        """The codes of a tokenizer by name."""
        grids = self.tokenizer.grids_of(codes)
        return {port.name: grid for port, grid in zip(self.codes, grids, strict=True)}


def _condition(generator: Generator, index: int, ports: ImagePorts) -> Function:
    above = ports.codes[index - 1]
    shape = generator.priors[index].condition_shape
    assert shape is not None  # or the generator would have refused the prior
    made = Port("condition", "float32", shape, "for the functions of the next finer codes")

    def call(tensors: Tensors) -> Tensors:
        return {"condition": generator.tokenizer.condition_map(tensors[above.name])}

    return Function(condition_function(prefixes(generator)[index]), call, (above,), (made,))


def _encode(generator: Generator, ports: ImagePorts) -> Function:
    def call(tensors: Tensors) -> Tensors:
        return ports.named(generator.tokenizer.encode_batch(tensors["images"]))

    return Function("encode", call, (ports.images,), ports.codes)


def _decode(generator: Generator, ports: ImagePorts) -> Function:
    def call(tensors: Tensors) -> Tensors:
        return {"images": generator.tokenizer.decode_batch(ports.codes_in(tensors))}

    return Function("decode", call, ports.codes, (ports.expected,))


def _generate(generator: Generator, ports: ImagePorts) -> Function:
    def call(tensors: Tensors) -> Tensors:
        codes: list[Any] = []
        total: Any = 0.0
        for prior, noise in zip(generator.priors, ports.noise, strict=True):
            condition = generator.condition_of(codes, tensors.get("condition"))
            draw, known = sample(prior), {**tensors, "uniforms": tensors[noise.name], "condition": condition}
            drawn = draw.call({port.name: known[port.name] for port in draw.inputs if port.name in known})
            codes.append(drawn["values"])
            total = total + drawn["log_prob"]
        images = generator.tokenizer.decode_batch(generator.tokenizer.codes_of(codes))
        return {"images": images, **ports.named(codes), "log_prob": total}

    nats = Port("log_prob", "float32", (), "nats of the codes, of the priors at temperature 1")
    return Function(
        "generate",
        call,
        (*ports.noise, ports.temperature, *ports.guidance, *ports.condition),
        (ports.expected, *ports.codes, nats),
    )


def _log_prob_bound(generator: Generator, ports: ImagePorts) -> Function:
    def call(tensors: Tensors) -> Tensors:
        return {"log_prob": generator.log_prob_batch(tensors["images"], tensors.get("condition"))}

    nats = Port("log_prob", "float32", (), "nats, a lower bound: of the image's codes and of it given them")
    return Function("log_prob_bound", call, (ports.images, *ports.condition), (nats,))
