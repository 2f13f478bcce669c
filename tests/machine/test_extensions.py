"""Compiled modules: that they are found wherever they are installed, and what is said of each.

The torch here is a stub of a few libraries, built by gcc; functions carry C++ names as the linker
writes them. The truth about an error is `ctypes.CDLL` in a child that has loaded the same torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from torchkit.errors import BadInput
from torchkit.machine.distributions import Packages
from torchkit.machine.extension_files import compiled_files
from torchkit.machine.extensions import extension_facts
from torchkit.machine.facts import Extension, Unknown
from torchkit.machine.interpreter import Interpreter, own_interpreter
from torchkit.machine.libtorch import torch_process
from torchkit.machine.survey import Asked, survey
from torchkit.system import System
from torchkit.versions import Version

TAG = str(sysconfig.get_config_var("SOABI"))
OTHER_TAG = TAG.replace(f"{sys.version_info[0]}{sys.version_info[1]}", "37m", 1)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or System().libc() is None or shutil.which("gcc") is None,
    reason="needs gcc and the loader of glibc",
)

STRING = "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
CHECK_NEW = f"_ZN3c106detail14torchCheckFailEPKcS2_j{STRING}"
CHECK_OLD = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
WARN = "_ZN3c104warnEv"
DIM = "aoti_torch_get_dim"
IMPL = "torch_library_impl"
NEWER = "torch_new_function_v2_99"

ORIGIN = ("-Wl,-rpath,$ORIGIN",)


def compiled(
    path: Path,
    *,
    defines: Sequence[str] = (),
    uses: Sequence[str] = (),
    needs: Sequence[Path] = (),
    options: Sequence[str] = (),
) -> Path:
    """A shared object that defines some functions and calls others, linked with these libraries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = "".join(f"int {name}(void) {{ return 1; }}\n" for name in defines)
    source += "".join(f"int {name}(void);\n" for name in uses)
    own = f"use_{abs(hash(str(path)))}"
    source += f"int {own}(void) {{ return 0{''.join(f' + {name}()' for name in uses)}; }}\n"
    command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o", str(path)]
    command += [f"-Wl,-soname,{path.name}", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]
    command += ["-x", "none", *(str(it) for it in needs), *options]
    subprocess.run(command, input=source, text=True, check=True, timeout=60)
    return path


def stub_torch(site: Path) -> Path:
    """A torch of the new C++ ABI for the CPU, as far as the loader looks at it."""
    folder = site / "torch"
    lib = folder / "lib"
    c10 = compiled(lib / "libc10.so", defines=[CHECK_NEW, WARN])
    cpu = compiled(lib / "libtorch_cpu.so", defines=[DIM, IMPL], needs=[c10], options=ORIGIN)
    torch = compiled(lib / "libtorch.so", needs=[cpu], options=ORIGIN)
    compiled(lib / "libtorch_global_deps.so")
    python = compiled(lib / "libtorch_python.so", needs=[torch, cpu, c10], options=ORIGIN)
    compiled(folder / f"_C.{TAG}.so", needs=[python], options=["-Wl,-rpath,$ORIGIN/lib"])
    (folder / "__init__.py").write_text("# libtorch_global_deps\n")
    (folder / "version.py").write_text("__version__ = '2.13.0+cpu'\n")
    return folder


@pytest.fixture(scope="session")
def built_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_torch(tmp_path_factory.mktemp("stub"))


@dataclass
class Place:
    """A site-packages with that torch in it."""

    site: Path
    environ: dict[str, str] = field(default_factory=dict)
    path: tuple[Path, ...] = ()
    torch_is_there: bool = True
    tag: str = TAG
    free_threaded: bool = False

    @property
    def lib(self) -> Path:
        return self.site / "torch" / "lib"

    def library(self, name: str) -> Path:
        return self.lib / name

    def install(
        self,
        name: str,
        *files: str,
        version: str = "1.0",
        record: str | None = None,
        requires: Sequence[str] = (),
    ) -> Path:
        """A distribution's metadata with these files in its RECORD."""
        folder = self.site / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = [f"{file},sha256=x,1" for file in files]
        (folder / "RECORD").write_text(record if record is not None else "\n".join(lines))
        header = f"Metadata-Version: 2.1\nName: {name}\n"
        header += "".join(f"Requires-Dist: {it}\n" for it in requires)
        (folder / "METADATA").write_text(header)
        return folder

    def interpreter(self) -> Interpreter:
        torch = self.site / "torch" / "__init__.py"
        return Interpreter(
            executable=Path(sys.executable),
            version=Version("3.11.7"),
            prefix=self.site,
            tag=self.tag,
            free_threaded=self.free_threaded,
            path=(self.site, *self.path),
            torch=torch if self.torch_is_there else None,
        )

    def fact(self, *asked: str, problems: Any = (), system: System | None = None) -> Any:
        system = system or System(environ=self.environ)
        interpreter = self.interpreter()
        process = torch_process(
            system,
            torch_folder=self.site / "torch" if self.torch_is_there else None,
            python_executable=interpreter.executable,
            python_tag=self.tag,
            search_path=interpreter.path,
        )
        packages = Packages(system, interpreter.package_folders)
        told = extension_facts(process, interpreter, packages, problems=problems, asked=asked)
        return told["extensions"]

    def only(self, *asked: str) -> Extension:
        (extension,) = self.fact(*asked)
        assert isinstance(extension, Extension)
        return extension

    def really_load(self, path: Path | str, *, first: Sequence[Path] = ()) -> str | None:
        """What `ctypes.CDLL` says of it once this torch is loaded; None when it loads.

        `first` are loaded before, with RTLD_GLOBAL, as a package's Python code would.
        """
        code = (
            "import ctypes, sys\n"
            "deps, module, path, *first = sys.argv[1:]\n"
            "ctypes.CDLL(deps, mode=ctypes.RTLD_GLOBAL); ctypes.CDLL(module)\n"
            "for it in first: ctypes.CDLL(it, mode=ctypes.RTLD_GLOBAL)\n"
            "try: ctypes.CDLL(path)\n"
            "except OSError as error: print(error)\n"
        )
        module = self.site / "torch" / f"_C.{TAG}.so"
        child = subprocess.run(
            [sys.executable, "-c", code, self.library("libtorch_global_deps.so"), module, path]
            + [str(it) for it in first],
            env={**self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return child.stdout.strip() or None


@pytest.fixture
def place(tmp_path: Path, built_torch: Path) -> Place:
    site = tmp_path.resolve() / "site-packages"
    site.mkdir()
    (site / "torch").symlink_to(built_torch)
    return Place(site)


# --- what the loader says of one


def test_a_module_that_finds_everything_loads(place: Place) -> None:
    needs = [place.library("libtorch.so"), place.library("libc10.so")]
    path = compiled(place.site / f"ops/_C.{TAG}.so", uses=[CHECK_NEW, WARN], needs=needs)
    place.install("ops", f"ops/{path.name}")

    extension = place.only()

    assert place.really_load(path) is None
    assert extension == Extension(
        path=str(path),
        package="ops",
        version="1.0",
        uses_torch=True,
        stable_abi=False,
    )


def test_missing_libraries_are_told_as_the_loader_tells_the_first(place: Place) -> None:
    cuda = compiled(place.site / "gone/libc10_cuda.so")
    more = compiled(place.site / "gone/libtorch_cuda.so")
    needs = [place.library("libc10.so"), cuda, more]
    path = compiled(place.site / "ops/_C.so", needs=needs)
    shutil.rmtree(place.site / "gone")
    place.install("ops", "ops/_C.so")

    extension = place.only()

    assert extension.error == place.really_load(path)
    assert extension.error is not None
    assert extension.error.startswith("libc10_cuda.so: cannot open shared object file")
    assert extension.missing_library == "libc10_cuda.so"
    assert extension.missing_libraries == ("libc10_cuda.so", "libtorch_cuda.so")
    assert extension.other_abi is None


def test_names_that_torch_lacks_are_told_as_the_loader_tells_the_first(place: Place) -> None:
    gone = ["_ZN2at4gone1Ev", "_ZN2at4gone2Ev"]
    path = compiled(
        place.site / "ops/_C.so", uses=[*gone, WARN], needs=[place.library("libc10.so")]
    )
    place.install("ops", "ops/_C.so")

    extension = place.only()

    assert extension.error == place.really_load(path)
    assert extension.error == f"{path}: undefined symbol: {extension.missing_symbols[0]}"
    assert set(extension.missing_symbols) == set(gone)
    assert extension.missing_symbol_count == 2
    assert extension.other_abi is False


def test_names_with_the_string_of_the_other_abi_are_told_from_names_of_another_version(
    place: Place,
) -> None:
    c10 = place.library("libc10.so")
    compiled(place.site / "old/_C.so", uses=[CHECK_OLD], needs=[c10])
    compiled(place.site / "newer/_C.so", uses=[f"_ZN3c104goneE{STRING}"], needs=[c10])
    compiled(place.site / "plain/_C.so", uses=["_ZN3c104goneEv"], needs=[c10])
    for name in ("old", "newer", "plain"):
        place.install(name, f"{name}/_C.so")

    told = {it.package: it.other_abi for it in place.fact()}

    assert told == {"old": True, "newer": False, "plain": False}


def test_more_missing_names_than_anybody_reads_are_counted(place: Place) -> None:
    gone = [f"_ZN2at5gone{number:02}Ev" for number in range(30)]
    gone = [name.replace("5gone", "6gone") for name in gone]
    compiled(place.site / "ops/_C.so", uses=gone, needs=[place.library("libc10.so")])
    place.install("ops", "ops/_C.so")

    extension = place.only()

    assert extension.missing_symbol_count == 30
    assert len(extension.missing_symbols) == 20
    assert set(extension.missing_symbols) < set(gone)


def test_a_module_of_the_stable_abi_is_found_whether_or_not_it_needs_libtorch(
    place: Place,
) -> None:
    cpu = [place.library("libtorch_cpu.so")]
    paths = {
        "fits": compiled(place.site / "fits/_C.abi3.so", uses=[DIM, IMPL], needs=cpu),
        "newer": compiled(place.site / "newer/_C.abi3.so", uses=[DIM, NEWER], needs=cpu),
        "alone": compiled(place.site / "alone/_C.abi3.so", uses=[DIM, IMPL]),
        "mixed": compiled(place.site / "mixed/_C.abi3.so", uses=[DIM, WARN], needs=cpu),
    }
    for name in paths:
        place.install(name, f"{name}/_C.abi3.so")

    told = {it.package: it for it in place.fact()}

    assert {name: told[name].stable_abi for name in paths} == {
        "fits": True,
        "newer": True,
        "alone": True,
        "mixed": False,
    }
    assert told["fits"].error is None
    assert told["newer"].missing_symbols == (NEWER,)
    assert {name: told[name].error for name in paths} == {
        name: place.really_load(path) for name, path in paths.items()
    }


def test_a_module_of_another_python_is_named_as_python_would(place: Place) -> None:
    path = compiled(
        place.site / f"ops/_C.{OTHER_TAG}.so",
        defines=["PyInit__C"],
        needs=[place.library("libc10.so")],
    )
    (place.site / "ops/__init__.py").touch()
    place.install("ops", f"ops/{path.name}")

    extension = place.only()

    child = subprocess.run(
        [sys.executable, "-c", "import ops._C"],
        env={"PYTHONPATH": str(place.site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.stderr.splitlines()[-1] == f"ModuleNotFoundError: {extension.error}"
    assert extension.error == "No module named 'ops._C'"
    assert extension.built_for_python == "3.7m"


@pytest.mark.parametrize("beside", [f"_C.{TAG}.so", "_C.abi3.so", "_C.so"])
def test_a_module_of_another_python_does_no_harm_beside_one_for_this(
    place: Place, beside: str
) -> None:
    c10 = place.library("libc10.so")
    for name in (f"_C.{OTHER_TAG}.so", beside):
        compiled(place.site / "ops" / name, defines=["PyInit__C"], needs=[c10])
    place.install("ops", f"ops/_C.{OTHER_TAG}.so", f"ops/{beside}")

    extension = place.only()

    assert extension.path.endswith(beside)
    assert extension.error is None


def test_a_python_without_the_gil_takes_no_abi3_module(place: Place) -> None:
    place.free_threaded = True
    place.tag = "cpython-313t-x86_64-linux-gnu"
    c10 = place.library("libc10.so")
    compiled(place.site / "ops/_C.abi3.so", defines=["PyInit__C"], needs=[c10])
    place.install("ops", "ops/_C.abi3.so")

    assert [it.built_for_python for it in place.fact() if it.package == "ops"] == ["abi3"]


def test_a_library_that_is_loaded_by_its_path_goes_with_every_python(place: Place) -> None:
    """As torchao's `_C_mxfp8.cpython-310-….so` does, which is no module."""
    path = compiled(place.site / f"ops/_C.{OTHER_TAG}.so", needs=[place.library("libc10.so")])
    place.install("ops", f"ops/{path.name}")

    extension = place.only()

    assert place.really_load(path) is None
    assert (extension.error, extension.built_for_python) == (None, None)


def test_what_other_packages_bring_is_not_missing_along_a_chain_of_builds(place: Place) -> None:
    """As featomic-torch needs a library of metatomic-torch, and that one of metatensor-core."""
    c10 = place.library("libc10.so")
    base = compiled(place.site / "core/lib/libcore.so", defines=["core"])
    for release, names in (("2.3", ["_ZN3c104goneEv"]), ("2.13", [])):
        inner = place.site / f"inner/torch-{release}/lib/libinner.so"
        compiled(inner, uses=["core", *names], needs=[base, c10])
        compiled(place.site / f"outer/torch-{release}/lib/libouter.so", needs=[inner, c10])
    place.install("core", "core/lib/libcore.so")
    for name in ("inner", "outer"):
        files = [f"{name}/torch-{release}/lib/lib{name}.so" for release in ("2.3", "2.13")]
        requires = {"inner": ["core>=1"], "outer": ["inner", "torch"]}[name]
        place.install(name, *files, requires=requires)

    told = {it.path.removeprefix(f"{place.site}/"): it for it in place.fact()}

    assert {path.rpartition("/lib/")[0]: it.error is None for path, it in told.items()} == {
        "inner/torch-2.3": False,
        "inner/torch-2.13": True,
        "outer/torch-2.3": False,
        "outer/torch-2.13": True,
    }
    assert told["outer/torch-2.3/lib/libouter.so"].missing_library == "libinner.so"
    inner, core = (str(place.site / it) for it in ("inner/torch-2.13/lib/libinner.so", base))
    assert told["outer/torch-2.13/lib/libouter.so"].loaded_first == (core, inner)


def test_what_one_package_loads_is_not_there_for_the_next(place: Place) -> None:
    """Two packages with a module each, of which only the first has the library that both need."""
    c10 = place.library("libc10.so")
    shared = compiled(place.site / "apkg/libshared_x.so", defines=["shared"])
    paths = {
        name: compiled(place.site / name / "_C.so", uses=["shared"], needs=[shared, c10])
        for name in ("apkg", "bpkg")
    }
    place.install("apkg", "apkg/libshared_x.so", "apkg/_C.so")
    place.install("bpkg", "bpkg/_C.so")

    told = {it.package: it for it in place.fact()}

    assert place.really_load(paths["apkg"], first=[shared]) is None
    assert (told["apkg"].error, told["apkg"].loaded_first) == (None, (str(shared),))
    assert told["bpkg"].error == place.really_load(paths["bpkg"])
    assert told["bpkg"].missing_library == "libshared_x.so"


def test_names_of_a_package_that_is_required_are_not_missing_only_there(place: Place) -> None:
    """As transformer-engine-torch uses libtransformer_engine.so of transformer-engine-cu12."""
    core = compiled(place.site / "core/libcore.so", defines=["core_function"])
    c10 = place.library("libc10.so")
    for name in ("friend", "stranger"):
        compiled(place.site / f"{name}/_C.so", uses=["core_function"], needs=[c10])
    place.install("core", "core/libcore.so")
    place.install("middle", requires=["core==1.0"])
    place.install("friend", "friend/_C.so", requires=["middle[cu13] ; python_version > '3'"])
    place.install("stranger", "stranger/_C.so")

    told = {it.package: it for it in place.fact()}

    assert place.really_load(place.site / "friend/_C.so", first=[core]) is None
    assert (told["friend"].error, told["friend"].loaded_first) == (None, (str(core),))
    assert told["stranger"].error == place.really_load(place.site / "stranger/_C.so")
    assert told["stranger"].missing_symbols == ("core_function",)


@pytest.mark.parametrize("name", ["libcudart.so.11.0", "libtorch_cuda.so"])
def test_a_copy_of_cuda_that_another_package_keeps_is_not_for_everyone(
    place: Place, name: str
) -> None:
    copy = compiled(place.site / "other/lib" / name)
    path = compiled(place.site / "ops/_C.so", needs=[copy, place.library("libc10.so")])
    place.install("other", f"other/lib/{name}")
    place.install("ops", "ops/_C.so")

    extension = place.only()

    assert extension.missing_library == name
    assert extension.error == place.really_load(path)


def test_names_of_a_sibling_that_cannot_be_loaded_stay_missing(place: Place) -> None:
    """As in torch-npu, whose libraries all need one of Ascend's in the end."""
    c10 = place.library("libc10.so")
    gone = compiled(place.site / "gone/libhccl.so")
    compiled(place.site / "ops/libops.so", defines=["ops_base"], needs=[gone, c10])
    path = compiled(place.site / "ops/libprofiler.so", uses=["ops_base", "ops_log"], needs=[c10])
    shutil.rmtree(place.site / "gone")
    place.install("ops", "ops/libops.so", "ops/libprofiler.so")

    told = {Path(it.path).name: it for it in place.fact()}

    assert told["libprofiler.so"].error == place.really_load(path)
    assert set(told["libprofiler.so"].missing_symbols) == {"ops_base", "ops_log"}


@pytest.mark.parametrize(
    ("wheel", "installer", "built_here"),
    [
        ("Root-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n", "pip", True),
        ("Tag: cp39-abi3-manylinux_2_17_x86_64\nTag: cp39-abi3-manylinux2014_x86_64", "uv", False),
        ("Tag: py3-none-any\r\n", "pip", False),
        ("Tag: cp311-cp311-linux_x86_64\n", "conda", None),
        ("no tag", "pip", None),
    ],
)
def test_the_tag_of_its_wheel_tells_where_a_package_was_compiled(
    place: Place, wheel: str, installer: str, built_here: bool | None
) -> None:
    compiled(place.site / "ops/_C.so", needs=[place.library("libc10.so")])
    metadata = place.install("ops", "ops/_C.so")
    (metadata / "WHEEL").write_text(wheel)
    (metadata / "INSTALLER").write_text(f"{installer}\n")

    assert place.only().built_here is built_here


def test_what_a_package_loads_itself_before_is_not_missing(place: Place) -> None:
    c10 = place.library("libc10.so")
    base = compiled(place.site / "ops/lib/libops_base.so", defines=["ops_base"], needs=[c10])
    compiled(place.site / "ops/_C.so", uses=["ops_base"], needs=[base, c10])
    compiled(place.site / "ops/_D.so", uses=["ops_base"], needs=[c10])
    place.install("ops", "ops/lib/libops_base.so", "ops/_C.so", "ops/_D.so")

    told = {Path(it.path).name: it.error for it in place.fact()}

    assert told == {"libops_base.so": None, "_C.so": None, "_D.so": None}


def test_what_a_package_cannot_load_itself_stays_missing(place: Place) -> None:
    c10 = place.library("libc10.so")
    base = compiled(place.site / "ops/lib/libops_base.so", uses=["_ZN3c104goneEv"], needs=[c10])
    path = compiled(place.site / "ops/_C.so", needs=[base, c10])
    place.install("ops", "ops/lib/libops_base.so", "ops/_C.so")

    told = {Path(it.path).name: it for it in place.fact()}

    assert told["_C.so"].error == place.really_load(path)
    assert told["_C.so"].missing_library == "libops_base.so"


def test_what_a_package_says_of_itself_is_told(place: Place) -> None:
    c10 = place.library("libc10.so")
    cudart = compiled(place.site / "gone/libcudart.so.12")
    for name in ("flash_attn", "xformers", "pinned"):
        compiled(place.site / name / "_C.so", needs=[c10, cudart])
    version = "2.7.4+cu12torch2.6cxx11abiFALSE"
    place.install("flash_attn", "flash_attn/_C.so", version=version)
    place.install("xformers", "xformers/_C.so", version="0.0.28")
    built = {"version": {"torch": "2.5.1+cu121", "cuda": 1201}}
    (place.site / "xformers/cpp_lib.json").write_text(json.dumps(built))
    metadata = place.install("pinned", "pinned/_C.so")
    (metadata / "METADATA").write_text("Name: pinned\nRequires-Dist: torch==2.4.0\n\n")

    told = {it.package: (it.version, it.built_for_torch, it.built_for_cuda) for it in place.fact()}

    assert told == {
        "flash-attn": (version, "2.6", "12"),
        "xformers": ("0.0.28", "2.5.1+cu121", "12.1"),
        "pinned": ("1.0", "2.4.0", "12"),
    }


# --- where they are found


def module(place: Place, path: Path) -> Path:
    return compiled(path, needs=[place.library("libc10.so")])


def test_a_list_with_quotes_and_commas_is_read_as_csv(place: Place) -> None:
    name = 'ops/a, "b"/_C.so'
    module(place, place.site / name)
    quoted = name.replace('"', '""')
    place.install("ops", record=f'ops/__init__.py,,\r\n"{quoted}",sha256=x,1\r\nops/x.so.txt,,\r\n')

    assert place.only().path == str(place.site / name)


def test_a_file_that_is_listed_and_gone_is_told_where_its_package_needs_torch(
    place: Place,
) -> None:
    files = ("_C.so", "../../../outside/_C.so")
    place.install("ops", f"ops/{files[0]}", files[1], requires=["numpy", "torch>=2"])
    place.install("torchvision", f"torchvision/{files[0]}")
    place.install("other", f"other/{files[0]}", requires=["torch ; extra == 'nn'", "torchdata"])

    told = {it.package: it for it in place.fact()}

    assert set(told) == {"ops", "torchvision"}
    for name, extension in told.items():
        path = place.site / name / "_C.so"
        assert extension.path == str(path)
        assert extension.error == place.really_load(path)
        assert extension.missing_library is None


@pytest.mark.parametrize("size", [0, 20, 100, 900, 5000, -1])
def test_a_file_that_is_cut_off_is_told_where_its_package_needs_torch(
    place: Place, size: int
) -> None:
    whole = module(place, place.site / "ops/_C.so").read_bytes()
    (place.site / "other").mkdir()
    for name in ("ops", "other"):
        (place.site / name / "_C.so").write_bytes(whole[:size])
    place.install("ops", "ops/_C.so", requires=["torch"])
    place.install("other", "other/_C.so")

    told = [it for it in place.fact() if it.package == "ops"]

    (extension,) = told
    assert extension.error is not None or extension.unknown is not None or size == -1
    if 0 <= size <= 100:
        assert extension.error == place.really_load(place.site / "ops/_C.so")


def test_texts_and_files_of_other_systems_are_not_taken_for_damaged_ones(place: Place) -> None:
    (place.site / "ops").mkdir()
    contents = {
        "script.so": b"/* GNU ld script */\nINPUT(libtorch.so)\n",
        "windows.so": b"MZ\x90\0\x03",
        "mac.so": b"\xcf\xfa\xed\xfe\x07\0",
        "zeros.so": b"\0" * 5000,
        "lfs.so": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    }
    for name, content in contents.items():
        (place.site / "ops" / name).write_bytes(content)
    place.install("ops", *(f"ops/{name}" for name in contents), requires=["torch"])

    told = {Path(it.path).name: it.error for it in place.fact()}

    assert set(told) == {"zeros.so", "lfs.so"}
    assert told == {name: place.really_load(place.site / "ops" / name) for name in told}


def test_names_of_torch_are_looked_for_though_a_library_of_another_kind_is_missing(
    place: Place,
) -> None:
    """As torchcodec 0.2 lacks FFmpeg, and this torch lacks names of its own."""
    c10 = place.library("libc10.so")
    film = compiled(place.site / "gone/libavutil.so.56", defines=["film"])
    uses = {"old": ["film", CHECK_OLD, WARN], "new": ["film", CHECK_NEW, WARN]}
    for name, names in uses.items():
        compiled(place.site / name / "_C.so", uses=names, needs=[film, c10])
        place.install(name, f"{name}/_C.so")
    film.rename(place.site / "libavutil.so.56.put-aside")

    told = {it.package: it for it in place.fact()}

    for name in uses:
        assert told[name].error == place.really_load(place.site / name / "_C.so")
        assert told[name].missing_library == "libavutil.so.56"
    assert told["old"].missing_of_torch == told["old"].missing_strings == (CHECK_OLD,)
    assert told["new"].missing_of_torch == ()


def test_a_file_for_another_cpu_says_for_which(place: Place, tmp_path: Path) -> None:
    path = module(place, tmp_path / "_C.so")
    data = bytearray(path.read_bytes())
    own = int.from_bytes(data[18:20], "little")
    data[18:20] = (183 if own != 183 else 62).to_bytes(2, "little")
    path.write_bytes(data)

    extension = place.only(str(path))

    assert extension.error == place.really_load(path)
    assert extension.built_for_machine == ("aarch64" if own != 183 else "x86_64")


def test_a_file_that_is_asked_for_is_told_though_one_for_this_python_lies_beside_it(
    place: Place, tmp_path: Path
) -> None:
    c10 = place.library("libc10.so")
    other = compiled(tmp_path / f"_C.{OTHER_TAG}.so", defines=["PyInit__C"], needs=[c10])
    compiled(tmp_path / "_C.so", defines=["PyInit__C"], needs=[c10])

    assert place.only(str(other)).built_for_python == "3.7m"


def test_a_file_under_two_names_is_told_once(place: Place) -> None:
    module(place, place.site / "ops/libops.so.1")
    (place.site / "ops/libops.so").symlink_to("libops.so.1")
    place.install("ops", "ops/libops.so", "ops/libops.so.1")

    assert place.only().path == str(place.site / "ops/libops.so")


def test_a_compiled_file_that_has_nothing_to_do_with_torch_is_none(place: Place) -> None:
    compiled(place.site / "other/_C.so", defines=["torch_like_name", "c10"])
    compiled(place.site / "other/_D.so", needs=[compiled(place.site / "other/libtorchlike.so")])
    (place.site / "other/_E.so").write_text("libtorch.so")
    place.install("other", "other/_C.so", "other/_D.so", "other/_E.so")

    assert place.fact() == ()


def test_torch_itself_and_what_it_brings_are_none(place: Place) -> None:
    module(place, place.site / "functorch/_C.so")
    place.install("torch", "torch/lib/libtorch_python.so", "functorch/_C.so", version="2.13.0")
    place.install("odd", "torch/lib/libtorch_cpu.so")

    assert place.fact() == ()


def test_an_egg_with_a_list_of_files_is_read(place: Place) -> None:
    module(place, place.site / "ops/_C.so")
    egg = place.site / "ops-1.0-py3.11.egg-info"
    egg.mkdir()
    (egg / "installed-files.txt").write_text("../ops/__init__.py\n../ops/_C.so\nPKG-INFO\n")

    assert place.only().package == "ops"
    assert place.only().path == str(place.site / "ops/_C.so")


def test_a_package_without_a_list_of_files_is_looked_through(place: Place) -> None:
    """As conda leaves it, with a link that leads back up."""
    module(place, place.site / "opslib/inner/_C.so")
    (place.site / "opslib/inner/up").symlink_to("..")
    egg = place.site / "ops-1.0.egg-info"
    egg.mkdir()
    (egg / "top_level.txt").write_text("opslib\n")

    assert place.only().path == str(place.site / "opslib/inner/_C.so")


def test_an_egg_folder_is_looked_through(place: Place) -> None:
    egg = place.site / "ops-1.0-py3.11.egg"
    module(place, egg / "ops/_C.so")
    (egg / "EGG-INFO").mkdir()
    place.path = (egg,)

    assert place.only().package == "ops"


@pytest.mark.parametrize("kind", ["path file", "finder"])
def test_an_editable_install_is_found_in_its_source_tree(
    place: Place, tmp_path: Path, kind: str
) -> None:
    tree = tmp_path.resolve() / "tree"
    module(place, tree / f"src/ops/_C.{TAG}.so")
    module(place, tree / f"src/ops_cuda.{TAG}.so")
    module(place, tree / "build/lib/ops/_C.so")
    if kind == "path file":
        name = "__editable__.ops-1.0.pth"
        (place.site / name).write_text(f"{tree / 'src'}\n")
        place.path = (tree / "src",)
    else:
        name = "__editable___ops_1_0_finder.py"
        folders = {it: str(tree / "src" / it) for it in ("ops", "ops_cuda")}
        (place.site / name).write_text(f"MAPPING: dict[str, str] = {folders!r}\n")
    metadata = place.install("ops", name)
    (metadata / "top_level.txt").write_text("ops\nops_cuda\n")
    direct = {"url": f"file://{tree}", "dir_info": {"editable": True}}
    (metadata / "direct_url.json").write_text(json.dumps(direct))

    told = place.fact()

    assert {it.path for it in told} == {
        str(tree / f"src/ops/_C.{TAG}.so"),
        str(tree / f"src/ops_cuda.{TAG}.so"),
    }
    assert {it.package for it in told} == {"ops"}
    assert {it.origin for it in told} == {str(tree)}


def test_a_develop_install_belongs_to_the_metadata_in_its_tree(
    place: Place, tmp_path: Path
) -> None:
    tree = tmp_path.resolve() / "tree"
    module(place, tree / f"ops_cuda.{TAG}.so")
    (tree / "ops.egg-info").mkdir()
    (tree / "ops.egg-info/PKG-INFO").write_text("Name: ops\nVersion: 0.3\n\n")
    (tree / "setup.py").touch()
    place.path = (tree,)

    extension = place.only()

    assert (extension.package, extension.version, extension.origin) == ("ops", "0.3", str(tree))


def test_a_package_from_a_repository_tells_its_address(place: Place) -> None:
    module(place, place.site / "ops/_C.so")
    metadata = place.install("ops", "ops/_C.so")
    direct = {"url": "https://example.org/ops", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    (metadata / "direct_url.json").write_text(json.dumps(direct))

    assert place.only().origin == "git+https://example.org/ops@abc"


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"url": 1, "dir_info": 2}', '"x"', "null"])
def test_a_direct_url_that_makes_no_sense_is_passed_over(place: Place, text: str) -> None:
    module(place, place.site / "ops/_C.so")
    metadata = place.install("ops", "ops/_C.so")
    (metadata / "direct_url.json").write_text(text)

    assert place.only().origin is None


def test_a_module_that_nobody_lists_is_found_on_the_path_itself(place: Place) -> None:
    module(place, place.site / f"loose_cuda.{TAG}.so")

    assert place.only().package is None


def test_a_list_of_thirty_megabytes_is_read_to_its_end(place: Place) -> None:
    module(place, place.site / "ops/_C.so")
    line = f"ops/{'x' * 80}.py,sha256={'y' * 43},100\n"
    place.install("ops", record=line * 220_000 + "ops/_C.so,,")

    start = time.process_time()
    extension = place.only()

    assert extension.package == "ops"
    assert time.process_time() - start < 2


@pytest.mark.parametrize("content", [b"\xff\xfe\0" * 999, b"x" * 3_000_000, b'"', b'"a.so\n' * 9])
def test_a_list_that_makes_no_sense_is_passed_over(place: Place, content: bytes) -> None:
    metadata = place.install("ops")
    (metadata / "RECORD").write_bytes(content)

    assert place.fact() == ()


def test_copies_of_system_libraries_are_not_opened(place: Place) -> None:
    compiled(place.site / "ops.libs/libfoo-1234abcd.so.1", needs=[place.library("libc10.so")])
    place.install("ops", "ops.libs/libfoo-1234abcd.so.1")

    system, python = System(), place.interpreter()
    packages = Packages(system, python.package_folders)

    assert compiled_files(system, packages, python.path, torch_folder=place.site / "torch") == []


# --- files that a user names


def test_a_file_that_is_named_is_judged_without_being_installed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled(tmp_path / "build/_C.so", uses=[CHECK_OLD], needs=[place.library("libc10.so")])
    monkeypatch.chdir(tmp_path)
    place.environ["HOME"] = str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    relative, at_home = place.only("build/_C.so"), place.only("~/build/_C.so")

    assert relative == at_home
    assert relative.path == str(path)
    assert relative.error == place.really_load(path)
    assert relative.other_abi is True


def test_a_file_that_has_nothing_to_do_with_torch_is_judged_when_it_is_named(
    place: Place, tmp_path: Path
) -> None:
    path = compiled(tmp_path / "plain.so", uses=["nowhere_defined"])

    extension = place.only(str(path))

    assert extension.uses_torch is False
    assert extension.error == place.really_load(path)


def test_a_file_that_is_named_and_installed_is_told_once_and_with_its_package(
    place: Place, tmp_path: Path
) -> None:
    path = module(place, place.site / "ops/_C.so")
    place.install("ops", "ops/_C.so")
    (tmp_path / "link.so").symlink_to(path)

    extension = place.only(str(tmp_path / "link.so"), str(path))

    assert (extension.path, extension.package) == (str(path), "ops")


def test_without_torch_only_what_is_named_is_judged(place: Place, tmp_path: Path) -> None:
    path = module(place, tmp_path / "_C.so")
    module(place, place.site / "ops/_C.so")
    place.install("ops", "ops/_C.so")
    (place.site / "torch").unlink()
    place.torch_is_there = False

    assert place.fact(problems=None) is None
    (extension,) = place.fact(str(path), problems=None)
    assert extension.error == "libc10.so: cannot open shared object file: No such file or directory"


def test_a_file_that_cannot_be_judged_is_refused_with_what_it_is(
    place: Place, tmp_path: Path
) -> None:
    module(place, tmp_path / "folder/_C.so")
    contents = {
        "text.so": b"hello",
        "empty.so": b"",
        "dll.so": b"MZ\x90\0",
        "mac.so": b"\xcf\xfa\xed\xfe\0\0",
        "archive.so": b"!<arch>\n",
        "wheel.so": b"PK\x03\x04\0",
        "lfs.so": b"version https://git-lfs.github.com/spec/v1\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "fifo.so")
    said = {}
    for name in [*contents, "fifo.so", "folder", "nowhere.so", ""]:
        with pytest.raises(BadInput) as refused:
            place.fact(str(tmp_path / name) if name else "")
        said[name] = (refused.value.message.replace(f"{tmp_path}/", ""), refused.value.hint)

    assert said["text.so"][0] == "text.so is no ELF file, a shared object (ELF) is needed"
    assert "is empty" in said["empty.so"][0]
    assert "Windows" in said["dll.so"][0]
    assert "macOS" in said["mac.so"][0]
    assert "static library" in said["archive.so"][0]
    assert "wheel" in said["wheel.so"][0]
    assert "Git LFS" in said["lfs.so"][0]
    assert "not a regular file" in said["fifo.so"][0]
    assert said["folder"][1] == f"name the file in it: --extension {tmp_path / 'folder/_C.so'}"
    assert said["nowhere.so"][0] == "nowhere.so is not there"
    assert all(hint for _, hint in said.values())


# --- where nothing can be said


class _Other(System):
    name = "darwin"

    @property
    def platform(self) -> str:
        return self.name


class _Musl(System):
    def libc(self) -> str | None:
        return None


def test_off_linux_there_is_nothing_to_look_into(place: Place, tmp_path: Path) -> None:
    path = module(place, tmp_path / "_C.so")

    assert place.fact(system=_Other()) is None
    with pytest.raises(BadInput, match="only the loader of Linux"):
        place.fact(str(path), system=_Other())


def test_where_torch_cannot_be_imported_nothing_is_said_of_what_comes_after(place: Place) -> None:
    module(place, place.site / "ops/_C.so")
    place.install("ops", "ops/_C.so")

    broken = place.fact(problems=("libgomp.so.1: cannot open shared object file",))
    untold = place.fact(problems=Unknown("musl"))

    assert broken == Unknown("torch itself cannot be imported, which comes first")
    assert untold == Unknown("musl")


def test_a_file_with_damaged_names_is_not_said_to_load(place: Place) -> None:
    path = module(place, place.site / "ops/_C.so")
    data = bytearray(path.read_bytes())
    place.install("ops", "ops/_C.so")
    for at in range(64, len(data), 7):
        if data[at : at + 4] != b"libc":
            data[at] ^= 0x55
    path.write_bytes(data)

    told = place.fact(str(path))

    assert all(it.error is not None or it.unknown is not None for it in told)


# --- with the real torch

DECLARED = """
#include <string>
namespace torch { namespace jit { void parseSchemaOrName(const std::string&, bool); } }
extern "C" void use() { torch::jit::parseSchemaOrName("foo(Tensor x) -> Tensor", true); }
"""


@pytest.mark.torch
@pytest.mark.skipif(own_interpreter().torch is None, reason="torch is not installed")
def test_both_abis_are_judged_as_the_real_torch_judges_them(tmp_path: Path) -> None:
    """The example of vLLM's issue 13608, without torch's headers, which take 7 s to compile."""
    torch = own_interpreter().torch
    if shutil.which("g++") is None or torch is None or not (torch.parent / "lib").is_dir():
        pytest.skip("needs g++ and torch's libraries")
    paths = []
    for abi in (0, 1):
        path = tmp_path / f"abi{abi}.so"
        command = ["g++", "-shared", "-fPIC", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", "-x", "c++", "-"]
        command += ["-o", str(path), f"-L{torch.parent / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
        subprocess.run(command, input=DECLARED, text=True, check=True, timeout=120)
        paths.append(str(path))

    facts = survey(System(), own_interpreter(), only=["extensions"], asked=Asked(tuple(paths)))

    code = (
        "import ctypes, sys, torch\n"
        "for path in sys.argv[1:]:\n"
        "    try: ctypes.CDLL(path); print('loads')\n"
        "    except OSError as error: print(error)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, *paths],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = {it.path: it for it in facts["extensions"]}
    assert [told[path].error or "loads" for path in paths] == child.stdout.splitlines()
    assert {told[path].other_abi for path in paths} == {True, None}
