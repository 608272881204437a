"""Reading and writing protocol buffers field by field, trusting nothing: the standard library alone.

A message is a run of fields, each a key (number · 8 + kind), then a varint, 4 or 8 bytes, or a length and as
many bytes: a string, a message, or packed numbers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
MOST_FIELDS = 2**17
"""Of a message: more of them would take memory and time before anything is known of them."""


class MalformedError(ValueError):
    """Bytes that are no such message; says what is wrong in words that continue "it …"."""


class Field(NamedTuple):
    name: str
    kind: int
    is_repeated: bool = False
    is_packable: bool = False
    """Whether the numbers may also come packed: several in one run of bytes."""


Message = dict[int, Field]


def read(data: bytes | memoryview, message: Message, title: str) -> dict[str, Any]:
    """The fields of a message by name: numbers, bytes, and lists where a field is repeated.

    Raises:
        MalformedError: for bytes that end too early, fields that `message` does not list, or one given twice.
    """
    found: dict[str, Any] = {}
    position, end, count = 0, len(data), 0
    value: Any
    while position < end:
        # Nearly all keys and lengths are a single byte, and this loop is what reading costs.
        key, position = data[position], position + 1
        if key > 127:
            key, position = _varint(data, position - 1)
        kind = key & 7
        if kind in SIZES:
            value = SIZES[kind]
        elif kind not in (LENGTH, VARINT):
            raise MalformedError(f"has a field of the unknown wire type {kind}")
        elif position < end and data[position] < 128:
            value, position = data[position], position + 1
        else:
            value, position = _varint(data, position)
        if kind != VARINT:
            start, position = position, position + value
            if position > end:
                raise MalformedError("ends in the middle of a field")
            value = data[start:position]
        field = message.get(key >> 3)
        if field is None:
            raise MalformedError(f"has field {key >> 3} in {title}, which no export has")
        name, expected, is_repeated, is_packable = field
        if kind != expected and not (is_packable and kind == LENGTH):
            raise MalformedError(f"has {name} of {title} in the wrong wire type {kind}")
        count += 1
        if count > MOST_FIELDS:
            raise MalformedError(f"has {title} of more than {MOST_FIELDS} fields")
        if not is_repeated:
            if name in found:
                raise MalformedError(f"has {name} twice in {title}")
            found[name] = value
        elif kind == LENGTH and is_packable:
            found.setdefault(name, []).extend(_varints(value))
        else:
            found.setdefault(name, []).append(value)
    return found


def length_delimited(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number of seven bits a byte."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def signed(number: int) -> int:
    """An int64 as a varint holds it."""
    return number - 2**64 if number >= 2**63 else number


def _varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise MalformedError("ends in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 2**64:
                break
            return value, position
    raise MalformedError("has a number of more than 64 bits")


def _varints(data: bytes | memoryview) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value
