"""What is predicted of `import torch`, against real imports of a real torch, healthy and damaged."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from torchkit.machine.facts import GLOSSARY, Library
from torchkit.machine.libtorch import torch_library_facts, torch_process
from torchkit.system import System, Unknown
from torchkit.versions import Version

_SPEC = importlib.util.find_spec("torch")
TORCH = None if _SPEC is None or _SPEC.origin is None else Path(_SPEC.origin).parent
TAG = str(sysconfig.get_config_var("SOABI"))

on_linux = pytest.mark.skipif(
    sys.platform != "linux" or System().libc() is None, reason="needs the loader of glibc"
)
with_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def library_facts(
    system: System, *, torch_folder: Path | None, tag: str = TAG, cuda: bool = False
) -> dict[str, Any]:
    """What the libraries of a torch in that folder tell, to a Python like ours."""
    process = torch_process(
        system,
        torch_folder=torch_folder,
        python_executable=Path(sys.executable),
        python_tag=tag,
    )
    return torch_library_facts(process, cuda=cuda)


@dataclass
class Copy:
    """A torch of links to the installed one, of which single files can be damaged."""

    site: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def torch(self) -> Path:
        return self.site / "torch"

    def library(self, name: str) -> Path:
        return self.torch / "lib" / name

    def remove(self, name: str) -> Path:
        path = self.library(name)
        path.unlink()
        return path

    def facts(self, **changes: Any) -> dict[str, Any]:
        return library_facts(
            System(environ=self.environ), **{"torch_folder": self.torch, **changes}
        )

    def really_import(self, then: str = "") -> subprocess.CompletedProcess[str]:
        environ = {**self.environ, "PYTHONPATH": str(self.site)}
        return subprocess.run(
            [sys.executable, "-B", "-c", f"import torch\n{then}"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _links(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        (target / entry.name).symlink_to(entry)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    if TORCH is None:
        pytest.skip("torch is not installed")
    folder = tmp_path.resolve() / "site" / "torch"
    _links(TORCH, folder)
    (folder / "lib").unlink()
    _links(TORCH / "lib", folder / "lib")
    return Copy(folder.parent)


def _last_words(child: subprocess.CompletedProcess[str]) -> str:
    """The text of the exception a child died of."""
    lines = [line for line in child.stderr.splitlines() if re.match(r"\w+Error: ", line)]
    return lines[-1].split(": ", 1)[1]


# --- damages that Python reports


def _without_libc10(copy: Copy) -> None:
    copy.remove("libc10.so")


def _without_global_deps(copy: Copy) -> None:
    copy.remove("libtorch_global_deps.so")


def _with_an_empty_libtorch_python(copy: Copy) -> None:
    copy.remove("libtorch_python.so").touch()


def _with_text_in_place_of_libtorch(copy: Copy) -> None:
    copy.remove("libtorch.so").write_text("version https://git-lfs.github.com/spec/v1\n" * 4)


def _with_a_header_only_libshm(copy: Copy) -> None:
    data = copy.library("libshm.so").read_bytes()[:64]
    copy.remove("libshm.so").write_bytes(data)


def _with_a_page_for_libgomp_on_the_library_path(copy: Copy) -> None:
    folder = copy.site / "poison"
    folder.mkdir()
    (folder / "libgomp.so.1").write_text("<html>404 Not Found</html>" * 20)
    copy.environ["LD_LIBRARY_PATH"] = str(folder)


def _without_the_module(copy: Copy) -> None:
    (copy.torch / f"_C.{TAG}.so").unlink()
    (copy.torch / "_C").unlink(missing_ok=True)


@pytest.mark.torch
@on_linux
@pytest.mark.parametrize(
    "damage",
    [
        _without_libc10,
        _without_global_deps,
        _with_an_empty_libtorch_python,
        _with_text_in_place_of_libtorch,
        _with_a_header_only_libshm,
        _with_a_page_for_libgomp_on_the_library_path,
        _without_the_module,
    ],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
def test_the_first_problem_is_what_python_says(copy: Copy, damage: Callable[[Copy], None]) -> None:
    damage(copy)

    problems = copy.facts()["torch_problems"]

    child = copy.really_import()
    assert child.returncode == 1
    assert problems[0].startswith(_last_words(child))


def _stub_of_libstdcxx(folder: Path, *versions: str) -> None:
    """A libstdc++.so.6 with these versions and nothing else, as a much older system has it."""
    folder.mkdir()
    script, source = folder / "versions.map", folder / "stub.c"
    names = [version.replace(".", "_") for version in versions]
    script.write_text(
        "".join(f"{v} {{ global: f_{n}; }};\n" for v, n in zip(versions, names, strict=True))
    )
    source.write_text("".join(f"int f_{name}(void) {{ return 1; }}\n" for name in names))
    command = ["gcc", "-shared", "-fPIC", f"-Wl,--version-script={script}"]
    command += ["-Wl,-soname,libstdc++.so.6", "-o", str(folder / "libstdc++.so.6"), str(source)]
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.torch
@on_linux
@with_gcc
def test_an_old_libstdcxx_on_the_library_path_is_what_python_names(copy: Copy) -> None:
    folder = copy.site / "old"
    _stub_of_libstdcxx(folder, "GLIBCXX_3.4", "GLIBCXX_3.4.9", "CXXABI_1.3")
    copy.environ["LD_LIBRARY_PATH"] = str(folder)

    facts = copy.facts()

    child = copy.really_import()
    assert facts["torch_problems"][0] == _last_words(child)
    assert facts["libstdcxx_path"] == str(folder / "libstdc++.so.6")
    assert facts["libstdcxx_glibcxx"] == Version("3.4.9")
    assert facts["libstdcxx_cxxabi"] == Version("1.3")
    (shadowed,) = facts["shadowed_libraries"]
    assert (shadowed.name, shadowed.reason) == ("libstdc++.so.6", "LD_LIBRARY_PATH")
    assert shadowed.winner == str(folder / "libstdc++.so.6")
    assert shadowed.missing in _last_words(child)
    assert shadowed.needed_by in _last_words(child)
    assert Path(shadowed.loser).is_file()
    assert not Path(shadowed.loser).is_relative_to(copy.site)


@pytest.mark.torch
@on_linux
def test_a_library_that_is_cut_off_kills_the_process(copy: Copy) -> None:
    data = copy.library("libc10.so").read_bytes()[:800_000]
    copy.remove("libc10.so").write_bytes(data)

    facts = copy.facts()

    assert copy.really_import().returncode == -7  # SIGBUS
    assert facts["torch_problems"][0].startswith(f"{copy.library('libc10.so')}: Bus error, ")
    assert isinstance(facts["torch_glibc_needed"], Unknown)
    assert facts["torch_cxx11_abi"] is True  # another library tells


@pytest.mark.torch
@on_linux
def test_another_libgomp_on_the_library_path_wins_and_is_told(copy: Copy) -> None:
    folder = copy.site / "other"
    folder.mkdir()
    shutil.copy(copy.library("libgomp.so.1").resolve(), folder / "libgomp.so.1")
    copy.environ["LD_LIBRARY_PATH"] = str(folder)

    facts = copy.facts()

    child = copy.really_import("print(open('/proc/self/maps').read())")
    assert child.returncode == 0
    assert str(folder / "libgomp.so.1") in child.stdout
    assert str(copy.library("libgomp.so.1").resolve()) not in child.stdout
    assert facts["libstdcxx_path"] in child.stdout
    assert facts["torch_problems"] == ()
    assert facts["shadowed_libraries"] == (
        Library(
            name="libgomp.so.1",
            winner=str(folder / "libgomp.so.1"),
            reason="LD_LIBRARY_PATH",
            loser=str(copy.library("libgomp.so.1")),
            needed_by="libtorch_global_deps.so",
        ),
    )


@pytest.mark.torch
@on_linux
def test_a_healthy_torch_has_no_problems_and_says_what_it_needs(copy: Copy) -> None:
    facts = copy.facts(torch_folder=TORCH)

    assert facts["torch_problems"] == ()
    assert facts["shadowed_libraries"] == ()
    assert facts["torch_archs"] is None
    assert set(facts) <= set(GLOSSARY)
    for family in ("GLIBC", "GLIBCXX", "CXXABI"):
        assert facts[f"torch_{family.lower()}_needed"] == _newest_by_pyelftools(family)


def _newest_by_pyelftools(family: str) -> Version:
    assert TORCH is not None
    found = []
    for name in ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_python.so"):
        with (TORCH / "lib" / name).open("rb") as file:
            elf: Any = ELFFile(file)
            section = elf.get_section_by_name(".gnu.version_r")
            for _, versions in section.iter_versions() if section is not None else ():
                names = [re.fullmatch(rf"{family}_([\d.]+)", version.name) for version in versions]
                found += [Version(match[1]) for match in names if match is not None]
    return max(found)


@pytest.mark.torch
@on_linux
def test_a_module_for_another_python_is_named(copy: Copy) -> None:
    facts = copy.facts(tag="cpython-399-x86_64-linux-gnu")

    (problem,) = facts["torch_problems"]
    assert f"_C.{TAG}.so" in problem
    assert "needs _C.cpython-399-x86_64-linux-gnu.so" in problem


@pytest.mark.torch
@on_linux
def test_more_than_one_missing_library_is_listed_in_the_loader_s_order(copy: Copy) -> None:
    copy.remove("libc10.so")
    copy.remove("libshm.so")

    problems = copy.facts()["torch_problems"]

    words = "cannot open shared object file: No such file or directory"
    assert problems == (f"libshm.so: {words}", f"libc10.so: {words}")
    assert problems[0] == _last_words(copy.really_import())


# --- a CUDA torch, built here from empty libraries and the lines of torch/__init__.py that matter

CUDA_INIT = """
def _preload_cuda_deps(err=None, required=True):
    cuda_libs = [
        ("cublas", "libcublas.so.*[0-9]"),
        ("cuda_runtime", "libcudart.so.*[0-9]"),
    ]
    _preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", required=False)

def _load_global_deps():
    lib_name = "libtorch_global_deps.so"
    try:
            if "libcudart.so" not in _maps:
                return
            _preload_cuda_deps(required=False)
        except Exception:
            pass
    # f"cu{maj_cuda_version}"
"""


@dataclass
class CudaTorch:
    """A torch folder and nvidia packages as wheels for CUDA 13 lay them out."""

    site: Path
    environ: dict[str, str] = field(default_factory=dict)

    def build(
        self, place: str, *needs: Path, options: tuple[str, ...] = (), code: str = ""
    ) -> Path:
        path = self.site / place
        path.parent.mkdir(parents=True, exist_ok=True)
        source = self.site / "source.c"
        source.write_text(code or "int f(void) { return 1; }\n")
        command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed", "-o", str(path)]
        command += [f"-Wl,-soname,{path.name}", "-Wl,--allow-shlib-undefined", str(source)]
        command += [*map(str, needs), *options]
        subprocess.run(command, check=True, timeout=60)
        return path

    def build_torch(self, rpath: str, *needs: Path, code: str = "") -> None:
        cudart = self.build("nvidia/cu13/lib/libcudart.so.99")
        cublas = self.build("nvidia/cu13/lib/libcublas.so.99")
        path = ("-Wl,--disable-new-dtags", f"-Wl,-rpath,{rpath}") if rpath else ()
        global_deps = self.build("torch/lib/libtorch_global_deps.so", cudart, options=path)
        assert global_deps.is_file()
        code = code + 'const char *archs = "sm_75 sm_90 compute_120"; const char *one = "sm_80";\n'
        python = self.build(
            "torch/lib/libtorch_python.so", cudart, cublas, *needs, code=code, options=path
        )
        origin = ("-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN/lib")
        self.build(f"torch/_C.{TAG}.so", python, options=origin)
        (self.site / "torch/__init__.py").write_text(CUDA_INIT)
        (self.site / "torch/version.py").write_text("cuda: Optional[str] = '13.0'\n")

    def facts(self) -> dict[str, Any]:
        return library_facts(
            System(environ=self.environ), torch_folder=self.site / "torch", cuda=True
        )


@pytest.fixture
def cuda_torch(tmp_path: Path) -> CudaTorch:
    if sys.platform != "linux" or System().libc() is None or shutil.which("gcc") is None:
        pytest.skip("needs gcc and the loader of glibc")
    return CudaTorch(tmp_path.resolve())


def test_architectures_are_read_from_the_library_that_holds_them(cuda_torch: CudaTorch) -> None:
    cuda_torch.build_torch("$ORIGIN/../../nvidia/cu13/lib")

    facts = cuda_torch.facts()

    assert facts["torch_archs"] == ("sm_75", "sm_90", "compute_120")
    assert facts["torch_archs_source"] == "libtorch_python.so"
    assert facts["torch_problems"] == ()


def test_packages_the_loader_does_not_find_are_loaded_by_torch_itself(
    cuda_torch: CudaTorch,
) -> None:
    cuda_torch.build_torch(rpath="")

    facts = cuda_torch.facts()

    assert facts["torch_problems"] == ()


def test_a_missing_nvidia_package_is_what_torch_itself_complains_of(cuda_torch: CudaTorch) -> None:
    cuda_torch.build_torch("$ORIGIN/../../nvidia/cu13/lib")
    (cuda_torch.site / "nvidia/cu13/lib/libcudart.so.99").unlink()

    problems = cuda_torch.facts()["torch_problems"]

    assert problems[:2] == (
        "libcudart.so.*[0-9] not found in the system path",
        "libcudart.so.99: cannot open shared object file: No such file or directory",
    )


def test_a_toolkit_on_the_library_path_does_not_beat_what_torch_loads_first(
    cuda_torch: CudaTorch,
) -> None:
    cuda_torch.build_torch("$ORIGIN/../../nvidia/cu13/lib")
    cuda_torch.build("toolkit/libcublas.so.99")
    cuda_torch.environ["LD_LIBRARY_PATH"] = str(cuda_torch.site / "toolkit")

    assert cuda_torch.facts()["shadowed_libraries"] == ()


def test_a_toolkit_on_the_library_path_beats_packages_that_have_no_rpath(
    cuda_torch: CudaTorch,
) -> None:
    cuda_torch.build_torch(rpath="")
    cuda_torch.build("toolkit/libcudart.so.99")
    cuda_torch.environ["LD_LIBRARY_PATH"] = str(cuda_torch.site / "toolkit")

    (shadowed,) = cuda_torch.facts()["shadowed_libraries"]

    assert shadowed == Library(
        name="libcudart.so.99",
        winner=str(cuda_torch.site / "toolkit/libcudart.so.99"),
        reason="LD_LIBRARY_PATH",
        loser=str(cuda_torch.site / "nvidia/cu13/lib/libcudart.so.99"),
        needed_by="libtorch_global_deps.so",
    )


def test_a_copy_on_the_library_path_that_lacks_a_symbol_is_fatal(cuda_torch: CudaTorch) -> None:
    both = "int cufftOld(void) { return 1; } int cufftNew(void) { return 1; }\n"
    cufft = cuda_torch.build("nvidia/cu13/lib/libcufft.so.99", code=both)
    use = "int cufftNew(void); int cufftOld(void); int use(void) { return cufftOld() + cufftNew(); }\n"
    cuda_torch.build_torch("", cufft, code=use)
    old = "int cufftOld(void) { return 1; }\n"
    cuda_torch.build("toolkit/libcufft.so.99", code=old)
    cuda_torch.environ["LD_LIBRARY_PATH"] = str(cuda_torch.site / "toolkit")

    facts = cuda_torch.facts()

    # both copies of what torch loads first are there by then, as in the simulation
    first = [cuda_torch.site / f"nvidia/cu13/lib/lib{name}.so.99" for name in ("cudart", "cublas")]
    said = _said_by_ctypes([*first, cuda_torch.site / f"torch/_C.{TAG}.so"], cuda_torch.environ)
    assert facts["torch_problems"] == (said,)
    assert said.endswith("libtorch_python.so: undefined symbol: cufftNew")
    assert facts["shadowed_libraries"] == (
        Library(
            name="libcufft.so.99",
            winner=str(cuda_torch.site / "toolkit/libcufft.so.99"),
            reason="LD_LIBRARY_PATH",
            loser=str(cufft),
            missing="cufftNew",
            needed_by="libtorch_python.so",
        ),
    )


@pytest.mark.parametrize(("opens_it", "expected"), [(True, 1), (False, 0)])
def test_a_part_that_cudnn_opens_and_does_not_have_is_found_elsewhere(
    cuda_torch: CudaTorch, opens_it: bool, expected: int
) -> None:
    cudnn = cuda_torch.build("nvidia/cudnn/lib/libcudnn.so.9")
    name = "libcudnn_engines_tensor_ir.so" if opens_it else "libcudnn_heuristic.so"
    cuda_torch.build("nvidia/cudnn/lib/libcudnn_graph.so.9", code=f'const char *part = "{name}";')
    cuda_torch.build_torch("$ORIGIN/../../nvidia/cu13/lib:$ORIGIN/../../nvidia/cudnn/lib", cudnn)
    part = cuda_torch.build("toolkit/libcudnn_engines_tensor_ir.so.9")
    cuda_torch.build("toolkit/libcudnn_graph.so.9")
    cuda_torch.environ["LD_LIBRARY_PATH"] = str(part.parent)

    shadowed = cuda_torch.facts()["shadowed_libraries"]

    found = [it for it in shadowed if it.name == "libcudnn_engines_tensor_ir.so.9"]
    assert len(found) == expected
    for library in found:
        assert library.winner == str(part)
        assert library.loser == str(cudnn)
        assert library.reason == "LD_LIBRARY_PATH"


def _said_by_ctypes(paths: list[Path], environ: dict[str, str]) -> str:
    code = "import ctypes, sys\nfor path in sys.argv[1:]: ctypes.CDLL(path)"
    child = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return _last_words(child)


# --- without torch


@on_linux
def test_the_libstdcxx_of_a_plain_python_is_the_one_ctypes_gets() -> None:
    facts = library_facts(System(), torch_folder=None)

    code = "import ctypes; ctypes.CDLL('libstdc++.so.6'); print(open('/proc/self/maps').read())"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    if child.returncode:
        assert facts["libstdcxx_path"] is None
    else:
        assert os.path.realpath(facts["libstdcxx_path"]) in child.stdout


@on_linux
def test_a_folder_without_libraries_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()

    facts = library_facts(System(), torch_folder=tmp_path, cuda=True)

    assert facts["torch_cxx11_abi"] == Unknown(f"{tmp_path / 'lib'} has no libraries of torch")
    assert isinstance(facts["torch_archs"], Unknown)
    assert "No module named 'torch._C'" in facts["torch_problems"][0]


class _OnAMac(System):
    @property
    def platform(self) -> str:
        return "darwin"


def test_off_linux_there_is_nothing_to_tell(tmp_path: Path) -> None:
    facts = library_facts(_OnAMac(), torch_folder=tmp_path, cuda=True)

    assert set(facts.values()) == {None}
    assert set(library_facts(_OnAMac(), torch_folder=None).values()) == {None}
