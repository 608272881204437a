"""TensorFlow Serving's PredictionLog, as its .proto files define what a warm-up request consists of.

The classes are made here: those of TensorFlow Serving are a package of their own.
"""

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from tensorflow.core.framework import tensor_pb2

PACKAGE = "tensorflow.serving"
TEXT = FieldDescriptorProto.TYPE_STRING
MESSAGES: dict[str, dict[str, tuple[int, Any]]] = {  # name → field → number, type
    "ModelSpec": {"signature_name": (3, TEXT)},
    "InputsEntry": {"key": (1, TEXT), "value": (2, tensor_pb2.TensorProto.DESCRIPTOR.full_name)},
    "PredictRequest": {"model_spec": (1, f"{PACKAGE}.ModelSpec"), "inputs": (2, [f"{PACKAGE}.InputsEntry"])},
    "PredictLog": {"request": (1, f"{PACKAGE}.PredictRequest")},
    "PredictionLog": {"predict_log": (6, f"{PACKAGE}.PredictLog")},
}


def _message(name: str, fields: dict[str, tuple[int, Any]]) -> DescriptorProto:
    made = DescriptorProto(name=name)
    for field, (number, kind) in fields.items():
        repeated = isinstance(kind, list)
        label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
        of = {"type": TEXT} if kind == TEXT else {"type": FieldDescriptorProto.TYPE_MESSAGE}
        if kind != TEXT:
            of["type_name"] = "." + (kind[0] if repeated else kind)
        made.field.add(name=field, number=number, label=label, **of)
    return made


_POOL = descriptor_pool.Default()
_POOL.Add(
    FileDescriptorProto(
        name="prediction_log.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name],
        message_type=[_message(name, fields) for name, fields in MESSAGES.items()],
    )
)
PredictionLog = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.PredictionLog"))
