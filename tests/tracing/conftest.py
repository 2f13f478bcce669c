"""What the tests of tracing need: Python's own way of telling an exception."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def python_tells_exceptions_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's parser leaves its own hook behind, where a test has run it before."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
