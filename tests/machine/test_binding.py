"""The prediction of a `dlopen` against the real one: small libraries, built here, loaded in a child."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elftools.elf.elffile import ELFFile

from tests.installs import HAS_TORCH, MODULE, TORCH
from torchkit.machine.binding import Attempt, attempt
from torchkit.machine.loader import Load, Loader
from torchkit.machine.torch_import import TorchImport
from torchkit.machine.torch_libraries import TorchLibraries
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None or System().libc() is None,
    reason="needs gcc and the loader of glibc",
)

PYTHON = Path(sys.executable)

ASK_THE_LOADER = """
import ctypes, json, os, sys
before, targets = json.loads(sys.argv[1])
if before is None:
    import torch
for path, is_global in before or ():
    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL if is_global else ctypes.RTLD_LOCAL)
# a child for each: what one brings into the process must not help the next
for target in targets:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = None
        try:
            ctypes.CDLL(target)
        except OSError as error:
            said = str(error)
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    print(os.read(reader, 65536).decode())
    os.waitpid(child, 0)
"""


class Scene(NamedTuple):
    """What is in the process before, each with whether it is global, and the file to open."""

    target: Path
    before: tuple[tuple[Path, bool], ...] = ()


@dataclass
class Workshop:
    """Builds libraries below a folder, and asks the real loader about them."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    sequence: int = 0

    def library(
        self,
        place: str,
        *needs: Path,
        calls: str = "",
        defines: str = "",
        code: str = "",
        options: tuple[str, ...] = (),
        libc: bool = False,
    ) -> Path:
        """A library that calls and defines functions of these names, and needs these files.

        With `libc` it needs the C library, too, and so has versions, as any real one.
        """
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sequence += 1
        source = path.with_suffix(f".{self.sequence}.c")
        lines = [f"int {name}(void) {{ return 1; }}" for name in defines.split()]
        lines += [f"int {name}(void);" for name in calls.split()]
        body = " + ".join(f"{name}()" for name in calls.split())
        lines.append(f"int own_{self.sequence}(void) {{ return {body or 0}; }}")
        if libc:
            lines.append('int puts(const char *); int said(void) { return puts(""); }')
        source.write_text("\n".join([*lines, code]))
        command: list[str | Path] = ["gcc", "-shared", "-fPIC", "-Wl,--no-as-needed"]
        command += ["-Wl,--allow-shlib-undefined", f"-Wl,-soname,{path.name}"]
        command += ["-Wl,--enable-new-dtags,-rpath,$ORIGIN", *([] if libc else ["-nostdlib"])]
        command += ["-o", path, source, *needs, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return path

    def versions(self, place: str, script: str, *needs: Path, **kinds: Any) -> Path:
        """A library with this version script."""
        path = self.root / f"versions{self.sequence}.map"
        path.write_text(script)
        options = (*kinds.pop("options", ()), f"-Wl,--version-script={path}")
        return self.library(place, *needs, options=options, **kinds)

    def real(self, *scenes: Scene, before: object = ()) -> list[str | None]:
        """What the real loader says of each; all have the same process before."""
        earlier = scenes[0].before if before == () else before
        plain = earlier and [(str(path), is_global) for path, is_global in earlier]  # type: ignore[attr-defined]
        question = json.dumps([plain, [str(scene.target) for scene in scenes]])
        child = subprocess.run(
            [PYTHON, "-c", ASK_THE_LOADER, question],
            env=self.environ,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return [json.loads(line) for line in child.stdout.splitlines()]

    def loader(self, scene: Scene) -> Loader:
        """The simulated process before the file is opened."""
        loader = Loader(System(environ=self.environ), executable=PYTHON)
        for path, is_global in scene.before:
            load = loader.load(path, is_global=is_global)
            assert isinstance(load, Load)
            assert not load.problems
        return loader

    def predicted(self, scene: Scene) -> Attempt:
        """What we say of it."""
        tried = attempt(System(environ=self.environ), self.loader(scene), scene.target)
        assert isinstance(tried, Attempt)
        return tried


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    root = tmp_path.resolve()
    monkeypatch.chdir(root)
    return Workshop(root)


# --- scopes


def everything_is_there(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", defines="there")
    return Scene(w.library("top.so", needed, calls="there", defines="own"))


def a_function_is_nowhere(w: Workshop) -> Scene:
    return Scene(w.library("top.so", calls="gone"))


def an_earlier_load_is_local(w: Workshop) -> Scene:
    earlier = w.library("libearlier.so", defines="there")
    return Scene(w.library("top.so", calls="there"), ((earlier, False),))


def an_earlier_load_is_global(w: Workshop) -> Scene:
    earlier = w.library("libearlier.so", defines="there")
    return Scene(w.library("top.so", calls="there"), ((earlier, True),))


def what_a_global_one_needs_is_global(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", defines="there")
    earlier = w.library("libearlier.so", needed)
    return Scene(w.library("top.so", calls="there"), ((earlier, True),))


def what_was_local_becomes_global(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", defines="there")
    earlier = w.library("libearlier.so", needed)
    return Scene(w.library("top.so", calls="there"), ((needed, False), (earlier, True)))


def a_local_one_serves_who_needs_it(w: Workshop) -> Scene:
    earlier = w.library("libearlier.so", defines="there")
    return Scene(w.library("top.so", earlier, calls="there"), ((earlier, False),))


def a_local_one_serves_the_needed_through_the_opened(w: Workshop) -> Scene:
    """As libtorch_python.so does, which a module need not name if its neighbour does."""
    python = w.library("libpython_part.so", defines="there")
    middle = w.library("libmiddle.so", calls="there")
    return Scene(w.library("top.so", middle, python), ((python, False),))


def the_opened_one_serves_what_it_needs(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", calls="of_top")
    return Scene(w.library("top.so", needed, defines="of_top"))


def a_file_that_is_loaded_already(w: Workshop) -> Scene:
    earlier = w.library("libearlier.so", defines="there")
    return Scene(earlier, ((earlier, False),))


def a_preloaded_one_serves_all(w: Workshop) -> Scene:
    w.environ["LD_PRELOAD"] = str(w.library("libpreloaded.so", defines="there"))
    return Scene(w.library("top.so", calls="there"))


def names_of_the_program(w: Workshop) -> Scene:
    return Scene(w.library("top.so", calls="PyLong_FromLong Py_IncRef"))


def a_name_of_another_python(w: Workshop) -> Scene:
    return Scene(w.library("top.so", calls="Py_IncRef _PyUnicode_Ready_gone"))


def a_poisoned_copy_on_the_library_path(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", defines="there")
    target = w.library("top.so", needed, calls="there")
    w.library("poison/libneeded.so", defines="something_else")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "poison")
    return Scene(target)


def a_copy_in_the_working_folder(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", calls="gone", defines="there")
    target = w.library("sub/top.so", needed, calls="there")
    w.environ["LD_LIBRARY_PATH"] = "/nowhere:"
    return Scene(target)


# --- which is told first


def data_is_told_before_functions(w: Workshop) -> Scene:
    code = "extern int gone_data; int *use_data(void) { return &gone_data; }"
    return Scene(w.library("top.so", calls="gone_function", code=code))


def pointers_in_data_are_told_in_their_order(w: Workshop) -> Scene:
    code = (
        "int gone_a(void), gone_b(void), gone_c(void);"
        "int (*table[])(void) = {gone_c, gone_a, gone_b};"
    )
    return Scene(w.library("top.so", calls="gone_d", code=code))


def many_functions_are_gone(w: Workshop) -> Scene:
    return Scene(w.library("top.so", calls=" ".join(f"gone_{n * 37 % 100}" for n in range(100))))


def the_needed_is_told_before_who_needs_it(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", calls="gone_below")
    return Scene(w.library("top.so", needed, calls="gone_above"))


def a_chain_of_two(w: Workshop) -> Scene:
    end = w.library("libend.so", calls="gone_end")
    middle = w.library("libmiddle.so", end, calls="gone_middle")
    return Scene(w.library("top.so", middle))


def two_neighbours(w: Workshop) -> Scene:
    one, two = w.library("libone.so", calls="gone_1"), w.library("libtwo.so", calls="gone_2")
    return Scene(w.library("top.so", one, two, calls="gone_0"))


def a_neighbour_needs_the_other(w: Workshop) -> Scene:
    two = w.library("libtwo.so", calls="gone_2")
    one = w.library("libone.so", two, calls="gone_1")
    return Scene(w.library("top.so", two, one))


def two_that_need_each_other(w: Workshop) -> Scene:
    stub = w.library("libtwo.so")
    one = w.library("libone.so", stub, calls="gone_1")
    two = w.library("libtwo.so", one, calls="gone_2")
    return Scene(w.library("top.so", one, two))


def the_needed_needs_the_opened(w: Workshop) -> Scene:
    stub = w.library("top.so")
    deep = w.library("libdeep.so", calls="gone_deep")
    one = w.library("libone.so", stub, deep, calls="gone_1")
    two = w.library("libtwo.so", calls="gone_2")
    return Scene(w.library("top.so", one, two, calls="gone_0"))


def a_missing_library_is_told_before_a_symbol(w: Workshop) -> Scene:
    gone, needed = w.library("libgone.so"), w.library("libneeded.so", calls="gone_below")
    target = w.library("top.so", needed, gone, calls="gone_above")
    gone.unlink()
    return Scene(target)


# --- what need not be there


def a_weak_name(w: Workshop) -> Scene:
    code = "__attribute__((weak)) int gone(void); int use(void) { return gone ? gone() : 0; }"
    return Scene(w.library("top.so", code=code))


def a_name_without_a_relocation(w: Workshop) -> Scene:
    code = '__asm__(".section .quiet,\\"\\",@progbits\\n.quad gone\\n.previous\\n");'
    return Scene(w.library("top.so", code=code))


def a_hidden_name_is_its_own(w: Workshop) -> Scene:
    code = '__attribute__((visibility("hidden"))) int mine(void) { return 1; } int use(void) { return mine(); }'
    return Scene(w.library("top.so", code=code))


# --- kinds of definitions


def a_function_chosen_at_load_time(w: Workshop) -> Scene:
    code = (
        "static int one(void) { return 1; } static int (*choose(void))(void) { return one; }"
        'int chosen(void) __attribute__((ifunc("choose")));'
    )
    return Scene(w.library("top.so", w.library("libneeded.so", code=code), calls="chosen"))


def a_variable_of_each_thread(w: Workshop) -> Scene:
    needed = w.library("libneeded.so", code="__thread int each = 1;")
    code = "extern __thread int each; int use(void) { return each; }"
    return Scene(w.library("top.so", needed, code=code))


def a_variable_of_each_thread_is_gone(w: Workshop) -> Scene:
    code = "extern __thread int gone; int use(void) { return gone; }"
    return Scene(w.library("top.so", code=code))


def a_common_and_an_absolute_one(w: Workshop) -> Scene:
    options = ("-fcommon", "-Wl,--defsym=absolute=0")
    needed = w.library("libneeded.so", code="int common[4];", options=options)
    code = "extern int common[4], absolute; int *use(int n) { return n ? common : &absolute; }"
    return Scene(w.library("top.so", needed, code=code))


def an_old_hash_table(w: Workshop) -> Scene:
    defines = " ".join(f"there_{n}" for n in range(50))
    needed = w.library("libneeded.so", defines=defines, options=("-Wl,--hash-style=sysv",))
    options = ("-Wl,--hash-style=sysv",)
    return Scene(w.library("top.so", needed, calls=f"{defines} gone", options=options))


def _patched(w: Workshop, **change: int) -> Scene:
    """The library has the symbol, with one field of its entry changed."""
    needed = w.library("libneeded.so", defines="there")
    target = w.library("top.so", needed, calls="there")
    with needed.open("rb") as file:
        elf: Any = ELFFile(file)
        table = elf.get_section_by_name(".dynsym")
        number = next(n for n, it in enumerate(table.iter_symbols()) if it.name == "there")
        at = table["sh_offset"] + number * table["sh_entsize"]
    data = bytearray(needed.read_bytes())
    for place, size, value in (
        (4, 1, change.get("info")),
        (5, 1, change.get("other")),
        (6, 2, change.get("section")),
        (8, 8, change.get("value")),
    ):
        if value is not None:
            data[at + place : at + place + size] = value.to_bytes(size, sys.byteorder)
    needed.write_bytes(data)
    return Scene(target)


def a_hidden_definition(w: Workshop) -> Scene:
    return _patched(w, other=2)


def an_internal_definition(w: Workshop) -> Scene:
    return _patched(w, other=1)


def a_protected_definition(w: Workshop) -> Scene:
    return _patched(w, other=3)


def a_local_definition(w: Workshop) -> Scene:
    return _patched(w, info=0x02)


def a_weak_definition(w: Workshop) -> Scene:
    return _patched(w, info=0x22)


def a_unique_definition(w: Workshop) -> Scene:
    return _patched(w, info=0xA1)


def the_name_of_a_section(w: Workshop) -> Scene:
    return _patched(w, info=0x13)


def a_definition_at_zero(w: Workshop) -> Scene:
    return _patched(w, value=0)


def an_absolute_definition_at_zero(w: Workshop) -> Scene:
    return _patched(w, value=0, section=0xFFF1)


def a_definition_in_no_section(w: Workshop) -> Scene:
    return _patched(w, section=0, value=0)


# --- versions


def a_version_without_the_symbol(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    w.versions("libv.so", "V_1 { global: other; };", defines="other", libc=True)
    return Scene(target)


def a_symbol_with_its_version_in_another_library(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    moved = w.versions("libmoved.so", "V_1 { global: there; };", defines="there", libc=True)
    w.versions("libv.so", "V_1 { global: other; };", moved, defines="other", libc=True)
    return Scene(target)


def a_symbol_with_another_version(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 {}; V_2 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    w.versions("libv.so", "V_1 { global: there; }; V_2 {};", defines="there", libc=True)
    return Scene(target)


def a_symbol_without_version_satisfies_every_demand(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    w.library("libv.so", defines="there", libc=True)
    return Scene(target)


def a_library_without_versions_lacks_the_symbol(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    w.library("libv.so", defines="other", libc=True)
    return Scene(target)


def a_version_is_gone_and_a_symbol(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 {}; V_2 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there gone")
    w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    return Scene(target)


def _old_version_only(w: Workshop, script: str, version: str) -> Scene:
    """A library whose symbol has a version that is not the default, and one that asks for none."""
    stub = w.library("libv.so", defines="there")
    target = w.library("top.so", stub, calls="there")
    code = f'int real(void) {{ return 1; }} __asm__(".symver real, there@{version}");'
    w.versions("libv.so", script, code=code, libc=True)
    return Scene(target)


def the_oldest_version_serves_who_asks_for_none(w: Workshop) -> Scene:
    return _old_version_only(w, "V_1 { local: real; }; V_2 {};", "V_1")


def a_later_hidden_version_does_not(w: Workshop) -> Scene:
    return _old_version_only(w, "V_1 { local: real; }; V_2 {};", "V_2")


def a_later_default_version_does(w: Workshop) -> Scene:
    stub = w.library("libv.so", defines="there")
    target = w.library("top.so", stub, calls="there")
    w.versions("libv.so", "V_1 {}; V_2 { global: there; };", defines="there", libc=True)
    return Scene(target)


def the_base_version_satisfies_every_demand(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    target = w.library("top.so", needed, calls="there")
    w.versions("libv.so", "V_1 { global: other; };", defines="there other", libc=True)
    return Scene(target)


def a_weak_name_with_a_version(w: Workshop) -> Scene:
    needed = w.versions("libv.so", "V_1 { global: there; };", defines="there", libc=True)
    code = "__attribute__((weak)) int there(void); int use(void) { return there ? 1 : 0; }"
    target = w.library("top.so", needed, code=code)
    w.versions("libv.so", "V_1 { global: other; };", defines="other", libc=True)
    return Scene(target)


SCENES: list[Callable[[Workshop], Scene]] = [
    value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__annotations__", {}) == {"w": "Workshop", "return": "Scene"}
]


@pytest.mark.parametrize("build", SCENES, ids=lambda build: build.__name__)
def test_the_prediction_is_what_the_real_loader_says(
    workshop: Workshop, build: Callable[[Workshop], Scene]
) -> None:
    scene = build(workshop)

    tried = workshop.predicted(scene)

    assert [tried.error] == workshop.real(scene)


# --- the order of whole families of libraries


def _families(w: Workshop, dice: random.Random, count: int) -> list[Scene]:
    """Libraries that need one another, in circles too; most lack a symbol of their own."""
    letters = "abcdef"
    for letter in letters:
        (w.root / f"{letter}.c").write_text(
            f"int gone_{letter}(void); int (*use)(void) = gone_{letter};"
        )
    (w.root / "whole.c").write_text("int whole;")
    sources = [f"{letter}.c" for letter in letters] + ["whole.c"]
    subprocess.run(["gcc", "-c", "-fPIC", *sources], cwd=w.root, check=True, timeout=60)

    def link(path: Path, source: str, *needs: Path) -> None:
        command: list[str | Path] = ["ld", "-shared", "--no-as-needed", "--allow-shlib-undefined"]
        command += ["-rpath", "$ORIGIN", "-soname", path.name, "-o", path, f"{source}.o", *needs]
        subprocess.run(command, cwd=w.root, check=True, timeout=60)

    scenes = []
    for number in range(count):
        folder = w.root / f"family{number}"
        folder.mkdir()
        members = {letter: folder / f"lib{letter}.so" for letter in letters}
        for path in members.values():
            link(path, "whole")
        for letter, path in members.items():
            others = [it for it in dice.sample(letters, dice.randrange(4)) if it != letter]
            source = letter if dice.random() < 0.7 else "whole"
            link(path, source, *(members[other] for other in others))
        target = folder / "top.so"
        link(target, "whole", *(members[letter] for letter in dice.sample(letters, 3)))
        scenes.append(Scene(target))
    return scenes


def test_the_first_of_a_family_is_the_real_loader_s(workshop: Workshop) -> None:
    scenes = _families(workshop, random.Random(1), 12)  # noqa: S311 - the same families every time

    for algorithm in (1, 2):
        workshop.environ["GLIBC_TUNABLES"] = f"glibc.rtld.dynamic_sort={algorithm}"
        errors = [workshop.predicted(scene).error for scene in scenes]

        assert errors == workshop.real(*scenes)
        assert len({error and error.rpartition("_")[2] for error in errors}) > 3


# --- more than the first words


def test_every_missing_symbol_is_told_as_ldd_tells_them(workshop: Workshop) -> None:
    below = workshop.library("libbelow.so", calls="gone_b gone_both")
    code = "__attribute__((weak)) int fine(void); int use(void) { return fine ? 1 : 0; }"
    target = workshop.library(
        "top.so", below, calls="gone_a gone_both there", defines="there", code=code
    )

    tried = workshop.predicted(Scene(target))

    child = subprocess.run(
        ["ldd", "-r", target], capture_output=True, text=True, timeout=60, check=False
    )
    lines = (child.stdout + child.stderr).splitlines()
    told = {line.split()[2] for line in lines if line.startswith("undefined symbol:")}
    assert {symbol.name for symbol in tried.missing_symbols} == told
    assert len(tried.missing_symbols) == len(told) == 3
    assert tried.error is not None
    assert tried.error.endswith(tried.missing_symbols[0].name)


def test_a_missing_library_is_named_and_no_symbol_is_guessed(workshop: Workshop) -> None:
    gone = workshop.library("libgone.so", defines="there")
    target = workshop.library("top.so", gone, calls="there gone")
    gone.unlink()

    tried = workshop.predicted(Scene(target))

    assert tried.missing_library == "libgone.so"
    assert tried.missing_symbols == ()


def test_a_missing_version_is_told_first_and_the_symbols_all_the_same(workshop: Workshop) -> None:
    scene = a_version_is_gone_and_a_symbol(workshop)

    tried = workshop.predicted(scene)

    assert tried.error is not None
    assert "version `V_2' not found" in tried.error
    assert {symbol.name for symbol in tried.missing_symbols} == {"there", "gone"}
    assert tried.missing_library is None


def test_an_attempt_leaves_the_process_as_it_was(workshop: Workshop) -> None:
    helper = workshop.library("libhelper.so", defines="there")
    first = workshop.library("first.so", helper, calls="there")
    second = workshop.library("other/second.so", calls="there")
    third = workshop.library("other/third.so", helper, options=("-Wl,-rpath,/nowhere",))
    system, loader = System(environ={}), workshop.loader(Scene(first))
    said = [attempt(system, loader, path) for path in (first, second, third, first)]

    errors = [tried.error for tried in said if isinstance(tried, Attempt)]

    real = workshop.real(*(Scene(path) for path in (first, second, third, first)))
    assert errors == real
    assert errors[0] is errors[3] is None
    assert None not in errors[1:3]


def test_what_comes_into_the_process_is_told_with_the_reason(workshop: Workshop) -> None:
    needed = workshop.library("libneeded.so", defines="there")
    target = workshop.library("top.so", needed, calls="there")

    tried = workshop.predicted(Scene(target))

    told = {library.name: library.why for library in tried.libraries}
    assert told == {str(target): "path", "libneeded.so": f"RUNPATH of {target}"}


def test_a_program_that_cannot_be_read_makes_no_wrong_diagnosis(workshop: Workshop) -> None:
    script = workshop.root / "python"
    script.write_text("#!/bin/sh\nexec python3\n")
    target = workshop.library("top.so", calls="PyLong_FromLong")

    for executable in (script, None):
        tried = attempt(System(), Loader(System(), executable=executable), target)

        assert isinstance(tried, Unknown)


class _OldLibc(System):
    """This machine with a C library of before 2.30."""

    def libc(self) -> str | None:
        return "glibc 2.28"


def test_before_glibc_2_30_a_versioned_symbol_had_to_be_in_its_library(workshop: Workshop) -> None:
    scene = a_symbol_with_its_version_in_another_library(workshop)
    (workshop.root / "weak").mkdir()
    weak = a_weak_name_with_a_version(Workshop(workshop.root / "weak"))
    system = _OldLibc(environ={})

    said = [
        attempt(system, Loader(system, executable=PYTHON), target)
        for target in (scene.target, weak.target)
    ]

    # the words of glibc 2.29, elf/dl-lookup.c; https://maskray.me/blog/2020-11-26-all-about-symbol-versioning
    words = "symbol there version V_1 not defined in file libv.so with link time reference"
    assert [tried.error for tried in said if isinstance(tried, Attempt)] == [
        f"{scene.target}: {words}",
        f"{weak.target}: {words}",
    ]


# --- damaged files


def test_damaged_files_never_raise_and_take_no_time(workshop: Workshop) -> None:
    names = " ".join(f"there_{n}" for n in range(20))
    needed = workshop.library("libneeded.so", defines=names, libc=True)
    target = workshop.library("top.so", needed, calls=f"{names} gone", libc=True)
    whole = {path: path.read_bytes() for path in (needed, target)}
    dice = random.Random(3)  # noqa: S311 - the same damage every time, no secret
    started = time.process_time()
    kinds = {Attempt: 0, Unknown: 0}
    for _ in range(200):
        for path, data in whole.items():
            damaged = bytearray(data)
            for _ in range(dice.choice((0, 1, 8, 64))):
                place = 64 * 12 + dice.randrange(2048)  # behind the header and the segments
                damaged[place] = dice.choice((0, 255, dice.randrange(256)))
            path.write_bytes(damaged)

        kinds[type(attempt(System(environ={}), workshop.loader(Scene(target)), target))] += 1

    assert min(kinds.values()) > 5
    assert time.process_time() - started < 20


# --- a real torch


PARTS = {
    "fits": """
        #include <string>
        namespace c10::detail { void torchCheckFail(const char *, const char *, unsigned, const std::string &); }
        void use() { c10::detail::torchCheckFail("", "", 1, std::string("text")); }
    """,
    "of_python": """
        namespace c10 { struct Device; }
        void *THPDevice_New(const c10::Device &);
        void *use_python(const c10::Device &device) { return THPDevice_New(device); }
    """,
    "of_another_torch": """
        namespace at { struct Tensor; int operator_that_is_gone(const Tensor &); }
        int use_gone(const at::Tensor &tensor) { return at::operator_that_is_gone(tensor); }
    """,
}
"""What extensions use of torch, declared here: torch's own headers take half a minute to compile."""


@pytest.fixture(scope="session")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Extensions of the installed torch, most of them wrong in one way."""
    assert TORCH is not None
    folder = tmp_path_factory.mktemp("extensions")
    built: dict[str, Path] = {}

    def compiled(part: str, abi: bool = True) -> Path:
        source, path = folder / f"{part}.cpp", folder / f"{part}-{abi}.o"
        source.write_text(PARTS[part])
        command: list[str | Path] = ["g++", "-std=c++17", "-fPIC", "-c", "-o", path, source]
        subprocess.run([*command, f"-D_GLIBCXX_USE_CXX11_ABI={int(abi)}"], check=True, timeout=120)
        return path

    def link(name: str, *parts: str | Path) -> None:
        built[name] = folder / name
        command: list[str | Path] = ["g++", "-shared", "-fPIC", "-Wl,--no-as-needed"]
        command += ["-Wl,-rpath,$ORIGIN", f"-L{TORCH / 'lib'}", "-o", built[name], *parts]
        subprocess.run(command, check=True, timeout=120)

    usual = ("-ltorch", "-ltorch_cpu", "-lc10")
    fits, python = compiled("fits"), compiled("of_python")
    gone = compiled("of_another_torch")
    link("fits.so", fits, *usual)
    link("old-abi.so", compiled("fits", abi=False), *usual)
    link("links-nothing.so", fits)
    link("without-python.so", python, *usual)
    link("with-python.so", python, *usual, "-ltorch_python")
    link("of-another-torch.so", fits, gone, *usual)
    link("libhelper.so", gone, *usual)
    link("needs-a-broken-helper.so", fits, built["libhelper.so"], *usual)
    link("libgone.so", gone)
    link("needs-a-library-that-is-gone.so", fits, built["libgone.so"], *usual)
    built.pop("libgone.so").unlink()
    return built


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH or shutil.which("g++") is None, reason="needs torch and g++")
@pytest.mark.parametrize("everything_is_global", [False, True])
def test_extensions_of_the_installed_torch_are_told_in_the_real_loader_s_words(
    extensions: dict[str, Path], tmp_path: Path, *, everything_is_global: bool
) -> None:
    assert TORCH is not None
    environ = {"TORCH_USE_RTLD_GLOBAL": "1"} if everything_is_global else {}
    workshop = Workshop(tmp_path, environ)
    system = System(environ=environ)
    loader = Loader(system, executable=PYTHON)
    torch = TorchLibraries(system, loader, TORCH, (TORCH.parent,))
    TorchImport(torch, MODULE.removeprefix("_C.").removesuffix(".so")).run()

    tried = {name: attempt(system, loader, path) for name, path in extensions.items()}

    real = workshop.real(*map(Scene, extensions.values()), before=None)
    errors = {name: it.error for name, it in tried.items() if isinstance(it, Attempt)}
    assert errors == dict(zip(extensions, real, strict=True))
    broken = {name for name, error in errors.items() if error is not None}
    helped = {"links-nothing.so", "without-python.so"} if everything_is_global else set()
    assert broken == set(extensions) - {"fits.so", "with-python.so"} - helped
