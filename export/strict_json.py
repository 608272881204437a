"""JSON into frozen dataclasses and back: every key known, every number in its range.

Every key is present but those whose fields have defaults: what older files do not say.
"""

import json
import math
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

DEEPEST_ARRAY = 8


@dataclass(frozen=True)
class IntRange:
    """Bounds of an `Annotated[int, …]`, both included."""

    least: int
    most: int


IntArray = Annotated[np.ndarray, "int32"]
FloatArray = Annotated[np.ndarray, "float64"]


def parse(text: str) -> Any:
    """JSON without NaN, infinity and repeated keys.

    Raises:
        ValueError: for what is no such JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read(kind: Any, value: Any, where: str) -> Any:
    """Parsed JSON as `kind`: a dataclass, or what the annotation of a field may say.

    Raises:
        ValueError: that names the place, what stands there, and what was expected.
    """
    if is_dataclass(kind):
        return _read_object(kind, value, where)
    if kind is Any:
        return value
    if kind is str:
        return _expect(isinstance(value, str) and value.isprintable(), value, where, "a line of text")
    if kind is float:
        return _expect(type(value) is float and math.isfinite(value), value, where, "a finite float")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _read_annotated(arguments[0], arguments[1], value, where)
    if origin is Literal:
        known = type(value) is str and value in arguments
        return _expect(known, value, where, " or ".join(map(repr, arguments)))
    if origin in (types.UnionType, Union):
        return _read_union(arguments, value, where)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is dict:
        _expect(isinstance(value, dict), value, where, "an object")
        return {
            read(str, key, f"a key of {where}"): read(arguments[1], part, f"{where}.{key}")
            for key, part in value.items()
        }
    raise TypeError(f"{kind} is not among the kinds that are read.")


def plain(value: Any) -> Any:
    """A dataclass, and all inside, as objects and lists for `json.dumps`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def _read_object(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, where, "an object")
    kinds, prefix = get_type_hints(kind, include_extras=True), f"{where}." if where else ""
    for field in fields(kind):
        if field.name not in value and field.default is MISSING:
            raise ValueError(f"it lacks the field {prefix + field.name!r}")
    for name in value:
        if name not in kinds:
            raise ValueError(f"it has the unknown field {prefix + name!r}")
    return kind(**{name: read(kinds[name], part, prefix + name) for name, part in value.items()})


def _read_annotated(kind: Any, bounds: Any, value: Any, where: str) -> Any:
    if kind is np.ndarray:
        return _read_array(bounds, value, where)
    within = type(value) is int and bounds.least <= value <= bounds.most
    return _expect(within, value, where, f"a whole number from {bounds.least} to {bounds.most}")


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first kind that fits; what speaks is the last one's error."""
    if value is None and types.NoneType in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not types.NoneType)
    for kind in others:
        try:
            return read(kind, value, where)
        except ValueError:
            continue
    return read(last, value, where)


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    repeated = kinds[-1] is Ellipsis
    fits = isinstance(value, list) and (repeated or len(value) == len(kinds))
    _expect(fits, value, where, "a list" if repeated else f"a list of {len(kinds)}")
    each = kinds[:1] * len(value) if repeated else kinds
    parts = enumerate(zip(each, value, strict=True))
    return tuple(read(kind, part, f"{where}[{index}]") for index, (kind, part) in parts)


def _read_array(dtype: str, value: Any, where: str) -> np.ndarray:
    """Nested lists of equal lengths; nothing is allocated that the file does not hold."""
    shape: list[int] = []
    level, deeper = [value], value
    while isinstance(deeper, list):
        size = len(deeper)
        regular = size > 0 and len(shape) < DEEPEST_ARRAY
        regular = regular and all(isinstance(part, list) and len(part) == size for part in level)
        _expect(regular, value, where, "lists of equal lengths, none empty")
        shape.append(size)
        level = [number for part in level for number in part]
        deeper = level[0]
    allowed = (int,) if dtype == "int32" else (int, float)
    most = 2**31 - 1 if dtype == "int32" else 1e300
    good = bool(shape) and all(type(number) in allowed and -most <= number <= most for number in level)
    _expect(good, value, where, "lists of whole numbers" if dtype == "int32" else "lists of finite numbers")
    return np.asarray(level, dtype).reshape(shape)


def _expect(holds: Any, value: Any, where: str, expected: str) -> Any:
    if not holds:
        raise ValueError(f"{where or 'the file'} is {_short(value)}; expected {expected}")
    return value


def _short(value: Any) -> str:
    """What stands there, in a few words whatever its size."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if type(value) is int and abs(value) >= 10**18:
        return f"a number of {math.ceil(value.bit_length() * math.log10(2))} digits"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("it has a key twice")
    return made
