"""The simulated loader against the real one: small libraries, built here and loaded in a child."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from torchkit.machine.ldcache import read_cache
from torchkit.machine.loader import Load, Loader
from torchkit.system import System, Unknown

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None or System().libc() is None,
    reason="needs gcc and the loader of glibc",
)

ASK_THE_LOADER = """
import ctypes, json, sys
answer = {"error": None}
for path in sys.argv[1:]:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        answer["error"] = str(error)
with open("/proc/self/maps") as maps:
    answer["maps"] = sorted({line.split(None, 5)[5].strip() for line in maps if "/" in line})
print(json.dumps(answer))
"""

PYTHON = Path(sys.executable)


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
        options: tuple[str, ...] = (),
        soname: str | None = None,
        code: str | None = None,
    ) -> Path:
        """A library at root/place. It calls nothing: `needs` stay needed all the same."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sequence += 1
        source = self.root / f"source{self.sequence}.c"
        source.write_text(code or f"int unit{self.sequence}(void) {{ return 1; }}\n")
        named = (f"-Wl,-soname,{path.name if soname is None else soname}",) if soname != "" else ()
        command: list[str | Path] = ["gcc", "-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed"]
        command += ["-Wl,--allow-shlib-undefined", *named, "-o", path, source, *needs, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return path

    def versions(self, place: str, *names: str) -> Path:
        """A library that defines these symbol versions, each with a function of its name."""
        script = self.root / f"versions{self.sequence}.map"
        script.write_text("".join(f"{name} {{ global: of_{name}; }};\n" for name in names))
        code = "".join(f"int of_{name}(void) {{ return 1; }}\n" for name in names)
        option = f"-Wl,--version-script={script}"
        return self.library(place, options=(option,), code=code)

    def real(self, *paths: Path | str) -> tuple[str | None, list[str]]:
        """What the real loader says, and every file in the process afterwards."""
        child = subprocess.run(
            [PYTHON, "-I", "-S", "-c", ASK_THE_LOADER, *paths],
            env=self.environ,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        answer = json.loads(child.stdout)
        return answer["error"], answer["maps"]

    def predicted(self, *paths: Path | str) -> tuple[str | None, list[str]]:
        """The same of the simulation."""
        loader = Loader(System(environ=self.environ), executable=PYTHON)
        loads = []
        for path in paths:
            load = loader.load(path)
            assert isinstance(load, Load)
            loads.append(load)
        problems = [load.problems[0].text for load in loads if load.problems]
        kept = [library.path for load in loads if not load.problems for library in load.libraries]
        files = sorted({os.path.realpath(path) for path in kept})
        return (problems[-1] if problems else None), files


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    root = tmp_path.resolve()
    monkeypatch.chdir(root)
    return Workshop(root)


RPATH = "-Wl,--disable-new-dtags"
RUNPATH = "-Wl,--enable-new-dtags"


def _rpath(*folders: str) -> tuple[str, ...]:
    return (RPATH, f"-Wl,-rpath,{':'.join(folders)}")


def _runpath(*folders: str) -> tuple[str, ...]:
    return (RUNPATH, f"-Wl,-rpath,{':'.join(folders)}")


# --- configurations: each builds something and says what is to be loaded


def nothing_needed(w: Workshop) -> list[Path]:
    return [w.library("top.so")]


def a_needed_library_that_is_nowhere(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    top = w.library("top.so", needed)
    needed.unlink()
    return [top]


def a_library_at_the_end_of_a_chain_is_missing(w: Workshop) -> list[Path]:
    end = w.library("lib/libend.so")
    middle = w.library("lib/libmiddle.so", end, options=_runpath("$ORIGIN"))
    top = w.library("top.so", middle, options=_runpath("$ORIGIN/lib"))
    end.unlink()
    return [top]


def two_are_missing_and_the_first_in_breadth_is_named(w: Workshop) -> list[Path]:
    deep, wide = w.library("lib/libdeep.so"), w.library("lib/libwide.so")
    first = w.library("lib/libfirst.so", deep, options=_runpath("$ORIGIN"))
    top = w.library("top.so", first, wide, options=_runpath("$ORIGIN/lib"))
    deep.unlink()
    wide.unlink()
    return [top]


def runpath_with_origin(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def rpath_with_origin_in_braces(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    return [w.library("top.so", needed, options=_rpath("${ORIGIN}/lib"))]


def rpath_serves_the_needs_of_the_needed(w: Workshop) -> list[Path]:
    end = w.library("lib/libend.so")
    middle = w.library("lib/libmiddle.so", end)
    return [w.library("top.so", middle, options=_rpath("$ORIGIN/lib"))]


def runpath_does_not_serve_the_needs_of_the_needed(w: Workshop) -> list[Path]:
    end = w.library("lib/libend.so")
    middle = w.library("lib/libmiddle.so", end)
    return [w.library("top.so", middle, options=_runpath("$ORIGIN/lib"))]


def runpath_of_the_needed_switches_off_the_rpath_above(w: Workshop) -> list[Path]:
    end = w.library("lib/libend.so")
    middle = w.library("lib/libmiddle.so", end, options=_runpath("$ORIGIN/elsewhere"))
    return [w.library("top.so", middle, options=_rpath("$ORIGIN/lib"))]


def library_path_beats_runpath(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    w.library("other/libneeded.so")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def rpath_beats_library_path(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    w.library("other/libneeded.so")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_rpath("$ORIGIN/lib"))]


def library_path_with_empty_and_absent_entries(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    w.environ["LD_LIBRARY_PATH"] = f"/nowhere:;{w.root / 'lib'}//"
    return [w.library("top.so", needed)]


def an_empty_entry_of_library_path_is_the_working_folder(w: Workshop) -> list[Path]:
    needed = w.library("libneeded.so")
    w.environ["LD_LIBRARY_PATH"] = "/nowhere:"
    return [w.library("sub/top.so", needed)]


def library_path_with_origin(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    up = os.path.relpath(w.root, PYTHON.resolve().parent)
    w.environ["LD_LIBRARY_PATH"] = f"$ORIGIN/{up}/lib"
    return [w.library("top.so", needed)]


def a_text_file_in_library_path_is_fatal(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    (w.root / "other").mkdir()
    (w.root / "other/libneeded.so").write_text(
        "GROUP ( libneeded.so.1 ) this is a linker script\n" * 3
    )
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def an_empty_file_in_library_path_is_fatal(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    (w.root / "other").mkdir()
    (w.root / "other/libneeded.so").touch()
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def a_folder_in_the_place_of_a_library_is_fatal(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    (w.root / "other/libneeded.so").mkdir(parents=True)
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def a_dangling_link_is_passed_over(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    (w.root / "other").mkdir()
    (w.root / "other/libneeded.so").symlink_to("nowhere")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def a_link_in_a_circle_ends_the_list_of_folders(w: Workshop) -> list[Path]:
    needed = w.library("third/libneeded.so")
    for name in ("first", "second"):
        (w.root / name).mkdir()
    (w.root / "first/libneeded.so").symlink_to("libneeded.so")
    shutil.copy(needed, w.root / "second/libneeded.so")
    w.environ["LD_LIBRARY_PATH"] = f"{w.root / 'first'}:{w.root / 'second'}"
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/third"))]


def _patched(path: Path, offset: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] = value
    path.write_bytes(data)


def a_library_for_another_processor_is_passed_over(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    _patched(w.library("other/libneeded.so"), 18, 0xB6)
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "other")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def only_a_library_of_32_bits_is_there(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    _patched(needed, 4, 1)
    return [w.library("top.so", w.library("good/libneeded.so"), options=_runpath("$ORIGIN/lib"))]


def the_same_soname_is_taken_from_the_first_that_loads(w: Workshop) -> list[Path]:
    first = w.library("first/libneeded.so")
    second = w.library("second/libneeded.so")
    user = w.library("lib/libuser.so", second, options=_runpath("$ORIGIN/../second"))
    return [w.library("top.so", first, user, options=_runpath("$ORIGIN/first", "$ORIGIN/lib"))]


def a_file_asked_for_by_name_and_by_soname(w: Workshop) -> list[Path]:
    w.library("lib/libplain.so", soname="libplain.so.7")
    by_soname = w.library("lib/libuser.so", w.root / "lib/libplain.so", options=_runpath("$ORIGIN"))
    (w.root / "other").mkdir()
    by_name = w.library("other/libplain.so", soname="libplain.so")
    return [w.library("top.so", by_name, by_soname, options=_runpath("$ORIGIN/lib"))]


def an_earlier_load_satisfies_a_later_one(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    return [needed, w.library("top.so", needed)]


def a_failed_load_leaves_nothing_behind(w: Workshop) -> list[Path]:
    needed, missing = w.library("lib/libneeded.so"), w.library("lib/libmissing.so")
    both = w.library("both.so", needed, missing, options=_runpath("$ORIGIN/lib"))
    missing.unlink()
    return [both, w.library("top.so", needed)]


def the_same_file_under_two_names(w: Workshop) -> list[Path]:
    needed = w.library("lib/libone.so", soname="")
    os.link(needed, w.root / "lib/libtwo.so")
    user = w.library("lib/libuser.so", w.root / "lib/libtwo.so")
    return [w.library("top.so", needed, user, options=_rpath("$ORIGIN/lib"))]


def a_version_that_the_winner_lacks(w: Workshop) -> list[Path]:
    new = w.versions("new/libv.so", "V_1", "V_2")
    code = "int of_V_2(void); int use(void) { return of_V_2(); }\n"
    top = w.library("top.so", new, code=code, options=_runpath("$ORIGIN/new"))
    w.versions("old/libv.so", "V_1")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "old")
    return [top]


def a_version_that_is_there(w: Workshop) -> list[Path]:
    new = w.versions("new/libv.so", "V_1", "V_2")
    code = "int of_V_2(void); int use(void) { return of_V_2(); }\n"
    return [w.library("top.so", new, code=code, options=_runpath("$ORIGIN/new"))]


def a_weak_version_that_the_winner_lacks(w: Workshop) -> list[Path]:
    new = w.versions("new/libv.so", "V_1", "V_2")
    code = (
        "__attribute__((weak)) int of_V_2(void);"
        "int of_V_1(void); int use(void) { return of_V_1() + (of_V_2 ? 1 : 0); }\n"
    )
    top = w.library("top.so", new, code=code, options=_runpath("$ORIGIN/new"))
    w.versions("old/libv.so", "V_1")
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "old")
    return [top]


def a_library_without_versions_satisfies_all(w: Workshop) -> list[Path]:
    new = w.versions("new/libv.so", "V_1", "V_2")
    code = "int of_V_2(void); int use(void) { return of_V_2(); }\n"
    top = w.library("top.so", new, code=code, options=_runpath("$ORIGIN/new"))
    code = 'int puts(const char *); int of_V_2(void) { return puts("2"); }\n'
    w.library("old/libv.so", code=code, options=("-lc",))
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "old")
    return [top]


def a_missing_library_is_named_before_a_missing_version(w: Workshop) -> list[Path]:
    new, gone = w.versions("new/libv.so", "V_1", "V_2"), w.library("new/libgone.so")
    code = "int of_V_2(void); int use(void) { return of_V_2(); }\n"
    top = w.library("top.so", new, gone, code=code, options=_runpath("$ORIGIN/new"))
    w.versions("old/libv.so", "V_1")
    gone.unlink()
    w.environ["LD_LIBRARY_PATH"] = str(w.root / "old")
    return [top]


def a_preloaded_library_is_there_already(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so")
    w.library("other/libneeded.so")
    w.environ["LD_PRELOAD"] = f"{w.root / 'other/libneeded.so'}"
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/lib"))]


def a_path_in_needed_is_not_searched_for(w: Workshop) -> list[Path]:
    needed = w.library("lib/libneeded.so", soname="")
    return [w.library("top.so", needed, options=_runpath("$ORIGIN/other"))]


def a_library_of_the_system_comes_from_the_cache(w: Workshop) -> list[Path]:
    top = w.library("top.so", options=("-l:libz.so.1", "-l:libgcc_s.so.1", "-lc"))
    return [top]


def a_program_cannot_be_loaded(w: Workshop) -> list[Path]:
    source = w.root / "program.c"
    source.write_text("int main(void) { return 0; }\n")
    program = w.root / "program"
    subprocess.run(["gcc", "-o", program, source], check=True, timeout=60)
    return [program]


def a_file_that_is_not_there(w: Workshop) -> list[Path]:
    return [w.root / "nothing.so"]


def an_object_file_cannot_be_loaded(w: Workshop) -> list[Path]:
    source = w.root / "object.c"
    source.write_text("int f(void) { return 0; }\n")
    subprocess.run(["gcc", "-c", "-o", w.root / "object.so", source], check=True, timeout=60)
    return [w.root / "object.so"]


CONFIGURATIONS: list[Callable[[Workshop], list[Path]]] = [
    nothing_needed,
    a_needed_library_that_is_nowhere,
    a_library_at_the_end_of_a_chain_is_missing,
    two_are_missing_and_the_first_in_breadth_is_named,
    runpath_with_origin,
    rpath_with_origin_in_braces,
    rpath_serves_the_needs_of_the_needed,
    runpath_does_not_serve_the_needs_of_the_needed,
    runpath_of_the_needed_switches_off_the_rpath_above,
    library_path_beats_runpath,
    rpath_beats_library_path,
    library_path_with_empty_and_absent_entries,
    an_empty_entry_of_library_path_is_the_working_folder,
    library_path_with_origin,
    a_text_file_in_library_path_is_fatal,
    an_empty_file_in_library_path_is_fatal,
    a_folder_in_the_place_of_a_library_is_fatal,
    a_dangling_link_is_passed_over,
    a_link_in_a_circle_ends_the_list_of_folders,
    a_library_for_another_processor_is_passed_over,
    only_a_library_of_32_bits_is_there,
    the_same_soname_is_taken_from_the_first_that_loads,
    a_file_asked_for_by_name_and_by_soname,
    an_earlier_load_satisfies_a_later_one,
    a_failed_load_leaves_nothing_behind,
    the_same_file_under_two_names,
    a_version_that_the_winner_lacks,
    a_version_that_is_there,
    a_weak_version_that_the_winner_lacks,
    a_library_without_versions_satisfies_all,
    a_missing_library_is_named_before_a_missing_version,
    a_preloaded_library_is_there_already,
    a_path_in_needed_is_not_searched_for,
    a_library_of_the_system_comes_from_the_cache,
    a_program_cannot_be_loaded,
    a_file_that_is_not_there,
    an_object_file_cannot_be_loaded,
]


@pytest.mark.parametrize("build", CONFIGURATIONS, ids=lambda build: build.__name__)
def test_the_simulation_says_what_the_real_loader_says(
    workshop: Workshop, build: Callable[[Workshop], list[Path]]
) -> None:
    paths = build(workshop)

    error, files = workshop.predicted(*paths)

    real_error, real_files = workshop.real(*paths)
    ours = [file for file in files if file.startswith(str(workshop.root))]
    theirs = [file for file in real_files if file.startswith(str(workshop.root))]
    assert error == real_error
    assert ours == theirs
    assert set(files) <= set(real_files)


# --- a program with an RPATH of its own, as conda's Python has

PROGRAM = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) {
    (void)count;
    puts(dlopen(words[1], RTLD_NOW) ? "loaded" : dlerror());
    FILE *maps = fopen("/proc/self/maps", "r");
    for (int c; (c = fgetc(maps)) != EOF;) putchar(c);
    return 0;
}
"""


def _program(w: Workshop, *options: str) -> Path:
    source, program = w.root / "program.c", w.root / "bin/program"
    source.write_text(PROGRAM)
    program.parent.mkdir()
    subprocess.run(["gcc", "-o", program, source, *options, "-ldl"], check=True, timeout=60)
    return program


def _run(w: Workshop, program: Path, path: Path | str) -> tuple[str, str]:
    child = subprocess.run(
        [program, path], env=w.environ, capture_output=True, text=True, timeout=60, check=True
    )
    first, _, maps = child.stdout.partition("\n")
    return first, maps


@pytest.mark.parametrize("kind", [RPATH, RUNPATH], ids=["rpath", "runpath"])
@pytest.mark.parametrize("own", [(), _runpath("$ORIGIN/nowhere")], ids=["plain", "with-runpath"])
def test_the_path_of_the_program_serves_what_it_loads_as_in_the_real_one(
    workshop: Workshop, kind: str, own: tuple[str, ...]
) -> None:
    needed = workshop.library("lib/libneeded.so")
    top = workshop.library("elsewhere/top.so", needed, options=own)
    program = _program(workshop, kind, "-Wl,-rpath,$ORIGIN/../lib")

    load = Loader(System(environ={}), executable=program).load(top)

    first, maps = _run(workshop, program, top)
    assert isinstance(load, Load)
    assert (load.problems[0].text if load.problems else "loaded") == first
    assert (str(needed) in maps) == (not load.problems)


@pytest.mark.parametrize("kind", [RPATH, RUNPATH], ids=["rpath", "runpath"])
def test_a_bare_name_is_found_along_the_program_s_own_path(workshop: Workshop, kind: str) -> None:
    wanted = workshop.library("lib/libwanted.so")
    program = _program(workshop, kind, "-Wl,-rpath,$ORIGIN/../lib")
    loader = Loader(System(environ={}), executable=program)

    found = loader.find("libwanted.so")

    first, maps = _run(workshop, program, "libwanted.so")
    assert first == "loaded"
    assert str(wanted) in maps
    assert found is not None
    assert found.samefile(wanted)
    assert loader.find("libnowhere.so.1") is None


OPENER = """
#include <dlfcn.h>
const char *open_it(const char *path) { return dlopen(path, RTLD_NOW) ? "loaded" : dlerror(); }
"""
CALLER = """
#include <stdio.h>
const char *open_it(const char *path);
int main(int count, char **words) { (void)count; puts(open_it(words[1])); return 0; }
"""


def test_the_rpath_of_who_calls_dlopen_does_not_serve_what_is_opened(workshop: Workshop) -> None:
    needed = workshop.library("lib/libneeded.so")
    top = workshop.library("elsewhere/top.so", needed)
    options = (*_rpath("$ORIGIN/lib"), "-lc", "-ldl")
    python = workshop.library("libpython3.99.so", code=OPENER, options=options)
    source, program = workshop.root / "caller.c", workshop.root / "caller"
    source.write_text(CALLER)
    command: list[str | Path] = ["gcc", "-o", program, source, python, *_runpath("$ORIGIN")]
    subprocess.run(command, check=True, timeout=60)

    load = Loader(System(environ={}), executable=program).load(top)
    found = Loader(System(environ={}), executable=program).load("libneeded.so")

    assert isinstance(load, Load)
    assert isinstance(found, Load)
    assert [problem.text for problem in load.problems] == [_run(workshop, program, top)[0]]
    assert not found.problems
    assert _run(workshop, program, "libneeded.so")[0] == "loaded"


def test_the_reason_and_the_losers_are_told(workshop: Workshop) -> None:
    needed = workshop.library("lib/libneeded.so")
    workshop.library("other/libneeded.so")
    top = workshop.library("top.so", needed, options=_runpath("$ORIGIN/lib"))
    environ = {"LD_LIBRARY_PATH": str(workshop.root / "other")}
    loader = Loader(System(environ=environ), executable=PYTHON)

    load = loader.load(top)
    offers = loader.offers("libneeded.so", needed_by=top)

    assert isinstance(load, Load)
    taken = load.find("libneeded.so")
    assert taken is not None
    assert (taken.why, taken.needed_by) == ("LD_LIBRARY_PATH", str(top))
    assert [offer.why for offer in offers] == ["LD_LIBRARY_PATH", f"RUNPATH of {top}"]
    assert [offer.path.parent.name for offer in offers] == ["other", "lib"]


# --- what cannot be met on this machine: another glibc, another C library, another system


class _Elsewhere(System):
    """This machine, with another C library or system."""

    def __init__(self, *, libc: str | None = None, platform: str = "linux", **environ: str) -> None:
        super().__init__(environ=environ)
        self._libc, self._platform = libc, platform

    def libc(self) -> str | None:
        return self._libc

    @property
    def platform(self) -> str:
        return self._platform


@pytest.mark.parametrize(
    ("system", "refused"),
    [
        (_Elsewhere(libc="glibc 2.40"), False),
        (_Elsewhere(libc="glibc 2.41"), True),
        (_Elsewhere(libc="glibc 2.41", GLIBC_TUNABLES="glibc.rtld.execstack=2"), False),
    ],
)
def test_an_executable_stack_is_refused_since_glibc_2_41(
    workshop: Workshop, system: System, *, refused: bool
) -> None:
    stack = workshop.library("lib/libstack.so", options=("-Wl,-z,execstack",))
    top = workshop.library("top.so", stack, options=_runpath("$ORIGIN/lib"))

    load = Loader(system, executable=PYTHON).load(top)

    # the text as in https://github.com/OpenNMT/CTranslate2/issues/1849
    text = "libstack.so: cannot enable executable stack as shared object requires: Invalid argument"
    assert isinstance(load, Load)
    assert [problem.text for problem in load.problems] == ([text] if refused else [])


def test_the_loaders_of_other_systems_are_not_simulated(workshop: Workshop) -> None:
    top = workshop.library("top.so")
    program = _program(workshop, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")

    for loader in (
        Loader(System(), executable=program),
        Loader(_Elsewhere(libc=None), executable=None),
        Loader(_Elsewhere(libc=None, platform="darwin"), executable=PYTHON),
    ):
        assert isinstance(loader.load(top), Unknown)


def test_a_program_that_is_a_script_is_taken_for_one_that_needs_nothing(workshop: Workshop) -> None:
    script = workshop.root / "python"
    script.write_text("#!/bin/sh\nexec python3\n")
    top = workshop.library("top.so")

    load = Loader(System(), executable=script).load(top)

    assert isinstance(load, Load)
    assert load.problems == ()


# --- the cache of ldconfig

LDCONFIG = shutil.which("ldconfig") or shutil.which("ldconfig", path="/usr/sbin:/sbin")


@pytest.mark.skipif(LDCONFIG is None, reason="needs ldconfig")
@pytest.mark.parametrize("form", ["new", "compat"])
def test_a_cache_says_what_ldconfig_prints_of_it(workshop: Workshop, form: str) -> None:
    for name in ("libone.so.1", "libtwo.so.2", "libthree.so.3"):
        workshop.library(f"lib/{name}")
    conf, cache = workshop.root / "ld.so.conf", workshop.root / "ld.so.cache"
    conf.write_text(f"{workshop.root / 'lib'}\n")
    command: list[str | Path] = [str(LDCONFIG), "-c", form, "-X", "-f", conf, "-C", cache]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    paths = read_cache(cache.read_bytes(), machine=System().architecture)

    printed = subprocess.run(
        [str(LDCONFIG), "-p", "-C", cache], capture_output=True, text=True, timeout=60, check=True
    )
    lines = [line.split() for line in printed.stdout.splitlines() if " => " in line]
    assert paths["libtwo.so.2"] == str(workshop.root / "lib/libtwo.so.2")
    assert set(paths) == {line[0] for line in lines}
    assert set(paths.values()) <= {line[-1] for line in lines}


@pytest.mark.skipif(LDCONFIG is None, reason="needs ldconfig")
def test_a_copy_for_this_cpu_is_taken_only_where_the_cpu_can_run_it(workshop: Workshop) -> None:
    workshop.library("lib/libfast.so.1")
    workshop.library("lib/glibc-hwcaps/x86-64-v3/libfast.so.1")
    conf, cache = workshop.root / "ld.so.conf", workshop.root / "ld.so.cache"
    conf.write_text(f"{workshop.root / 'lib'}\n")
    command: list[str | Path] = [str(LDCONFIG), "-X", "-f", conf, "-C", cache]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    data = cache.read_bytes()
    if b"x86-64-v3" not in data:
        pytest.skip("this ldconfig knows no glibc-hwcaps")

    for levels, folder in ((("x86-64-v3", "x86-64-v2"), "x86-64-v3"), (("x86-64-v2",), "lib")):
        paths = read_cache(data, machine=System().architecture, levels=levels)

        assert Path(paths["libfast.so.1"]).parent.name == folder


def test_a_damaged_cache_is_no_reason_to_stop() -> None:
    data = Path("/etc/ld.so.cache").read_bytes() if Path("/etc/ld.so.cache").exists() else b""
    dice = random.Random(1)  # noqa: S311 - the same damage every time, no secret
    whole = read_cache(data, machine=System().architecture)

    for _ in range(100):
        damaged = bytearray(data[: dice.randrange(len(data) + 1)])
        for _ in range(min(8, len(damaged))):
            damaged[dice.randrange(min(len(damaged), 2048))] = dice.randrange(256)
        read_cache(bytes(damaged), machine=System().architecture)

    assert len(whole) > 0 or not data


# --- damaged files


def test_loading_damaged_libraries_never_raises_and_takes_no_time(workshop: Workshop) -> None:
    needed = workshop.library("lib/libneeded.so")
    top = workshop.library("top.so", needed, options=_runpath("$ORIGIN/lib"))
    whole = {path: path.read_bytes() for path in (needed, top)}
    dice = random.Random(2)  # noqa: S311 - the same damage every time, no secret
    started = time.process_time()
    failed = 0
    for _ in range(200):
        for path, data in whole.items():
            damaged = bytearray(data)
            for _ in range(dice.choice((0, 1, 8))):
                damaged[dice.randrange(dice.choice((64, 1024, len(data))))] = dice.randrange(256)
            path.write_bytes(damaged)

        load = Loader(System(environ={}), executable=PYTHON).load(top)

        assert isinstance(load, Load)
        failed += bool(load.problems)

    assert 20 < failed < 200
    assert time.process_time() - started < 20
