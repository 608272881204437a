"""The inputs and outputs that a bundle's functions must have, told by its priors and images alone.

A port is (dtype, sizes of one example). A size may be a word: one that calls choose (`ports.WORDS`), or what
only the model knows, which stands for the same number in all functions of a prior.
"""

from collections.abc import Mapping

from tfprior.export.checks import BundleError, require
from tfprior.export.encoder_description import CLASSIFY, FEATURES, RECONSTRUCT, EncoderDescription
from tfprior.export.manifest import ImagesDescription, Manifest
from tfprior.export.ports import WORDS, FunctionDescription, PortDescription, TensorNames
from tfprior.export.prior_description import CacheDescription, PriorDescription

Port = tuple[str, tuple[int | str, ...]]
Ports = dict[str, Port]
Contract = dict[str, tuple[Ports, Ports]]

NUMBER: Port = ("float32", ())


def check_functions(manifest: Manifest) -> None:
    """Compares the manifest's functions with its priors and images.

    Raises:
        BundleError: for a function that is missing, unknown, or has other ports.
    """
    functions = dict(manifest.functions)
    above: tuple[str, Port] | None = None
    for prior in manifest.priors:
        required = prior_functions(prior)
        pair: Contract = {name: required.pop(name) for name in ("row", "pixel") if name in required}
        if prior.prefix + "row" in functions or prior.prefix + "pixel" in functions:
            required |= pair
        contract = {prior.prefix + name: ports for name, ports in required.items()}
        if prior.condition is not None and prior.condition.function is not None and above is not None:
            contract[prior.condition.function] = (dict([above]), {"condition": condition_port(prior)})
        _compare(contract, functions)
        above = codes_port(prior)
    if manifest.images is not None:
        _compare(image_functions(manifest.images, manifest.priors), functions)
    if manifest.encoder is not None:
        _compare(encoder_contract(manifest.encoder), functions)
    require(not functions, f"it has the unknown functions {', '.join(sorted(functions))}.")
    if manifest.saved_model is not None:
        _compare_tensors(manifest.saved_model, manifest.functions)


def prior_functions(prior: PriorDescription) -> Contract:
    """Those of one prior, without its prefix; some priors lack `row` and `pixel`."""
    height, width, channels = prior.grid_shape
    noise: Port = ("float32", (prior.noise.per_step,))
    grid_noise: Port = ("float32", (height, width, prior.noise.per_step))
    pixel: Port = ("int32", (channels,))
    grid: Port = ("int32", prior.grid_shape)
    position: Port = ("int32", ())
    state, row_state, pixel_state = (("float32", (f"size of {name}",)) for name in ("state", "row", "pixel"))
    features: Port = ("float32", (width, "number of row features"))
    condition = {} if prior.condition is None else {"condition": condition_port(prior)}
    order: Ports = {"order": ("int32", (prior.num_steps,))} if prior.orders == "any" else {}
    drawn = {"value": pixel, "log_prob": NUMBER}
    options: Ports = {"temperature": NUMBER, **({"guidance": NUMBER} if prior.is_guided else {})}
    step = {"previous": pixel, "position": position, "uniforms": noise, **options}
    whole: Contract = {
        "sample": (
            {"uniforms": grid_noise, **options, **order, **condition},
            {"values": grid, "log_prob": NUMBER},
        ),
        "log_prob": ({"values": grid, **order, **condition}, {"log_prob": NUMBER}),
    }
    if prior.hidden_apart is not None:
        shape = (height, width, prior.hidden_apart)
        given = {"values": grid, "hidden": ("int32", shape), **condition}
        nats: Ports = {"log_prob": ("float32", shape)}
        noisy: Ports = {"uniforms": grid_noise, **options}
        return {
            "refine": ({**given, **noisy}, {"values_out": grid, **nats}),
            "log_prob_given": (given, nats),
            **whole,
        }
    if prior.cache is not None:
        known: Ports = {"values": ("int32", ("known", channels))}
        if order:
            step["previous_position"], known["positions"] = position, ("int32", ("known",))
        past, after = keys_and_values(prior.cache, "past"), keys_and_values(prior.cache, "present")
        given, encode = condition, Contract()
        if prior.condition is not None and prior.condition.kind == "source":
            given = memory(prior.cache, *prior.condition.of_model.shape)
            encode = {"encode_source": (condition, given)}
        return {
            **encode,
            "prefill": ({**known, **given}, after),
            "step": ({**past, **step, **given}, {**drawn, **after}),
            **whole,
        }
    return {
        "initial_state": ({"position": position}, {"state": state}),
        "step": ({"state": state, **step, **condition}, {**drawn, "state_out": state}),
        **whole,
        "row": (
            {"row_state": row_state, "finished_row": ("int32", (width, channels)), "position": position}
            | condition,
            {"row_features": features, "row_state_out": row_state},
        ),
        "pixel": (
            {"pixel_state": pixel_state, "row_features": features, **step},
            {**drawn, "pixel_state_out": pixel_state},
        ),
    }


def keys_and_values(cache: CacheDescription, length: str) -> Ports:
    """Those that a step takes in, of the "past", or hands on, "present"."""
    prefix = {"past": "past_key_values", "present": "present"}[length]
    return {
        f"{prefix}.{layer}.{part}": ("float32", (cache.heads, length, cache.head_dim))
        for layer in range(cache.layers)
        for part in ("key", "value")
    }


def memory(cache: CacheDescription, length: int) -> Ports:
    """What `encode_source` makes of a source, for all steps."""
    each: Port = ("float32", (cache.heads, length, cache.head_dim))
    names = [f"memory.{layer}.{part}" for layer in range(cache.layers) for part in ("key", "value")]
    return {"memory.hidden": ("float32", (1, 1, length)), **dict.fromkeys(names, each)}


def image_functions(images: ImagesDescription, priors: tuple[PriorDescription, ...]) -> Contract:
    """Those between images and codes."""
    integers: Port = ("int32", images.shape)
    expected: Port = ("float32", images.shape)
    codes = dict(codes_port(prior) for prior in priors)
    noise: Ports = {
        f"{prior.prefix}uniforms": ("float32", (*prior.grid_shape[:2], prior.noise.per_step))
        for prior in priors
    }
    condition = {} if priors[0].condition is None else {"condition": condition_port(priors[0])}
    guidance = {"guidance": NUMBER} if any(prior.is_guided for prior in priors) else {}
    return {
        "encode": ({"images": integers}, codes),
        "decode": (codes, {"images": expected}),
        "generate": (
            {**noise, "temperature": NUMBER, **guidance, **condition},
            {"images": expected, **codes, "log_prob": NUMBER},
        ),
        "log_prob_bound": ({"images": integers, **condition}, {"log_prob": NUMBER}),
    }


def encoder_contract(encoder: EncoderDescription) -> Contract:
    """Those of an encoder, and of the classifier or the masked image model around it."""
    images: Ports = {"images": ("float32", encoder.image_shape)}
    features: Ports = {"features": ("float32", (encoder.num_features, encoder.feature_dim))}
    contract: Contract = {FEATURES: (images, features)}
    if encoder.num_classes is not None:
        contract[CLASSIFY] = (images, {"logits": ("float32", (encoder.num_classes,))})
    if encoder.num_units is not None:
        made: Port = ("float32", encoder.image_shape)
        noise: Ports = {"noise": ("float32", (encoder.num_units,))}
        contract[RECONSTRUCT] = ({**images, **noise}, {"masked": made, "reconstruction": made})
    return contract


def condition_port(prior: PriorDescription) -> Port:
    assert prior.condition is not None
    return prior.condition.dtype, prior.condition.shape or ()


def codes_port(prior: PriorDescription) -> tuple[str, Port]:
    return f"{prior.prefix}codes", ("int32", prior.grid_shape)


def _compare(contract: Contract, functions: dict[str, FunctionDescription]) -> None:
    """Takes the contract's functions out of `functions`."""
    sizes: dict[str, int] = {}
    for name, (inputs, outputs) in contract.items():
        if name not in functions:
            raise BundleError(f"it lacks the function {name!r}.")
        found = functions.pop(name)
        _compare_ports(f"{name}.inputs", inputs, found.inputs, sizes)
        _compare_ports(f"{name}.outputs", outputs, found.outputs, sizes)


def _compare_tensors(
    tensors: Mapping[str, TensorNames], functions: Mapping[str, FunctionDescription]
) -> None:
    """Every port has a tensor of the SavedModel, and no other thing has one."""
    for name in sorted({*functions, *tensors}):
        ports, named = functions.get(name), tensors.get(name)
        require(
            ports is not None
            and named is not None
            and {port.name for port in ports.inputs} == set(named.inputs)
            and {port.name for port in ports.outputs} == set(named.outputs),
            f"saved_model.{name} has other ports than functions.{name}; expected a tensor for each.",
        )


def _compare_ports(
    where: str, expected: Mapping[str, Port], found: tuple[PortDescription, ...], known: dict[str, int]
) -> None:
    names = {port.name for port in found}
    require(
        names == set(expected),
        f"the ports of {where} are {', '.join(sorted(names))}; expected {', '.join(sorted(expected))}.",
    )
    for port in found:
        dtype, sizes = expected[port.name]
        for size, number in zip(sizes, port.sizes, strict=False):
            if isinstance(size, str) and size not in WORDS and isinstance(number, int):
                known.setdefault(size, number)
        shape = tuple(known.get(size, size) if isinstance(size, str) else size for size in sizes)
        require(
            (port.dtype, port.sizes) == (dtype, shape),
            f"{where} has {port.name} {port.dtype} {port.sizes}; expected {dtype} {shape}, by its "
            "priors, images and encoder.",
        )
