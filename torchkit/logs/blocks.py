"""A stream of bytes as blocks of whole lines, in UTF-8 or something near it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

BLOCK_BYTES = 1 << 20

LONGEST_LINE_BYTES = 1 << 20
"""A longer line is cut here."""


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Blocks that end with a line where they can. Windows' line ends are like all others."""
    first = stream.read(BLOCK_BYTES)
    decoder = _decoder(first)
    rest, block = b"", first
    while block:
        data = decoder.decode(block).encode("utf-8", "replace") if decoder else block
        data = rest + data
        if b"\r\n" in data:
            data = data.replace(b"\r\n", b"\n")
        cut = data.rfind(b"\n") + 1
        if cut == 0 and len(data) < LONGEST_LINE_BYTES:
            rest = data
        else:
            cut = cut or _before_a_letter(data)
            yield data[:cut]
            rest = data[cut:]
        block = stream.read(BLOCK_BYTES)
    if decoder:
        rest += decoder.decode(b"", True).encode("utf-8", "replace")
    if rest:
        yield rest.replace(b"\r\n", b"\n")


def _before_a_letter(data: bytes) -> int:
    """Where to cut a line that has no end: not within a letter of several bytes, nor in \\r\\n."""
    cut = len(data)
    while cut > len(data) - 4 and data[cut - 1] >= 0x80:
        cut -= 1
    return cut - data.endswith(b"\r") if cut == len(data) else cut


def _decoder(first: bytes) -> codecs.IncrementalDecoder | None:
    """For UTF-16, by its mark or by every other byte of it being nothing."""
    name = ""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    else:
        head = first[:4096]
        even, odd = head[::2].count(0), head[1::2].count(0)
        if len(head) > 8 and odd > len(head) // 4 and even < len(head) // 32:
            name = "utf-16-le"
        elif len(head) > 8 and even > len(head) // 4 and odd < len(head) // 32:
            name = "utf-16-be"
    return codecs.getincrementaldecoder(name)("replace") if name else None
