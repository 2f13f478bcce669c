"""Report -> JSON, for programs. Its promise is `report.schema.json`, beside this file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from torchkit.render import Options
from torchkit.report import Json, Report

_HARMFUL = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, and what no encoding can carry; always written as an escape."""


def render(report: Report, options: Options) -> str:
    """The whole report, whatever is asked to be quiet: a program reads it."""
    data = _finite(report.to_dict(strict=options.strict))
    text = json.dumps(data, indent=2, ensure_ascii=not options.style.unicode, allow_nan=False)
    return _HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def schema() -> str:
    """The JSON Schema of what `render` writes."""
    return files("torchkit.render").joinpath("report.schema.json").read_text(encoding="utf-8")


def _finite(value: Json) -> Json:
    """The value as lists, dictionaries and numbers that JSON has: it has no NaN, so null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
