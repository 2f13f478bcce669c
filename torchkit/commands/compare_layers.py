"""Two models as a report: which layers were added, removed or changed, and what that costs.

Differences are no fault. A forward that raises is one: it is told, and what only a whole forward
shows (outputs, FLOPs, memory) is then compared for neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torchkit.commands.compare_keys import folded_view
from torchkit.commands.layer_tree import quantity
from torchkit.commands.named_findings import named
from torchkit.model.layer_diff import Match, align
from torchkit.model.layers import Layer
from torchkit.report import Finding, Json, Report, Table
from torchkit.units import readable

COLUMNS = (
    "path", "status", "what", "other_path", "type", "other_type", "description",
    "other_description", "output_shapes", "other_output_shapes", "params", "other_params",
    "own_params", "other_own_params", "flops", "other_flops", "calls", "other_calls",
)  # fmt: skip

STATUSES = ("same", "changed", "added", "removed")

WHOLE = "(the model)"
"""What the row of the model itself is called."""


def compare_models(
    one: Sequence[Layer],
    other: Sequence[Layer],
    *,
    names: tuple[str, str],
    totals: tuple[Mapping[str, Json], Mapping[str, Json]],
    failures: tuple[Finding | None, Finding | None] = (None, None),
) -> Report:
    """What differs between two models, from their layers and the totals of their reports.

    `failures` are the findings on a forward that raised.
    """
    failed = _named_failures(names, failures)
    if failed:
        one, other = _as_built(one), _as_built(other)
        totals = (_of_build(totals[0]), _of_build(totals[1]))
    columns = tuple(it for it in COLUMNS if not (failed and it.removeprefix("other_") in _OF_RUN))
    matches = align(one, other)
    counts = {status: sum(it.status == status for it in matches) for status in STATUSES}
    differing = [it for it in matches if it.status != "same"]
    sides = names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")
    return Report(
        "summary",
        findings=failed,
        tables=(Table("layers", columns, tuple(_row(it, columns) for it in differing)),),
        views=(_view(differing, sides), _totals_view(totals, sides)) if differing else (),
        totals={
            "layers": counts,
            "one": {"name": names[0], **totals[0]},
            "other": {"name": names[1], **totals[1]},
            "difference": {key: b - a for key, (a, b) in _numbers(totals).items()},
        },
        headline=" · ".join(
            [
                *(it.verdict.brief for it in failed),
                _headline(matches, counts, sides, totals),
            ]
        ),
    )


# --- a forward that raised


_OF_RUN = ("output_shapes", "flops", "calls")

_OF_BUILD = ("params", "trainable_params", "buffers", "param_bytes", "buffer_bytes")


def _named_failures(
    names: tuple[str, str], failures: tuple[Finding | None, Finding | None]
) -> tuple[Finding, ...]:
    """The findings, each with the name of its model."""
    found = [
        named(finding, name)
        for name, finding in zip(names, failures, strict=True)
        if finding is not None
    ]
    return tuple(dict.fromkeys(found))  # once for a model that is compared with itself


def _as_built(layers: Sequence[Layer]) -> list[Layer]:
    """Without what the run showed."""
    return [
        dataclasses.replace(layer, input_shapes=[], output_shapes=[], flops=0, calls=0, status="ok")
        for layer in layers
    ]


def _of_build(totals: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in totals.items() if key in _OF_BUILD}


def _row(match: Match, columns: Sequence[str]) -> dict[str, Json]:
    one, other = match.one, match.other
    row: dict[str, Json] = {
        "path": one.path if one is not None else None,
        "status": match.status,
        "what": list(match.what),
        "other_path": other.path if other is not None else None,
    }
    for name in ("type", "description", "output_shapes", "params", "own_params", "flops", "calls"):
        row[name] = getattr(one, name, None)
        row[f"other_{name}"] = getattr(other, name, None)
    return {column: row[column] for column in columns}


def _numbers(totals: tuple[Mapping[str, Json], Mapping[str, Json]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for key, one in totals[0].items():
        other = totals[1].get(key)
        if type(one) is int and type(other) is int:
            found[key] = (one, other)
    return found


# --- the first line


def _headline(
    matches: Sequence[Match],
    counts: Mapping[str, int],
    sides: tuple[str, str],
    totals: tuple[Mapping[str, Json], Mapping[str, Json]],
) -> str:
    told = [it for it in matches if it.status != "same" and _is_told(it)]
    if counts["same"] == len(matches):
        whole = matches[0].one if matches else None
        params = f", {whole.params:,} parameters" if whole is not None else ""
        return f"no difference: {sides[0]} and {sides[1]} have the same {counts['same']} layers{params}"
    changed = sum(it.status == "changed" for it in told)
    parts = [
        f"{number} {'layer' if number == 1 else 'layers'} {status}"
        for status, number in (
            ("added", counts["added"]),
            ("removed", counts["removed"]),
            ("changed", changed),
        )
        if number
    ]
    numbers = _numbers(totals)
    costs = [
        f"{name} {_signed(*numbers[key])}"
        for key, name in (("params", "parameters"), ("flops", "FLOPs"))
        if key in numbers and numbers[key][0] != numbers[key][1]
    ]
    return f"{sides[0]} → {sides[1]}: " + " · ".join([", ".join(parts), *costs])


def _signed(one: int, other: int) -> str:
    """`+10.1 M (+86 %)`"""
    sign = "+" if other > one else "-"
    text = f"{sign}{quantity(abs(other - one))}"
    return f"{text} ({100 * (other - one) / one:+.3g} %)" if one else text


# --- the layers


def _is_told(match: Match) -> bool:
    """Not what only follows from its children, or is inside what was added or removed."""
    return bool(match.own) if match.status == "changed" else not match.is_inside


def _view(differing: Sequence[Match], sides: tuple[str, str]) -> Table:
    cells = []
    for match in differing:
        if _is_told(match):
            layer = match.one or match.other
            path = layer.path if layer is not None else ""
            cells.append((path or WHOLE, _cells(match)))
    return folded_view("layers", "layer", cells, sides)


def _cells(match: Match) -> tuple[str, str, str]:
    one, other = match.one, match.other
    if one is None or other is None:
        side = _shell if match.is_shell else _whole
        return match.status, "" if one is None else side(one), "" if other is None else side(other)
    names = [it for it in match.own if it not in ("trainable", "FLOPs") or len(match.own) == 1]
    if "type" in names:
        return ", ".join(names), _whole(one), _whole(other)
    texts = [[_words(layer, name, match) for name in names] for layer in (one, other)]
    shown = [" · ".join(dict.fromkeys(filter(None, side))) for side in texts]
    is_shifted = one.path != other.path and "path" not in names
    return ", ".join(names), shown[0], f"{shown[1]} · is {other.path}" if is_shifted else shown[1]


def _shell(layer: Layer) -> str:
    return " · ".join(filter(None, [layer.description, _shapes(layer)]))


def _whole(layer: Layer) -> str:
    return " · ".join(
        filter(None, [_shell(layer), f"{layer.params:,} params" if layer.params else ""])
    )


def _place(layer: Layer, match: Match) -> str:
    """Where a layer that moved is; those that moved together have it in common."""
    parents, names = zip(
        *(
            (it.path.rpartition(".")[0], it.path.rpartition(".")[2])
            for it in (match.one, match.other)
            if it is not None
        ),
        strict=True,
    )
    if names[0] != names[1]:
        return layer.path or WHOLE
    return f"in {parents[0 if layer is match.one else 1] or WHOLE}"


def _words(layer: Layer, name: str, match: Match) -> str:
    return {
        "path": _place(layer, match),
        "type": layer.description,
        "sizes": layer.description,
        "output": _shapes(layer),
        "params": f"{layer.params:,} params",
        "trainable": f"{layer.trainable_params:,} trainable",
        "buffers": f"{layer.buffers:,} in buffers",
        "FLOPs": f"{quantity(layer.flops) or 0} FLOPs",
        "calls": f"{layer.calls} calls",
        "sharing": "its own" if layer.shared_with is None else f"is {layer.shared_with}",
        "status": layer.status,
    }[name]


def _shapes(layer: Layer) -> str:
    return ", ".join(str(list(shape)) for shape in layer.output_shapes[:3])


# --- the totals


_SHOWN = {
    "params": "parameters",
    "trainable_params": "trainable",
    "buffers": "buffers",
    "flops": "FLOPs",
    "param_bytes": "parameters' memory",
    "inference_peak_bytes": "inference memory",
    "training_bytes": "training memory",
}


def _totals_view(
    totals: tuple[Mapping[str, Json], Mapping[str, Json]], sides: tuple[str, str]
) -> Table:
    rows = []
    numbers = _numbers(totals)
    for key, (one, other) in numbers.items():
        if key not in _SHOWN or not (one or other):
            continue
        if key == "trainable_params" and (one, other) == numbers.get("params"):
            continue  # all of them
        sign = "+" if other > one else "-"
        difference = f"{sign}{_as_text(key, abs(other - one))}" if one != other else "same"
        share = f"{100 * (other - one) / one:+.3g} %" if one and other != one else ""
        rows.append(
            {
                "total": _SHOWN[key],
                sides[0]: _as_text(key, one),
                sides[1]: _as_text(key, other),
                "difference": difference,
                "share": share,
            }
        )
    columns = (
        "total",
        *sides,
        "difference",
        *(("share",) if any(it["share"] for it in rows) else ()),
    )
    return Table("totals", columns, tuple(rows))


def _as_text(key: str, number: int) -> str:
    if key.endswith("_bytes"):
        return readable(number)
    return (quantity(number) or "0") if key == "flops" else f"{number:,}"
