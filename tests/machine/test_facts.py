"""The glossary: every fact travels through JSON unchanged, and a wrong one is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from torchkit.errors import BadInput
from torchkit.machine.facts import (
    GLOSSARY,
    BuildTrial,
    Companion,
    Extension,
    Facts,
    Gpu,
    Install,
    Kind,
    Library,
    Libtorch,
    LiveTrial,
    ShmHolder,
    Unknown,
    why_unknown,
)
from torchkit.versions import Version

REPOSITORY = Path(__file__).parents[2]

EXAMPLES: dict[Kind, list[Any]] = {
    Kind.TEXT: ["", "Debian GNU/Linux 12", "é \N{SNOWMAN} \udcff"],
    Kind.FLAG: [True, False],
    Kind.COUNT: [0, 1, 2**63 - 1],
    Kind.NUMBER: [0.5, 1.0, 64.0],
    Kind.VERSION: [Version("470.57.02"), Version("2.6.0a0+ecf3bae40a.nv25.01")],
    Kind.TEXTS: [(), ("sm_90", "compute_90")],
    Kind.PAIRS: [{}, {"nvidia-cublas-cu12": "12.4.5.8"}],
    Kind.GPUS: [(), (Gpu("NVIDIA A100", "8.0", 2**34), Gpu("Orin"))],
    Kind.INSTALLS: [(Install("/site/torch", "2.13.0", "pip"), Install("/other/torch"))],
    Kind.COMPANIONS: [(Companion("xformers", "0.0.28", ">=2.4", "2.4.1+cu121", "12.1"),)],
    Kind.LIBRARIES: [(Library("libnccl.so.2", "/a", "LD_LIBRARY_PATH", "/b", None, "libtorch"),)],
    Kind.EXTENSIONS: [
        (),
        (
            Extension("/a.so", "a", "1.0", "a.so: undefined symbol: b", None, ("b",), 1, True),
            Extension("/b.so", stable_abi=False, archs=("sm_90",)),
        ),
    ],
    Kind.LIBTORCHS: [
        (Libtorch("/a.zip", "zip", "2.13.0", cxx11_abi=True, cuda_libraries=("libcudart.so.13",)),)
    ],
    Kind.BUILD_TRIALS: [(BuildTrial("/a", "link", False, "undefined reference"),)],
    Kind.SHM_HOLDERS: [
        (),
        (ShmHolder("torch", 4096, 1, 12, "python3"), ShmHolder("other", 0, 2, visible=True)),
    ],
    Kind.LIVE_TRIALS: [
        (LiveTrial("cpu", True), LiveTrial("cuda:0", False, "out of memory", 7, "A100", "8.0", 1))
    ],
}

WRONG: dict[Kind, list[Any]] = {
    Kind.TEXT: [1, True, [], {}],
    Kind.FLAG: [0, 1, "true", []],
    Kind.COUNT: [1.5, "7", True, -1, 2**63, 1e300, math.inf, math.nan, [1]],
    Kind.NUMBER: ["2", True, math.inf, -math.inf, math.nan, 10**400, -1, None.__class__],
    Kind.VERSION: ["twelve", "", True, [12, 4], "9" * 5000, 12.4, 2.10, math.nan],
    Kind.TEXTS: ["sm_90", [90], {"a": "b"}, [None]],
    Kind.PAIRS: [["a"], {"a": 1}, {"a": None}, "a"],
    Kind.GPUS: [
        {},
        "A100",
        ["A100"],
        [{}],
        [{"name": 5}],
        [{"name": None}],
        [{"name": "A100", "capability": "eight"}],
        [{"name": "A100", "capability": "sm_80"}],
        [{"name": "A100", "capability": True}],
        [{"name": "A100", "capability": [8, 0, 0]}],
        [{"name": "A100", "capability": 1000}],
        [{"name": "A100", "memory_bytes": "40 GiB"}],
        [{"name": "A100", "memory_bytes": {"unknown": "why"}}],
    ],
    Kind.INSTALLS: [[{"version": "2.13"}], [{"path": 1}], [{"path": "/a", "version": 2.13}]],
    Kind.COMPANIONS: [[{"name": "xformers"}], [{"name": "a", "version": None}]],
    Kind.LIBRARIES: [[{"name": "a", "winner": "b"}], [{"name": 1, "winner": "", "reason": "", "loser": ""}]],
    Kind.EXTENSIONS: [[{}], [{"path": 1}], [{"path": "/a", "stable_abi": 1}], [{"path": "/a", "archs": "sm_90"}]],
    Kind.LIBTORCHS: [[{}], ["/a"], [{"path": "/a", "cxx11_abi": "true"}]],
    Kind.BUILD_TRIALS: [[{"against": "/a"}], [{"against": "/a", "stage": "link", "succeeded": 0}]],
    Kind.SHM_HOLDERS: [[{"kind": "torch"}], [{"kind": "torch", "bytes": "many", "files": 1}]],
    Kind.LIVE_TRIALS: [[{"what": "cpu"}], [{"what": "cpu", "worked": "yes"}], [{"what": "a", "worked": True, "milliseconds": 0.5}]],
}  # fmt: skip


def test_every_fact_has_a_kind_an_example_and_a_meaning() -> None:
    assert set(EXAMPLES) == set(WRONG) == set(Kind)
    for name, fact in GLOSSARY.items():
        assert fact.name == name
        assert fact.meaning
        assert not fact.meaning.endswith(".")


@pytest.mark.parametrize("name", GLOSSARY)
def test_every_fact_travels_through_json_unchanged(name: str) -> None:
    for value in [*EXAMPLES[GLOSSARY[name].kind], None, Unknown("the reason")]:
        written = json.dumps(Facts({name: value}).to_json())

        read = Facts.from_json(json.loads(written), where="m.json")[name]

        assert read == value
        assert type(read) is type(value)
        assert str(read) == str(value)


@pytest.mark.parametrize("name", GLOSSARY)
def test_a_wrong_type_is_refused_and_the_fact_named(name: str) -> None:
    for data in WRONG[GLOSSARY[name].kind]:
        with pytest.raises(BadInput) as caught:
            Facts.from_json({name: data}, where="m.json")

        assert caught.value.message.startswith(f"{name} in m.json is ")
        assert ", expected " in caught.value.message
        assert len(caught.value.message) < 500
        assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "capability"),
    [("8.6", "8.6"), (8.6, "8.6"), (9, "9.0"), ([12, 0], "12.0"), (None, None)],
)
def test_a_capability_may_be_written_as_people_write_it(given: Any, capability: str | None) -> None:
    data = {"gpus": [{"name": "GPU", "capability": given, "colour": "green"}]}

    assert Facts.from_json(data, where="m.json")["gpus"] == (Gpu("GPU", capability),)


@pytest.mark.parametrize(("given", "text"), [("12.4", "12.4"), ("2.10", "2.10"), (12, "12")])
def test_a_version_may_be_written_as_a_whole_number(given: Any, text: str) -> None:
    assert str(Facts.from_json({"torch_cuda": given}, where="m.json")["torch_cuda"]) == text


def test_a_version_that_json_would_change_is_to_be_written_as_text() -> None:
    written = json.loads('{"torch_version": 2.10}')

    with pytest.raises(BadInput) as caught:
        Facts.from_json(written, where="m.json")

    assert caught.value.message.startswith("torch_version in m.json is 2.1, expected ")
    assert 'written as text, such as "2.10"' in caught.value.message


def test_names_we_do_not_know_are_passed_over() -> None:
    facts = Facts.from_json({"of_a_later_release": 1, "os_name": "x"}, where="m.json")

    assert facts.to_json() == {"os_name": "x"}


def test_none_unknown_and_not_given_are_three_things() -> None:
    facts = Facts({"torch_cuda": None, "driver_cuda": Unknown("it hung")})

    assert facts["torch_cuda"] is None
    assert facts["driver_cuda"] == Unknown("it hung")
    assert isinstance(facts["gcc_version"], Unknown)
    assert why_unknown("driver_cuda", facts["driver_cuda"]) == "driver_cuda is not known: it hung"
    assert "not among the facts" in why_unknown("gcc_version", facts["gcc_version"])
    assert facts.known("driver_cuda") is None
    assert facts.to_json() == {"torch_cuda": None, "driver_cuda": {"unknown": "it hung"}}


def test_facts_come_in_the_glossary_s_order() -> None:
    facts = Facts({"cmake_version": None, "os_name": "x", "gpus": ()})

    assert list(facts.to_json()) == ["os_name", "gpus", "cmake_version"]
    assert list(facts) == list(GLOSSARY)


def test_a_name_that_is_not_in_the_glossary_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        Facts({"torch_colour": "red"})
    with pytest.raises(KeyError):
        Facts({})["torch_colour"]
