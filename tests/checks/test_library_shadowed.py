"""Truth: the dynamic loader's own messages (glibc elf/dl-version.c, elf/dl-lookup.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkit.checks.library_shadowed import judge
from torchkit.machine.facts import Library, Unknown
from torchkit.report import Finding, Status, Verdict

HERE, OWN = "/usr/local/cuda-12.0/lib64/libnvJitLink.so.12", "/env/nvidia/lib/libnvJitLink.so.12"


def library(missing: str | None = None, **changes: Any) -> Library:
    facts: dict[str, Any] = {
        "name": "libnvJitLink.so.12",
        "winner": HERE,
        "reason": "LD_LIBRARY_PATH",
        "loser": OWN,
        "needed_by": "libcusparse.so.12",
    }
    return Library(**(facts | {"missing": missing} | changes))


def judged(*libraries: Library, problems: Any = ()) -> Verdict:
    return judge(shadowed_libraries=libraries, torch_problems=problems)


def test_nothing_in_front_of_torchs_libraries_is_fine() -> None:
    assert judged().status is Status.OK


def test_another_copy_that_has_everything_is_a_warning() -> None:
    assert judged(library()).status is Status.WARN


def test_another_copy_that_lacks_a_symbol_fails() -> None:
    verdict = judged(library("__nvJitLinkComplete_12_4"))

    assert verdict.status is Status.FAIL
    assert verdict.evidence[0].value == (
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, "
        "version libnvJitLink.so.12"
    )


def test_a_missing_version_has_other_words_than_a_missing_symbol() -> None:
    verdict = judged(library("GOMP_4.0", name="libgomp.so.1", winner="/opt/libgomp.so.1"))

    assert verdict.evidence[0].value == (
        "ImportError: /opt/libgomp.so.1: version `GOMP_4.0' not found (required by libcusparse.so.12)"
    )


def test_a_part_that_torchs_cudnn_lacks_and_finds_elsewhere_is_a_warning() -> None:
    part = library(
        name="libcudnn_engines_tensor_ir.so.9",
        winner="/usr/lib/x86_64-linux-gnu/libcudnn_engines_tensor_ir.so.9",
        loser="/env/nvidia/cudnn/lib/libcudnn.so.9",
        reason="ld.so.cache",
    )

    verdict = judged(part)

    assert verdict.status is Status.WARN
    assert verdict.evidence[0].value.endswith("CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH")
    assert "has no libcudnn_engines_tensor_ir.so.9 beside it" in verdict.message
    assert "libcudnn.so.9 again" in verdict.fix[0]


def test_the_loaders_own_text_is_quoted_where_it_is_known() -> None:
    text = "/env/libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4"

    verdict = judged(library("__nvJitLinkComplete_12_4"), problems=("another", text))

    assert verdict.evidence[0].value == f"ImportError: {text}"


def test_the_one_that_breaks_comes_before_those_that_do_not() -> None:
    harmless = library(name="libgomp.so.1", winner="/opt/libgomp.so.1")

    verdict = judged(harmless, library("__nvJitLinkComplete_12_4"))

    assert verdict.status is Status.FAIL
    assert verdict.message.startswith(HERE)


def test_the_fix_depends_on_why_the_copy_wins() -> None:
    by_path = judged(library())
    by_cache = judged(library(reason="ld.so.cache"))

    assert by_path.fix[0] == "take /usr/local/cuda-12.0/lib64 out of LD_LIBRARY_PATH"
    assert by_cache.fix == (f"remove {HERE}, or the package that brings it",)


def test_states_of_the_libraries(finding: Callable[..., Finding]) -> None:
    none = finding("library-shadowed", shadowed_libraries=None)
    unknown = finding("library-shadowed", shadowed_libraries=Unknown("unreadable"))
    alone = finding("library-shadowed", shadowed_libraries=(library("__nvJitLinkComplete_12_4"),))

    assert (none.status, none.verdict.applies) == (Status.SKIP, False)
    assert (unknown.status, unknown.verdict.applies) == (Status.SKIP, True)
    assert alone.status is Status.FAIL
