"""Manifests of older schemas, told as one of today would be.

What a schema added and older bundles do without has a default where it stands in `manifest`; the rest is
here.

    schema 2    priors draw in raster order, and their steps hand on one packed state
           3    graphs hold their weights each
           4    no names of classes, nor whether pixels are grey or RGB
           5    no rounded weights

Loops of schema 1 do not say how often they run at most, which graphs that are opened have to.
"""

from typing import Any


def told_as_today(fields: dict[str, Any], schema: int) -> dict[str, Any]:
    """The fields of a manifest without its envelope; what is of another type stays, for readers to refuse."""
    priors = fields.get("priors")
    if schema > 2 or not isinstance(priors, list):
        return fields
    return {**fields, "priors": [in_raster_order(prior) for prior in priors]}


def in_raster_order(prior: Any) -> Any:
    if not isinstance(prior, dict) or not isinstance(prior.get("golden"), dict):
        return prior
    new = {"orders": "raster", "cache": None, "hidden_apart": None}
    return {**prior, **new, "golden": {**prior["golden"], "order": None}}
