"""Any Arrow value in JSON's types, for the rejects file, and whether it is UTF-8; neither ever raises."""

import math
from typing import Any

import pyarrow as pa


def json_value(scalar: Any) -> Any:
    """A pyarrow.Scalar as JSON: objects, lists, finite numbers, text; what JSON has no type for becomes text."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar | pa.RunEndEncodedScalar):
        return json_value(scalar.value)
    if pa.types.is_struct(kind):
        return {kind.field(i).name: json_value(scalar[i]) for i in range(kind.num_fields)}
    if isinstance(scalar, pa.ListScalar):  # of all kinds of lists and maps, whose items are structs
        return [json_value(item) for item in scalar.values]
    if isinstance(scalar, pa.BinaryScalar):  # and strings, of which the bytes may not be UTF-8
        return scalar.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
    try:
        value = scalar.as_py()
    except Exception:  # times that datetime cannot hold: ValueError, OverflowError, ImportError and others by type
        return str(pa.array([scalar], kind)).strip("[] \n")
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def is_utf8(scalar: Any) -> bool:
    """Whether all text in a pyarrow.Scalar is UTF-8."""
    if not scalar.is_valid:
        return True
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar | pa.RunEndEncodedScalar):
        return is_utf8(scalar.value)
    if pa.types.is_struct(scalar.type):
        return all(is_utf8(scalar[i]) for i in range(scalar.type.num_fields))
    if isinstance(scalar, pa.ListScalar):
        return all(map(is_utf8, scalar.values))
    if not isinstance(scalar, pa.StringScalar):
        return True
    try:
        scalar.as_buffer().to_pybytes().decode()
    except UnicodeDecodeError:
        return False
    return True
