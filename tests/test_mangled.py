"""Mangled names are turned into those of the other C++ ABI as g++ itself writes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from torchkit.advice.mangled import (
    as_text,
    has_string,
    mangled_start,
    plain_text,
    taken_apart,
    under_other_abi,
)

SOURCE = """
#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>
namespace c10 {
struct Location { const char* file; };
template <typename T> struct List { T* data; List(std::string, T); void push(T const&, List<T>); };
struct Error {
  Error(Location, std::string);
  Error(std::string, std::string, const void*);
  void add(std::string, std::vector<std::string>) const;
  static std::string name(int);
  operator std::string() const;
  Error& operator=(const std::string&);
};
std::ostream& operator<<(std::ostream&, Error const&);
namespace detail {
void fail(const char*, const char*, unsigned, const std::string&, const char*, const std::string&);
std::string joined(std::map<std::string, List<int>>, Error*, Error const&, std::string*);
template <typename A, typename... Rest> A many(A, std::vector<Rest>..., std::string);
template <int N, bool B> void counted(std::string (&)[4], Location&&);
}
}
void plain(int);
void with_function(std::function<void(std::string, int)>, void (*)(std::string&));
using namespace c10;
template struct c10::List<std::string>;
template <typename T> List<T>::List(std::string, T) {}
template <typename T> void List<T>::push(T const&, List<T>) {}
template <typename A, typename... R> A detail::many(A a, std::vector<R>..., std::string) { return a; }
template <int N, bool B> void detail::counted(std::string (&)[4], Location&&) {}
Error::Error(Location, std::string) {}
Error::Error(std::string, std::string, const void*) {}
void Error::add(std::string, std::vector<std::string>) const {}
std::string Error::name(int) { return ""; }
Error::operator std::string() const { return ""; }
Error& Error::operator=(const std::string&) { return *this; }
std::ostream& c10::operator<<(std::ostream& s, Error const&) { return s; }
void detail::fail(const char*, const char*, unsigned, const std::string&, const char*, const std::string&) {}
std::string detail::joined(std::map<std::string, List<int>>, Error*, Error const&, std::string*) { return ""; }
void plain(int) {}
void with_function(std::function<void(std::string, int)>, void (*)(std::string&)) {}
template std::string detail::many<std::string, int, long>(std::string, std::vector<int>, std::vector<long>, std::string);
template void detail::counted<3, true>(std::string (&)[4], Location&&);
"""


class Names(NamedTuple):
    """What g++ calls the functions of the source, by ABI, in the order of the source."""

    old: list[str]
    new: list[str]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Names:
    if shutil.which("g++") is None or sys.platform != "linux":
        pytest.skip("there is no g++ for Linux")
    folder = tmp_path_factory.mktemp("mangled")
    (folder / "a.cpp").write_text(SOURCE)
    return Names(*(_compiled(folder, abi) for abi in (0, 1)))


def _compiled(folder: Path, abi: int) -> list[str]:
    subprocess.run(
        ["g++", "-std=c++17", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", "-S", "a.cpp", "-o", "a.s"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    lines = (folder / "a.s").read_text().splitlines()
    found = [line.split()[1].split(",")[0] for line in lines if line.startswith("\t.type\t_Z")]
    ours = [name for name in found if "3c10" in name[:12] or "plain" in name or "with" in name]
    return list(dict.fromkeys(ours))


def test_every_name_that_differs_is_found_under_the_other_abi(names: Names) -> None:
    differing = [name for name in names.old if name not in names.new]

    lost = [name for name in differing if not set(under_other_abi(name)) & set(names.new)]

    assert len(differing) > 12
    assert lost == []


def test_a_function_that_only_returns_a_string_is_found_by_its_mark() -> None:
    assert under_other_abi("_ZN3c105Error4nameEi") == ("_ZN3c105Error4nameB5cxx11Ei",)
    assert under_other_abi("_ZN3c105Error4nameB5cxx11Ei") == ("_ZN3c105Error4nameEi",)


def test_the_way_back_leads_to_one_name(names: Names) -> None:
    for name in names.new:
        if name not in names.old and "cxx11" in name:
            assert under_other_abi(name)[0] in names.old


def test_a_name_that_is_the_same_in_both_tells_no_abi(names: Names) -> None:
    same = [name for name in names.old if name in names.new]

    assert same
    assert not any(has_string(name) for name in same if taken_apart(name) is not None)
    assert not any(set(under_other_abi(name)) & set(names.new) for name in same)


def test_the_text_is_that_of_the_demangler(names: Names) -> None:
    if shutil.which("c++filt") is None:
        pytest.skip("there is no c++filt")
    done = subprocess.run(
        ["c++filt"], input="\n".join(names.new), capture_output=True, text=True, check=True
    )

    compared = 0
    for name, text in zip(names.new, done.stdout.splitlines(), strict=True):
        ours = as_text(name)
        if ours is not None:
            assert ours == plain_text(text)
            compared += 1

    assert compared > 10


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("c10::detail::torchCheckFail(char const*)", "3c106detail14torchCheckFail"),
        ("c10::Device::Device(std::string const&)", "3c106Device"),
        ("c10::intrusive_ptr_target::~intrusive_ptr_target()", "3c1020intrusive_ptr_target"),
        ("vtable for torch::autograd::AutogradMeta", "5torch8autograd12AutogradMeta"),
        ("c10::operator<<(std::ostream&, c10::Device const&)", "3c10ls"),
        ("long c10::maybe<long>(long)", None),
    ],
)
def test_a_name_is_looked_for_by_its_start(text: str, start: str | None) -> None:
    if start is None:
        assert mangled_start(plain_text(text)) != "3c10"
    else:
        assert mangled_start(plain_text(text)) == start


@pytest.mark.parametrize(
    "name", ["", "_Z", "_ZN", "_ZN3c10", "main", "_ZN3c10E", "_ZNSt", "_ZN9999999c10E", "_Z" + "N" * 3000, "_ZN2atS9_E", "_Z1fIL"]
)  # fmt: skip
def test_what_is_no_whole_name_is_passed_over(name: str) -> None:
    assert taken_apart(name) is None
    assert under_other_abi(name) == ()
