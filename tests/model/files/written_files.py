"""Weights files written byte by byte, as their formats' documents say; data are holes or zeros."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def safetensors(path: Path, header: Mapping[str, Any], data_bytes: int, extra: int = 0) -> Path:
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + data_bytes + extra)
    return path


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    path: Path,
    tensors: Sequence[tuple[str, tuple[int, ...], int, int]],
    *,
    values: Sequence[tuple[str, int, bytes]] = (),
    version: int = 3,
    missing: int = 0,
) -> Path:
    """Tensors of name, dimensions (fastest first), type and bytes."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    out += b"".join(_text(name) + struct.pack("<I", kind) + value for name, kind, value in values)
    place = 0
    for name, dimensions, kind, size in tensors:
        out += _text(name) + struct.pack("<I", len(dimensions))
        out += struct.pack(f"<{len(dimensions)}Q", *dimensions)
        out += struct.pack("<IQ", kind, place)
        place += -(-size // 32) * 32
    with path.open("wb") as file:
        file.write(out)
        file.truncate(-(-len(out) // 32) * 32 + place - missing)
    return path


def text_value(name: str, value: str) -> tuple[str, int, bytes]:
    return name, 8, _text(value)


def number_value(name: str, value: int) -> tuple[str, int, bytes]:
    return name, 4, struct.pack("<I", value)


def texts_value(name: str, values: Sequence[str]) -> tuple[str, int, bytes]:
    return name, 9, struct.pack("<IQ", 8, len(values)) + b"".join(map(_text, values))


# --- protobuf


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def nested(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def onnx_tensor(name: str, shape: Sequence[int], kind: int, raw: int) -> bytes:
    dims = b"".join(number(1, size) for size in shape)
    return dims + number(2, kind) + nested(8, name.encode()) + nested(9, bytes(raw))


def outside_tensor(name: str, shape: Sequence[int], location: str, length: int) -> bytes:
    pairs = {"location": location, "offset": "0", "length": str(length)}
    return (
        b"".join(number(1, size) for size in shape)
        + number(2, 1)
        + nested(8, name.encode())
        + b"".join(
            nested(13, nested(1, key.encode()) + nested(2, value.encode()))
            for key, value in pairs.items()
        )
        + number(14, 1)
    )


def onnx(path: Path, tensors: Sequence[bytes]) -> Path:
    sizes = nested(1, nested(2, b"batch")) + nested(1, number(1, 8))
    value = nested(1, b"x") + nested(2, nested(1, number(1, 1) + nested(2, sizes)))
    graph = nested(1, nested(4, b"Add")) + nested(2, b"main") + nested(11, value)
    graph += b"".join(nested(5, tensor) for tensor in tensors)
    path.write_bytes(
        number(1, 8) + nested(2, b"pytorch") + nested(3, b"2.13")
        + nested(7, graph) + nested(8, number(2, 17))
    )  # fmt: skip
    return path
