"""Truth: binutils' c++filt, over every name that libraries of torch offer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from torchkit.advice.symbol_names import readable
from torchkit.machine.interpreter import own_interpreter
from torchkit.machine.symbols import defined_symbols
from torchkit.system import System, Unknown


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("_ZN5torch3jit17parseSchemaOrNameERKSsb", "torch::jit::parseSchemaOrName(…)"),
        ("_ZN3c105ErrorC2ENS_14SourceLocationE", "c10::Error::Error(…)"),
        ("_ZN3c105ErrorD1Ev", "c10::Error::~Error()"),
        ("_ZNK2at10TensorBase5layerEv", "at::TensorBase::layer()"),
        ("_ZTVN5torch8autograd4NodeE", "vtable of torch::autograd::Node"),
        ("_ZTIN3c105ErrorE", "type information of c10::Error"),
        ("_ZN3c1019UndefinedTensorImpl10_singletonE", "c10::UndefinedTensorImpl::_singleton"),
        ("_Z16THPVariable_WrapN2at10TensorBaseE", "THPVariable_Wrap(…)"),
        ("_ZNK2at10TensorBase8data_ptrIfEEPT_v", "at::TensorBase::data_ptr<…>(…)"),
        (
            "_ZN3c1015SmallVectorBaseIjE8grow_podEPvmm",
            "c10::SmallVectorBase<…>::grow_pod(…)",
        ),
        ("_ZN3c104ListISt6vectorIiEEC1Ev", "c10::List<…>::List()"),
        ("_ZN3c103fooILi12EEEvv", "c10::foo<…>(…)"),
        ("_ZN3c10lsERSoRKNS_6DeviceE", "_ZN3c10lsERSoRKNS_6DeviceE"),
        ("_ZN3c1012_GLOBAL__N_13fooEv", "_ZN3c1012_GLOBAL__N_13fooEv"),
        ("_ZN3c103fooIIIII", "_ZN3c103fooIIIII"),
        ("_ZN3c103fooI9999999999xEEv", "_ZN3c103fooI9999999999xEEv"),
        ("aoti_torch_get_dim", "aoti_torch_get_dim"),
        ("_ZN99x", "_ZN99x"),
        ("_ZN0E", "_ZN0E"),
        ("_Z", "_Z"),
        ("", ""),
    ],
)
def test_a_name_is_made_readable_where_that_is_plain(symbol: str, words: str) -> None:
    assert readable(symbol) == words


def told_by_cxxfilt(symbols: list[str]) -> list[str]:
    child = subprocess.run(
        ["c++filt"],
        input="\n".join(symbols),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return child.stdout.splitlines()


def without_arguments(told: str) -> str:
    """The same as `readable` writes it: arguments, of templates too, and what it returns left out."""
    told = re.sub(r" (const|&&?)(?= |$|\[)", "", told)
    told = told.replace("(anonymous namespace)", "")
    while told != (fewer := re.sub(r"<[^<>]*>", "…", told)):
        told = fewer
    told = re.sub(r"…+", "<…>", told)
    name, bracket, rest = told.partition("(")
    kinds = {"vtable for ": "vtable of ", "typeinfo for ": "type information of "}
    kinds["typeinfo name for "] = "type name of "
    for start, kind in kinds.items():
        if name.startswith(start):
            return kind + name.removeprefix(start)
    shown = "()" if rest == ")" else "(…)" if bracket else ""
    if name.endswith("<…>") and bracket:
        return name.rpartition(" ")[2] + "(…)"
    return name + shown


@pytest.mark.torch
@pytest.mark.skipif(shutil.which("c++filt") is None, reason="needs c++filt of binutils")
@pytest.mark.parametrize("library", ["libc10.so", "libtorch_python.so"])
def test_a_readable_name_is_that_of_the_linkers_tool(library: str) -> None:
    torch = own_interpreter().torch
    path = Path("nowhere") if torch is None else torch.parent / "lib" / library
    names = defined_symbols(System(), path)
    if isinstance(names, Unknown):
        pytest.skip("torch is not installed")
    shown = {it: readable(it) for it in sorted(names) if readable(it) != it}

    told = told_by_cxxfilt(list(shown))

    differing = {
        symbol: (words, tool)
        for (symbol, words), tool in zip(shown.items(), told, strict=True)
        if words != without_arguments(tool)
    }
    assert differing == {}
    assert len(shown) > len(names) / 4
