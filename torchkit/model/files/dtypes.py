"""Names of dtypes in torch's spelling, and what an element takes."""

from __future__ import annotations

ELEMENT_BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "complex128": 128, "complex64": 64, "complex32": 32,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "uint8": 8, "bool": 8,
    "uint16": 16, "uint32": 32, "uint64": 64,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8, "float4_e2m1fn_x2": 8,
    "qint8": 8, "quint8": 8, "qint32": 32, "quint4x2": 4, "quint2x4": 2,
    "bits8": 8, "bits16": 16, "bits1x8": 8, "bits2x4": 8, "bits4x2": 8,
    **{f"int{bits}": 8 for bits in range(1, 8)}, **{f"uint{bits}": 8 for bits in range(1, 8)},
}  # fmt: skip
"""By torch's name. Quantised 4 and 2-bit tensors have several elements in a byte; torch 2.13's
`int1` to `uint7` are shells that take a byte each."""

_OF_STORAGE = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "ComplexHalf": "complex32",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool", "UInt16": "uint16", "UInt32": "uint32", "UInt64": "uint64",
    "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4", "Untyped": "uint8", "_Untyped": "uint8",
    "Float8_e4m3fn": "float8_e4m3fn", "Float8_e5m2": "float8_e5m2",
    "Float8_e4m3fnuz": "float8_e4m3fnuz", "Float8_e5m2fnuz": "float8_e5m2fnuz",
    "Float8_e8m0fnu": "float8_e8m0fnu",
}  # fmt: skip


def bytes_of(elements: int, dtype: str) -> int:
    """What so many elements take, rounded up to bytes; 0 for a dtype that is not known."""
    return (elements * ELEMENT_BITS.get(dtype, 0) + 7) // 8


def dtype_of_storage(class_name: str) -> str | None:
    """`float32` of `torch.FloatStorage` or `torch.cuda.FloatStorage`; None for another class."""
    name = class_name.rpartition(".")[2]
    if not class_name.startswith("torch.") or not name.endswith("Storage"):
        return None
    return _OF_STORAGE.get(name.removesuffix("Storage"))


def dtype_of_global(name: str) -> str | None:
    """`float32` of `torch.float32`; None for another global."""
    short = name.removeprefix("torch.")
    if not name.startswith("torch."):
        return None
    return _OLD_NAMES.get(short, short if short in ELEMENT_BITS else None)


_OLD_NAMES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64"}


def numpy_dtype(code: str) -> str:
    """`float32` of numpy's `f4` or `<f4`; numpy's own code where torch has no such dtype."""
    return _OF_NUMPY.get(code.lstrip("<>|="), code)


_OF_NUMPY = {
    "f8": "float64", "f4": "float32", "f2": "float16", "c16": "complex128", "c8": "complex64",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8", "u8": "uint64", "u4": "uint32",
    "u2": "uint16", "u1": "uint8", "b1": "bool", "O": "object", "O8": "object",
}  # fmt: skip

SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F6_E2M3": "float6_e2m3", "F6_E3M2": "float6_e3m2", "F4": "float4_e2m1",
}  # fmt: skip
"""safetensors' names, as of its 0.8."""
ELEMENT_BITS |= {"float6_e2m3": 6, "float6_e3m2": 6, "float4_e2m1": 4}

EXPORTED = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
    28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""ScalarType of torch/_export/serde/schema.py, version 8.20."""
