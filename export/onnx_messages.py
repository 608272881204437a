"""The parts of ONNX's format (onnx.proto) that a bundle's graphs use; all others are refused."""

from tfprior.export.protobuf import FOUR_BYTES, LENGTH, VARINT, Field, Message

MODEL: Message = {
    1: Field("ir_version", VARINT),
    2: Field("producer_name", LENGTH),
    3: Field("producer_version", LENGTH),
    4: Field("domain", LENGTH),
    5: Field("model_version", VARINT),
    6: Field("doc_string", LENGTH),
    7: Field("graph", LENGTH),
    8: Field("opset_import", LENGTH, is_repeated=True),
    14: Field("metadata_props", LENGTH, is_repeated=True),
}
OPSET: Message = {1: Field("domain", LENGTH), 2: Field("version", VARINT)}
GRAPH: Message = {
    1: Field("node", LENGTH, is_repeated=True),
    2: Field("name", LENGTH),
    5: Field("initializer", LENGTH, is_repeated=True),
    10: Field("doc_string", LENGTH),
    11: Field("input", LENGTH, is_repeated=True),
    12: Field("output", LENGTH, is_repeated=True),
    13: Field("value_info", LENGTH, is_repeated=True),
    16: Field("metadata_props", LENGTH, is_repeated=True),
}
NODE: Message = {
    1: Field("input", LENGTH, is_repeated=True),
    2: Field("output", LENGTH, is_repeated=True),
    3: Field("name", LENGTH),
    4: Field("op_type", LENGTH),
    5: Field("attribute", LENGTH, is_repeated=True),
    6: Field("doc_string", LENGTH),
    7: Field("domain", LENGTH),
    9: Field("metadata_props", LENGTH, is_repeated=True),
}
ATTRIBUTE: Message = {
    1: Field("name", LENGTH),
    2: Field("f", FOUR_BYTES),
    3: Field("i", VARINT),
    4: Field("s", LENGTH),
    5: Field("t", LENGTH),
    6: Field("g", LENGTH),
    8: Field("ints", VARINT, is_repeated=True, is_packable=True),
    13: Field("doc_string", LENGTH),
    20: Field("type", VARINT),
}
TENSOR: Message = {
    1: Field("dims", VARINT, is_repeated=True, is_packable=True),
    2: Field("data_type", VARINT),
    8: Field("name", LENGTH),
    9: Field("raw_data", LENGTH),
    12: Field("doc_string", LENGTH),
    13: Field("external_data", LENGTH, is_repeated=True),
    14: Field("data_location", VARINT),
}
ENTRY: Message = {1: Field("key", LENGTH), 2: Field("value", LENGTH)}
VALUE_INFO: Message = {
    1: Field("name", LENGTH),
    2: Field("type", LENGTH),
    3: Field("doc_string", LENGTH),
    4: Field("metadata_props", LENGTH, is_repeated=True),
}
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
"""Bytes a number: float32, uint8, int8, int32, int64, bool, float16, float64."""
INTEGERS = {6: "<i4", 7: "<i8"}
"""Those of them that sizes are written in, as NumPy calls them."""
