"""What scripts read, held against the schema that is our promise."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jsonschema
import pytest

from torchkit.render import Format, Style, render
from torchkit.render.json import schema
from torchkit.report import (
    Evidence,
    Failure,
    Finding,
    Report,
    Status,
    Table,
    Verdict,
    fail,
    ok,
    warn,
)

VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema()))


def written(report: Report, *, style: Style | None = None, **options: bool) -> str:
    return render(report, Format.JSON, style=style or Style(), **options)


def parsed(report: Report, **options: bool) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    data: dict[str, Any] = json.loads(written(report, **options), parse_constant=refuse)
    return data


def one(verdict: Verdict) -> Report:
    return Report("env", findings=(Finding("driver-too-old", "driver", verdict),))


FORMS = {
    "nothing": Report("env"),
    "ok": one(ok("fine")),
    "warn": one(warn("w")),
    "fail": one(fail("f", evidence=[Evidence("a", "b", "c")], fix=["d"])),
    "crash": one(Verdict(Status.CRASH, "KeyError")),
    "unable": Report("shm-check", failure=Failure("no such file", "check the path")),
    "unable without hint": Report("env", failure=Failure("no such file")),
    "unable with facts": Report("env", facts={"a": None}, failure=Failure("no such file")),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_report_fits_the_schema(form: str, strict: bool) -> None:
    VALIDATOR.validate(parsed(FORMS[form], strict=strict))


def test_whole_reports_fit_the_schema_and_lose_nothing(any_report: Report) -> None:
    data = parsed(any_report)

    VALIDATOR.validate(data)
    assert data == json.loads(json.dumps(any_report.to_dict()))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), 2),
        (("exit_code",), 0),
        (("exit_code",), 3),
        (("status",), "unable"),
        (("status",), "ok"),
        (("command",), ""),
        (("error",), {"message": "m", "hint": ""}),
        (("surprise",), 1),
        (("facts",), {"torch_cuda": {"unknown": 3}}),
        (("facts",), {"torch_cuda": {"unknown": "x", "value": "y"}}),
        (("findings", 0, "status"), "error"),
        (("findings", 0, "id"), "Driver_Too_Old"),
        (("findings", 0, "surprise"), 1),
        (("findings", 0, "applies"), False),
        (("findings", 0, "evidence", 0, "value"), 12.4),
        (("findings", 0, "evidence", 0, "unit"), "B"),
        (("findings", 0, "fix"), "one text"),
        (("tables",), [{"name": "t", "columns": ["a"]}]),
        (("artifacts",), [{"kind": "svg"}]),
        (("artifacts",), [{"kind": "svg", "title": "t", "href": "x"}]),
    ],
)
def test_the_schema_refuses_what_we_do_not_promise(place: tuple[Any, ...], value: object) -> None:
    data = parsed(FORMS["fail"])
    assert VALIDATOR.is_valid(data)
    *way, last = place
    holder: Any = data
    for step in way:
        holder = holder[step]

    holder[last] = value

    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    "key", ["schema", "torchkit", "command", "status", "exit_code", "findings"]
)
def test_the_schema_misses_what_is_left_out(key: str) -> None:
    data = parsed(FORMS["fail"])

    del data[key]

    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    "fact", [None, True, 3, 2.5, "x", [], [{"name": "A100"}], {"a": "b"}, {"unknown": "why"}]
)
def test_a_fact_is_a_value_or_null_or_unknown(fact: Any) -> None:
    VALIDATOR.validate(parsed(Report("env", facts={"gpus": fact})))


def test_nan_becomes_null() -> None:
    row = {"a": float("nan"), "b": [float("inf"), 1.5], "c": (1, 2)}

    data = parsed(Report("env", tables=(Table("t", ("a", "b", "c"), (row,)),)))

    assert data["tables"][0]["rows"] == [{"a": None, "b": [None, 1.5], "c": [1, 2]}]


def test_text_is_readable_where_the_stream_can_carry_it_and_escaped_elsewhere() -> None:
    report = Report("env", headline="größer · 表")

    assert "größer · 表" in written(report)
    assert written(report, style=Style(unicode=False)).isascii()
    assert json.loads(written(report, style=Style(unicode=False))) == parsed(report)


@pytest.mark.parametrize("value", ["\x1b[2J", "\x9b31m", "\x7f", "\u202e", "\u2028", "\udcff"])
def test_what_a_terminal_obeys_is_escaped_and_comes_back(value: str) -> None:
    report = Report("env", headline=value)

    text = written(report)

    assert value not in text
    text.encode("utf-8")
    assert parsed(report)["headline"] == value


def test_json_is_whole_and_unredacted_however_quiet(broken: Report) -> None:
    assert written(broken, quiet=True) == written(broken)
    assert "/home/anna/project" in written(broken)


def test_strict_makes_a_warning_exit_1() -> None:
    report = one(warn("w"))

    assert (parsed(report)["exit_code"], parsed(report, strict=True)["exit_code"]) == (0, 1)


def test_a_mapping_that_is_no_dictionary_is_written() -> None:
    from types import MappingProxyType

    report = dataclasses.replace(Report("env"), facts=MappingProxyType({"a": MappingProxyType({})}))

    assert parsed(report)["facts"] == {"a": {}}
