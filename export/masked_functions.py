"""The functions that lead a masked prior: one pass over what is hidden, drawn or scored.

Shapes: B batch · H W C grid · G values of a position that are hidden apart.
"""

from keras import ops

from tfprior.export.signatures import Function, Port, Ports, Tensors, condition_of, options_of
from tfprior.priors import MaskedPrior


class Hidden:
    """The ports of what is hidden, and of what each hidden value has."""

    def __init__(self, prior: MaskedPrior) -> None:
        shape = (*prior.grid_shape[:2], prior.channel_groups)
        self.hidden = Port(
            "hidden", "int32", shape, "1 where a value is hidden, 0 where it is visible", levels=2
        )
        self.nats = Port("log_prob", "float32", shape, "nats of each value given those visible")


def refine(prior: MaskedPrior, ports: Ports) -> Function:
    """Draws all that is hidden, each value given those visible."""
    of_hidden = Hidden(prior)

    def call(tensors: Tensors) -> Tensors:
        features = condition_of(prior, tensors).get("condition")
        hidden = ops.cast(tensors["hidden"], "bool")
        values, nats = prior.refine(
            tensors["values"], hidden, tensors["uniforms"], features, options_of(tensors)
        )
        return {"values_out": values, "log_prob": nats}

    known = ports.values._replace(meaning=f"{ports.values.meaning}; what is hidden is not read")
    return Function(
        "refine",
        call,
        (known, of_hidden.hidden, ports.noise, ports.temperature, *ports.condition),
        (ports.values._replace(name="values_out"), of_hidden.nats),
    )


def log_prob_given(prior: MaskedPrior, ports: Ports) -> Function:
    """Scores every value given those visible: what bounds, and likelihoods along orders, are sums of."""
    of_hidden = Hidden(prior)

    def call(tensors: Tensors) -> Tensors:
        features = condition_of(prior, tensors).get("condition")
        params = prior.params(tensors["values"], ops.cast(tensors["hidden"], "bool"), features)
        return {"log_prob": prior.grid(prior.token_log_prob(params, tensors["values"]))}

    return Function(
        "log_prob_given", call, (ports.values, of_hidden.hidden, *ports.condition), (of_hidden.nats,)
    )
