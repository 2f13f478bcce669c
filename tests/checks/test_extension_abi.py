"""Truth: vLLM's issue 13608, and torchtext 0.18 beside torch 2.13, as `ctypes.CDLL` told them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkit.checks.extension_abi import judge
from torchkit.machine.facts import Extension, Unknown
from torchkit.report import Finding, Status, Verdict
from torchkit.versions import Version

PATH = "/env/lib/python3.11/site-packages/vllm/_C.abi3.so"
NAMES = ("_ZN5torch3jit17parseSchemaOrNameERKSsb", "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs")


def judged(*extensions: Extension, is_new: bool = True) -> Verdict:
    verdict = judge(
        extensions=extensions,
        torch_version=Version("2.13.0+cpu"),
        torch_cxx11_abi=is_new,
        companions=(),
    )
    if isinstance(verdict, tuple):
        (verdict,) = verdict
    return verdict


def other_abi(**told: Any) -> Extension:
    return Extension(
        **{
            "path": PATH,
            "package": "vllm",
            "version": "0.7.2",
            "error": f"{PATH}: undefined symbol: {NAMES[0]}",
            "missing_symbols": NAMES,
            "missing_symbol_count": 2,
            "other_abi": True,
            "missing_of_torch": NAMES,
            "missing_of_torch_count": 2,
            "missing_strings": NAMES,
            "missing_string_count": 2,
            "uses_torch": True,
            **told,
        }
    )


def test_names_of_the_old_abi_beside_a_torch_of_the_new_one_fail() -> None:
    verdict = judged(other_abi())

    assert verdict.status is Status.FAIL
    assert verdict.message == (
        "vllm 0.7.2 was built with the old C++ ABI, torch 2.13.0+cpu has the new one"
    )
    assert [it.value for it in verdict.evidence[:2]] == [
        f"{PATH}: undefined symbol: {NAMES[0]}",
        "vllm/_C.abi3.so: old C++ ABI, as in torch::jit::parseSchemaOrName(…) and 1 more name",
    ]


def test_the_reverse_is_told_the_other_way_round() -> None:
    verdict = judged(other_abi(), is_new=False)

    assert "built with the new C++ ABI" in verdict.message
    assert "has the old one" in verdict.message


def test_another_torch_that_it_was_built_for_is_named_too() -> None:
    other = judged(other_abi(built_for_torch="2.5.1"))
    same = judged(other_abi(built_for_torch="2.13.0"))

    assert other.message.endswith("; it was built for torch 2.5.1")
    assert "it was built for" not in same.message


def test_the_fix_names_the_wheel_or_the_flag() -> None:
    flash = judged(other_abi(package="flash-attn", version="2.8.3"))
    own = judged(other_abi(package=None))
    own_for_old = judged(other_abi(package=None), is_new=False)

    assert "pip install" in flash.fix[0]
    assert "cxx11abiTRUE" in flash.fix[1]
    assert own.fix == (f"build {PATH} again, with -D_GLIBCXX_USE_CXX11_ABI=1",)
    assert own_for_old.fix == (f"build {PATH} again, with -D_GLIBCXX_USE_CXX11_ABI=0",)


def test_a_package_that_is_no_longer_made_is_not_to_be_built_again() -> None:
    verdict = judged(other_abi(package="torchtext", version="0.18.0"))

    assert verdict.fix == ("pip uninstall -y torchtext   its last release is for torch 2.3",)


def test_a_mere_version_difference_is_no_matter_of_the_abi() -> None:
    assert judged(other_abi(other_abi=False)).status is Status.OK


def test_only_names_of_torch_with_a_string_are_told_and_counted() -> None:
    names = (*NAMES, "_ZN3c104warnEv", "avfilter_inout_free")

    verdict = judged(other_abi(missing_symbols=names, missing_symbol_count=62))

    assert verdict.evidence[1].value.endswith("parseSchemaOrName(…) and 1 more name")


def test_where_the_loader_stumbles_over_another_name_first_the_abi_is_not_what_it_says() -> None:
    names = ("avfilter_inout_free", *NAMES)

    assert judged(other_abi(missing_symbols=names)).status is Status.OK


def test_a_missing_library_comes_before_any_name() -> None:
    lacks = other_abi(missing_library="libcudart.so.12", missing_symbols=(), other_abi=None)

    assert judged(lacks).status is Status.OK


def test_modules_without_torchs_cpp_names_have_no_abi() -> None:
    stable = Extension(PATH, "vllm", uses_torch=True, stable_abi=True)
    strange = Extension("/x.so", uses_torch=False)

    verdict = judged(stable, strange)

    assert (verdict.status, verdict.applies) == (Status.SKIP, False)


def test_builds_for_other_torchs_alone_are_not_told_as_the_other_abi() -> None:
    """vesin-torch 0.3.6 beside torch 2.13: it has builds for 2.3 to 2.7, and looks for its own."""
    paths = [f"/site/vesin/torch-2.{minor}/lib/libvesin_torch.so" for minor in range(3, 8)]

    verdict = judged(*(other_abi(path=path, package="vesin-torch") for path in paths))

    assert verdict.status is Status.OK


def test_torchao_goes_on_without_its_code_so_that_is_a_warning() -> None:
    assert judged(other_abi(package="torchao")).status is Status.WARN


def test_states_of_the_facts(finding: Callable[..., Finding]) -> None:
    known = {"torch_version": Version("2.13.0"), "extensions": (other_abi(),)}

    told = finding("extension-abi", torch_cxx11_abi=True, **known)
    untold = finding("extension-abi", torch_cxx11_abi=Unknown("no names"), **known)
    none = finding("extension-abi", **{**known, "extensions": None}, torch_cxx11_abi=True)

    assert told.status is Status.FAIL
    assert (untold.status, untold.verdict.applies) == (Status.SKIP, True)
    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
