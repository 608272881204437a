"""TensorFlow's tensors, and requests and answers of TensorFlow Serving, as protocol buffers.

Written and read field by field: their classes come with TensorFlow, which clients do without.
"""

import numpy as np

from tfprior.export.arrays import Arrays
from tfprior.export.protobuf import (
    LENGTH,
    VARINT,
    Field,
    MalformedError,
    length_delimited,
    read,
    signed,
    varint,
)

CODES = {"float32": 1, "int32": 3}
NAMES = {code: name for name, code in CODES.items()}
MOST_VALUES = 2**28

TENSOR = {
    1: Field("dtype", VARINT),
    2: Field("shape", LENGTH),
    3: Field("version", VARINT),
    4: Field("content", LENGTH),
    5: Field("floats", LENGTH),
    7: Field("integers", VARINT, is_repeated=True, is_packable=True),
}
SHAPE = {2: Field("dims", LENGTH, is_repeated=True), 3: Field("unknown_rank", VARINT)}
DIMENSION = {1: Field("size", VARINT), 2: Field("name", LENGTH)}
ENTRY = {1: Field("key", LENGTH), 2: Field("value", LENGTH)}
ANSWER = {1: Field("outputs", LENGTH, is_repeated=True), 2: Field("model", LENGTH)}


def tensor_proto(array: np.ndarray) -> bytes:
    """TensorProto { dtype tensor_shape { dim { size } } tensor_content }."""
    sizes = b"".join(length_delimited(2, b"\x08" + varint(size)) for size in array.shape)
    content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    kind = b"\x08" + varint(CODES[array.dtype.name])
    return kind + length_delimited(2, sizes) + length_delimited(4, content)


def predict_request(model: str, signature: str, inputs: Arrays) -> bytes:
    """PredictRequest { model_spec { name signature_name } inputs { key value } }."""
    entries = [
        length_delimited(2, length_delimited(1, name.encode()) + length_delimited(2, tensor_proto(array)))
        for name, array in inputs.items()
    ]
    named = length_delimited(1, model.encode()) if model else b""
    return length_delimited(1, named + length_delimited(3, signature.encode())) + b"".join(entries)


def predict_response(answer: bytes) -> Arrays:
    """What it answers: PredictResponse { outputs { key value } }.

    Raises:
        MalformedError: for bytes that are none.
    """
    arrays: Arrays = {}
    for entry in read(answer, ANSWER, "a PredictResponse").get("outputs", []):
        found = read(entry, ENTRY, "an output")
        name = bytes(found.get("key", b"")).decode(errors="replace")
        arrays[name] = tensor_of(found.get("value", b""))
    return arrays


def tensor_of(proto: bytes) -> np.ndarray:
    """The array in a TensorProto, whose values are its content or come one by one, the last one repeated.

    Raises:
        MalformedError: for other types than float32 and int32, and more values than the shape has.
    """
    found = read(proto, TENSOR, "a tensor")
    dims = read(found.get("shape", b""), SHAPE, "a shape").get("dims", [])
    shape = tuple(signed(read(dim, DIMENSION, "a dimension").get("size", 0)) for dim in dims)
    size = int(np.prod(shape, dtype="float64"))
    if found.get("dtype") not in NAMES or min(shape, default=0) < 0 or size > MOST_VALUES:
        raise MalformedError(f"has a tensor of type {found.get('dtype')} and shape {shape}")
    dtype = np.dtype(NAMES[found["dtype"]]).newbyteorder("<")
    if "content" in found or "floats" in found:
        raw = found.get("content", found.get("floats", b""))
        if len(raw) % 4:
            raise MalformedError("has a tensor that ends in the middle of a number")
        values = np.frombuffer(raw, dtype)
    else:
        values = np.array([signed(number) for number in found.get("integers", [])], "int64")
    if len(values) > size or (size and not len(values) and "integers" in found):
        raise MalformedError(f"has {len(values)} values in a tensor of shape {shape}")
    last = values[-1:] if len(values) else np.zeros(1)
    filled = np.concatenate([values, np.repeat(last, size - len(values))])
    return filled.astype(NAMES[found["dtype"]]).reshape(shape)
