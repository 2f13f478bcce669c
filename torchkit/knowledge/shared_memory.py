"""What torch says when shared memory is short, from shared_memory.toml."""

from __future__ import annotations

import functools
from typing import NamedTuple

from torchkit.knowledge import rows
from torchkit.versions import Version


class FullMessage(NamedTuple):
    """The last line of a DataLoader whose /dev/shm is full, since the release `torch_from`."""

    torch_from: Version
    text: str
    source: str
    note: str = ""
    confidence: str = "high"


@functools.cache
def full_messages() -> tuple[FullMessage, ...]:
    """Every row, the oldest first. Raises ValueError where a row is not sound."""
    document = rows.load("shared_memory.toml", "message")
    found = rows.records(document, "message", FullMessage, identity=("torch_from",))
    return tuple(sorted(found, key=lambda it: it.torch_from))


def full_message(torch_version: Version | None) -> FullMessage:
    """What this torch says; what the newest says where its release is not known."""
    messages = full_messages()
    if torch_version is None:
        return messages[-1]
    series = Version(torch_version.series)
    return (
        [it for it in messages if it.torch_from <= series][-1]
        if series >= messages[0].torch_from
        else messages[0]
    )
