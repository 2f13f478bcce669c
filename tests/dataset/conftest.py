"""The process that runs DataLoaders, one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def truth() -> Iterator[Any]:
    """An `asking.Truth`; skips where no tmpfs may be mounted."""
    from asking import PLENTY, Truth

    there = Truth()
    (answer,) = there.run([{"do": "mount", "size": PLENTY}])
    if answer["outcome"] == "works":
        yield there
        there.end()
        return
    there.end()
    pytest.skip(f"no private /dev/shm can be mounted here: {answer['errors']}")
