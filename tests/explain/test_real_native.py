"""Failures of compilers, linkers, the loader, CMake and installers, provoked for real, are named.

Nothing here takes torch's big headers: a header of c10 has what the linker asks of libtorch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from torchkit.commands.explain import explained
from torchkit.knowledge.problems import problems
from torchkit.logs.problems import told
from torchkit.logs.reader import read_text
from torchkit.report import Finding
from torchkit.system import System

SPEC = importlib.util.find_spec("torch")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(sys.platform != "linux", reason="the tools are those of Linux"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
    pytest.mark.skipif(SPEC is None or SPEC.origin is None, reason="torch is not installed"),
]

TORCH = Path(SPEC.origin).parent if SPEC is not None and SPEC.origin is not None else Path()
INCLUDE = ("-std=c++20", f"-I{TORCH}/include", f"-I{TORCH}/include/torch/csrc/api/include")
NVCC = shutil.which("nvcc")
CMAKE = shutil.which("cmake")
AREAS = {"install", "loader", "cmake", "cpp"}

with_nvcc = pytest.mark.skipif(NVCC is None, reason="there is no nvcc")
with_cmake = pytest.mark.skipif(CMAKE is None, reason="there is no cmake")

STRINGS_CPP = """
#include <c10/core/Device.h>
#include <c10/util/Exception.h>
#include <string>
int main(int n, char**) {
  c10::Device device(std::string("cpu"));
  TORCH_CHECK(n > 0, "s", n);
  return device.index();
}
"""

NO_STRING_CPP = """
#include <c10/core/Device.h>
#include <iostream>
int main() { std::cout << c10::Device(c10::DeviceType::CPU); }
"""

GONE_CPP = "namespace c10 { struct Gone { void forever(int); }; }\nint main() { c10::Gone().forever(1); }\n"


def said(
    *command: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> str:
    """What a program that must fail, or warn, writes."""
    done = subprocess.run(
        [str(it) for it in command],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout


def first(text: str) -> str:
    """The id that is named first."""
    found = told(read_text(text)).problems
    assert found, text
    return found[0].problem.id


def cause(text: str) -> str:
    return told(read_text(text)).problems[0].cause


def finding(text: str) -> Finding:
    """The first finding, with what this machine says to it."""
    return explained(text, System()).findings[0]


def headline(text: str) -> str:
    return explained(text, System()).headline or ""


def checked(text: str) -> list[str]:
    return [it.value for it in finding(text).verdict.evidence if it.name == "checked"]


class Workshop:
    """A folder with sources, and what is compiled of them once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Path] = {}

    def source(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def compiled(self, name: str, text: str, *options: str) -> Path:
        if name not in self.made:
            path = self.folder / f"{name}.o"
            wrong = said("g++", *INCLUDE, "-fPIC", *options, "-c", self.source(f"{name}.cpp", text), "-o", path)  # fmt: skip
            assert path.exists(), wrong
            self.made[name] = path
        return self.made[name]

    def library(self, path: str, text: str, *options: str | Path) -> Path:
        """A shared library of a C source."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self.source(f"{path}.c", text)
        wrong = said("gcc", "-shared", "-fPIC", source, "-o", target, *options)
        assert target.exists(), wrong
        return target

    @property
    def old_abi(self) -> Path:
        return self.compiled("old", STRINGS_CPP, "-D_GLIBCXX_USE_CXX11_ABI=0")

    @property
    def new_abi(self) -> Path:
        return self.compiled("new", STRINGS_CPP)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("native"))


LIBRARIES = (f"-L{TORCH}/lib", "-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{TORCH}/lib")

# --- linking


def test_the_wrong_abi_is_named_and_shown_in_the_libraries_of_torch(workshop: Workshop) -> None:
    text = said("g++", workshop.old_abi, *LIBRARIES, "-o", "/dev/null")

    assert first(text) == finding(text).id == "link-cxx11-abi"
    assert any(
        it.startswith("confirmed") and "under the other C++ ABI only" in it for it in checked(text)
    )


def test_a_libtorch_that_is_not_linked_is_told_from_the_wrong_abi_by_its_libraries(
    workshop: Workshop,
) -> None:
    """The names that are missing all have a string: the text alone means the ABI."""
    text = said("g++", workshop.new_abi, "-o", "/dev/null")

    assert first(text) == "link-cxx11-abi"
    assert "libtorch's libraries are not in the link command" in headline(text)
    assert any(it.startswith("confirmed") and "just as the linker wants them" in it for it in checked(text))  # fmt: skip


def test_without_the_machine_the_text_alone_is_judged(workshop: Workshop) -> None:
    text = said("g++", workshop.new_abi, "-o", "/dev/null")

    assert [it.id for it in explained(text).findings] == ["link-cxx11-abi"]


def test_names_without_a_string_mean_that_libtorch_is_not_linked(workshop: Workshop) -> None:
    plain = workshop.compiled("plain", NO_STRING_CPP)

    text = said("g++", plain, "-o", "/dev/null")

    assert first(text) == finding(text).id == "link-torch-libs-missing"


def test_libraries_before_the_objects_are_libraries_that_are_not_linked(workshop: Workshop) -> None:
    command = ("g++", "-Wl,--as-needed", *LIBRARIES, workshop.new_abi, "-o", "/dev/null")
    text = said(*command)
    with_command = f"g++ -Wl,--as-needed {TORCH}/lib/libc10.so new.o\n{text}"

    assert "or stand before the objects (confirmed)" in headline(text)
    assert finding(with_command).id == "link-torch-libs-missing"


def test_a_library_that_is_linked_by_another_one_only_is_missing(workshop: Workshop) -> None:
    plain = workshop.compiled("plain", NO_STRING_CPP)

    text = said("g++", plain, f"-L{TORCH}/lib", "-ltorch_cpu", "-o", "/dev/null")

    assert first(text) == finding(text).id == "link-torch-libs-missing"


def test_a_name_that_torch_does_not_have_is_a_matter_of_the_version(workshop: Workshop) -> None:
    gone = workshop.compiled("gone", GONE_CPP)

    text = said("g++", gone, *LIBRARIES, "-o", "/dev/null")

    assert finding(text).id == "link-torch-libs-missing"
    (shown,) = (it for it in checked(text) if it.startswith("confirmed"))
    assert "does not define c10::Gone::forever(…) in any form" in shown


def test_a_toolkit_without_the_version_of_a_symbol_is_named(workshop: Workshop) -> None:
    version = workshop.source("v.map", "libcudart.so.12 { global: *; };")
    full = workshop.library(
        "full/libcudart.so.12", "void cudaLaunchKernelExC(void){}",
        f"-Wl,--version-script={version}", "-Wl,-soname,libcudart.so.12",
    )  # fmt: skip
    poor = workshop.library(
        "poor/libcudart.so.12", "void cudaFree(void){}",
        f"-Wl,--version-script={version}", "-Wl,-soname,libcudart.so.12",
    )  # fmt: skip
    torch = workshop.library(
        "cu/libtorch_cuda.so", "void cudaLaunchKernelExC(void); void f(void){cudaLaunchKernelExC();}",
        full, "-Wl,-soname,libtorch_cuda.so",
    )  # fmt: skip
    main = workshop.source("main.c", "void f(void); int main(){f();}")

    text = said("gcc", main, torch, poor, "-o", "/dev/null")
    unlinked = said("gcc", main, torch, "-o", "/dev/null")

    assert first(text) == "link-cudart-symbol-version"
    assert "cudaLaunchKernelExC@libcudart.so.12" in cause(text)
    assert first(unlinked) == "link-cudart-symbol-version"


def test_libraries_of_cuda_that_the_linker_does_not_find_are_named(workshop: Workshop) -> None:
    main = workshop.source("empty.c", "int main(){}")

    toolkit = said("gcc", main, "-lcudart", "-lnvrtc", "-L/none", "-o", "/dev/null")
    driver = said("gcc", main, "-lcuda", "-L/none", "-o", "/dev/null")

    assert first(toolkit) == "link-cuda-lib-not-found"
    assert "libcudart.so" in cause(toolkit)
    assert first(driver) == "link-libcuda-not-found"


# --- compiling


def test_an_older_standard_is_named_with_the_one_that_is_needed(workshop: Workshop) -> None:
    source = workshop.source("std.cpp", "#include <torch/types.h>")

    text = said("g++", "-Wfatal-errors", *INCLUDE, "-std=c++14", "-fsyntax-only", source)

    assert first(text) == "cxx-standard-too-old"
    assert "before C++17" in cause(text) or "before C++20" in cause(text)


def test_headers_and_macros_that_went_are_named(workshop: Workshop) -> None:
    header = workshop.source("thc.cpp", "#include <THC/THC.h>")
    macro = workshop.source("check.cpp", "#include <c10/util/Exception.h>\nvoid f(int x) { AT_CHECK(x, 1); }")  # fmt: skip

    for source in (header, macro):
        text = said("g++", *INCLUDE, "-Wfatal-errors", "-fsyntax-only", source)
        assert first(text) == "removed-cpp-api"
    assert "AT_CHECK" in cause(text)


def test_a_missing_header_of_cuda_is_named(workshop: Workshop) -> None:
    source = workshop.source("stream.cpp", "#include <c10/cuda/CUDAStream.h>")

    text = said("g++", *INCLUDE, "-fsyntax-only", source, environ={"CPATH": ""})

    assert first(text) == "cuda-header-missing"
    assert "cuda_runtime_api.h" in cause(text)


def test_operators_that_are_registered_in_the_old_way_are_named(workshop: Workshop) -> None:
    source = workshop.source(
        "register.cpp",
        "#include <torch/csrc/jit/runtime/custom_operator.h>\n"
        "at::Tensor f(at::Tensor x) { return x; }\n"
        'static auto r = torch::jit::RegisterOperators("my::f", &f);\n',
    )

    text = said("g++", *INCLUDE, "-Wfatal-errors", "-fsyntax-only", source)

    assert first(text) == "register-operators-removed"


@with_nvcc
def test_architectures_and_compilers_that_nvcc_refuses_are_named(workshop: Workshop) -> None:
    source = workshop.source("k.cu", "int main() {}")

    too_new = said("nvcc", "-arch=sm_150", "-c", source, "-o", workshop.folder / "k.o")
    compiler = said("nvcc", "-Xcompiler", "-U__GNUC__,-D__GNUC__=99", "-c", source, "-o", workshop.folder / "k.o")  # fmt: skip

    assert first(too_new) == "nvcc-unsupported-arch"
    assert "sm_150" in cause(too_new)
    assert first(compiler) == "nvcc-host-compiler-unsupported"
    assert "nvcc takes gcc" in cause(compiler)


# --- CMake


def cmake_says(workshop: Workshop, name: str, text: str, *options: str) -> str:
    folder = workshop.folder / name
    workshop.source(f"{name}/CMakeLists.txt", f"cmake_minimum_required(VERSION 3.18)\n{text}")
    environ = {"CUDA_HOME": "", "CUDACXX": "", "PATH": "/usr/bin:/bin", "CUDA_PATH": ""}
    return said(CMAKE or "", "-S", folder, "-B", folder / "build", *options, environ=environ)


@with_cmake
def test_what_cmake_does_not_find_is_named(workshop: Workshop) -> None:
    project = "project(app LANGUAGES NONE)\n"
    cuda = f"include({TORCH}/share/cmake/Caffe2/public/utils.cmake)\ninclude({TORCH}/share/cmake/Caffe2/public/cuda.cmake)\n"

    nothing = cmake_says(workshop, "nothing", f"{project}find_package(Torch REQUIRED)")
    toolkit = cmake_says(workshop, "toolkit", f"{project}{cuda}")
    tool = cmake_says(workshop, "tool", "project(app)", "-G", "Ninja", "-DCMAKE_MAKE_PROGRAM=")
    target = cmake_says(
        workshop, "target",
        "project(app CXX)\nfile(WRITE a.cpp \"int main(){}\")\nadd_executable(app a.cpp)\ntarget_link_libraries(app CUDA::nvToolsExt)",
    )  # fmt: skip

    assert first(nothing) == "cmake-torch-not-found"
    assert first(toolkit) == "cmake-cuda-not-found"
    assert first(target) == "cmake-nvtoolsext-missing"
    if "corresponding to" in tool:
        assert first(tool) == "ninja-missing"


@with_cmake
def test_the_warning_about_kineto_is_said_to_be_harmless(workshop: Workshop) -> None:
    text = cmake_says(
        workshop, "kineto", "project(app CXX)\nfind_package(Torch REQUIRED)",
        f"-DCMAKE_PREFIX_PATH={TORCH}/share/cmake",
    )  # fmt: skip

    assert "kineto" in text
    assert first(text) == "cmake-kineto-not-found"


# --- loading


def loading(
    path: Path, *, first_torch: bool = True, environ: Mapping[str, str] | None = None
) -> str:
    """What Python says of a library; torch's own libraries are loaded first, without its Python."""
    script = "import ctypes, sys\n"
    if first_torch:
        script += "".join(
            f"ctypes.CDLL({str(TORCH / 'lib' / name)!r}, mode=ctypes.RTLD_GLOBAL)\n"
            for name in ("libc10.so",)
        )
    script += f"ctypes.CDLL({str(path)!r}, mode=2)\n"
    return said(sys.executable, "-c", script, environ=environ)


def test_a_module_of_the_other_abi_is_named_and_shown(workshop: Workshop) -> None:
    module = workshop.folder / "old_abi.so"
    said("g++", "-shared", workshop.old_abi, "-o", module)

    text = loading(module)

    assert "undefined symbol" in text
    assert first(text) == finding(text).id == "undefined-symbol-abi"
    assert any("under the other C++ ABI only" in it for it in checked(text))


def test_a_module_of_another_release_is_named_and_shown(workshop: Workshop) -> None:
    module = workshop.folder / "gone.so"
    said("g++", "-shared", workshop.compiled("gone", GONE_CPP), "-o", module)

    text = loading(module)

    assert first(text) == finding(text).id == "undefined-symbol-version"
    assert any("does not define c10::Gone::forever" in it for it in checked(text))


def test_a_name_with_a_string_that_torch_has_in_no_form_is_of_another_release(
    workshop: Workshop,
) -> None:
    source = '#include <string>\nnamespace c10 { void gone(const std::string&); }\nint main() { c10::gone(std::string("x")); }\n'
    module = workshop.folder / "gone_string.so"
    said("g++", "-shared", workshop.compiled("gone_string", source), "-o", module)

    text = loading(module)

    assert first(text) == "undefined-symbol-abi"
    assert finding(text).id == "undefined-symbol-version"
    assert finding(text.replace(str(module), "/elsewhere/m.so")).id == "undefined-symbol-abi"


def test_libraries_that_are_not_there_are_named_and_sought(workshop: Workshop) -> None:
    def without(name: str) -> str:
        stub = workshop.library(f"away/{name}", "void f(void){}", f"-Wl,-soname,{name}")
        user = workshop.library(f"user_of_{name}", "void f(void); void g(void){f();}", stub)
        stub.unlink()
        return loading(user, first_torch=False, environ={"LD_LIBRARY_PATH": ""})

    cudart, split, driver = (
        without(name) for name in ("libcudart.so.10.0", "libtorch_cuda_cu.so", "libcuda.so.1")
    )

    assert first(cudart) == "libcudart-not-found"
    assert "libcudart.so.10.0 is not there" in cause(cudart)
    assert any(
        "libcudart.so.10.0 is neither where the loader looks" in it for it in checked(cudart)
    )
    assert first(split) == "extension-built-for-other-torch-lib"
    assert first(driver) == "cuda-no-driver"


def test_a_program_that_does_not_find_libtorch_is_told_where_it_is(workshop: Workshop) -> None:
    program = workshop.folder / "program"
    said("g++", workshop.new_abi, *LIBRARIES[:-1], "-o", program)

    text = said(program, environ={"LD_LIBRARY_PATH": ""})

    assert first(text) == "libtorch-so-not-found"
    assert any(f"{TORCH}/lib/lib" in it for it in checked(text))


def test_a_module_that_is_loaded_before_torch_is_named(workshop: Workshop) -> None:
    module = workshop.folder / "early.so"
    said("g++", "-shared", workshop.new_abi, *LIBRARIES[:-1], "-o", module)

    text = loading(module, first_torch=False, environ={"LD_LIBRARY_PATH": ""})

    assert first(text) == "libtorch-so-not-found"


def needs_version(workshop: Workshop, library: str, version: str) -> str:
    """What is said of a file that needs a version which the real library does not have."""
    script = workshop.source(f"{version}.map", f"{version} {{ global: *; }};")
    stub = workshop.library(
        f"stub_{version}/{library}", "void of_the_future(void){}",
        f"-Wl,--version-script={script}", f"-Wl,-soname,{library}", "-nostdlib",
    )  # fmt: skip
    user = workshop.library(
        f"torch_{version}.so", "void of_the_future(void); void g(void){of_the_future();}", stub, "-nostdlib"
    )  # fmt: skip
    return loading(user, first_torch=False)


def test_system_libraries_that_are_too_old_are_named_with_the_version(workshop: Workshop) -> None:
    libstdcxx = needs_version(workshop, "libstdc++.so.6", "GLIBCXX_3.4.99")
    glibc = needs_version(workshop, "libc.so.6", "GLIBC_2.99")

    assert first(libstdcxx) == "glibcxx-not-found"
    assert "GLIBCXX_3.4.99" in cause(libstdcxx)
    assert first(glibc) == "glibc-not-found"
    assert "needs GLIBC_2.99" in cause(glibc)


def test_another_cuda_beside_ours_is_named(workshop: Workshop) -> None:
    text = loading(
        workshop.library(
            "nvidia/libcusparse.so.12", "void __nvJitLinkComplete_12_4(void); void g(void){__nvJitLinkComplete_12_4();}"
        ),
        first_torch=False,
    )  # fmt: skip

    assert "undefined symbol" in text
    assert first(text) == "nvidia-wheel-lib-mismatch"


def test_a_name_of_mkl_is_told_from_torchs(workshop: Workshop) -> None:
    library = workshop.library(
        "mkl/libtorch_cpu.so", "void iJIT_NotifyEvent(void); void g(void){iJIT_NotifyEvent();}"
    )

    assert first(loading(library, first_torch=False)) == "mkl-ijit-symbol"


def test_a_library_that_comes_too_late_for_static_tls_is_named(workshop: Workshop) -> None:
    library = workshop.library(
        "tls/libgomp-d22c30c5.so.1",
        '__thread char big[1 << 20] __attribute__((tls_model("initial-exec"))); char* g(void){return big;}',
    )

    text = loading(library, first_torch=False)

    assert first(text) == "static-tls-block"
    assert "libgomp-d22c30c5.so.1" in cause(text)


# --- installing and importing

PYTHON = """
import json, os, sys, traceback
wrong = {}
def tried(name):
    def run(function):
        try:
            function()
        except BaseException:
            wrong[name] = traceback.format_exc()
    return run
sys.modules["numpy"] = None
import torch
from torch.utils import cpp_extension
del sys.modules["numpy"]

@tried("torch-cpu-only-build")
def _(): torch.zeros(1).cuda()

@tried("torch-cpu-only-build ")
def _(): torch.ops.aten.empty.memory_format([2], device="cuda")

@tried("numpy2-abi")
def _(): torch.zeros(1).numpy()

@tried("torchvision-nms-missing")
def _(): torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)

@tried("cuda-home-not-set")
def _():
    cpp_extension.CUDA_HOME = None
    cpp_extension.CUDAExtension("x", ["x.cu"])

@tried("ninja-missing")
def _():
    os.environ["PATH"] = "/none"
    cpp_extension.verify_ninja_availability()

@tried("nvcc-unsupported-arch")
def _():
    os.environ["TORCH_CUDA_ARCH_LIST"] = "99.0"
    cpp_extension._get_cuda_arch_flags()

@tried("ext-cuda-version-mismatch")
def _():
    torch.version.cuda = "11.8"
    cpp_extension.CUDA_HOME = sys.argv[1]
    cpp_extension._check_cuda_version("g++", cpp_extension.TorchVersion("12.2"))

print(json.dumps(wrong))
"""


@pytest.fixture(scope="module")
def python_says() -> dict[str, str]:
    """Tracebacks of one Python, by the id that each must get."""
    home = str(Path(NVCC).resolve().parent.parent) if NVCC else "/none"
    if NVCC is not None and not (Path(home) / "bin" / "nvcc").exists():
        home = "/usr/local/cuda"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PYTHON, home],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    texts = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(texts, dict)
    return texts


IN_PYTHON = (
    "torch-cpu-only-build", "torch-cpu-only-build ", "numpy2-abi", "torchvision-nms-missing",
    "cuda-home-not-set", "ninja-missing", "nvcc-unsupported-arch",
)  # fmt: skip


def test_a_build_for_the_cpu_is_confirmed(python_says: dict[str, str]) -> None:
    if "torch-cpu-only-build" not in python_says:
        pytest.skip("this torch is not a build for the CPU only")

    assert "is a build for the CPU" in checked(python_says["torch-cpu-only-build"])[0]


@pytest.mark.parametrize("name", IN_PYTHON)
def test_what_python_says_is_named(name: str, python_says: dict[str, str]) -> None:
    if name.startswith("torch-cpu-only-build") and name not in python_says:
        pytest.skip("this torch is not a build for the CPU only")

    assert first(python_says[name]) == name.strip()


@with_nvcc
def test_an_nvcc_of_another_cuda_is_named(python_says: dict[str, str]) -> None:
    text = python_says["ext-cuda-version-mismatch"]

    if "mismatches the version" not in text:
        pytest.skip("nvcc cannot be asked for its version here")
    assert first(text) == "ext-cuda-version-mismatch"
    assert "torch was built for CUDA 11.8" in cause(text)


def test_what_is_not_torch_but_called_so_is_named(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "torch").mkdir()
    (tmp_path / "half" / "torch" / "__init__.py").write_text("from torch._C import *\n")

    attribute = said(sys.executable, "-c", "import torch; torch.nn", cwd=tmp_path)
    package = said(sys.executable, "-c", "import torch.nn", cwd=tmp_path)
    half = said(sys.executable, "-c", "import torch", cwd=tmp_path / "half")

    for text in (attribute, package, half):
        assert first(text) == "torch-import-shadowed"


def test_pip_that_finds_no_torch_is_named(tmp_path: Path) -> None:
    text = said(
        sys.executable, "-m", "pip", "download", "torch==9.9.9", "--no-index", "--no-deps",
        "--find-links", tmp_path, "-d", tmp_path, "--disable-pip-version-check",
        environ={"PIP_CONSTRAINT": "", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip

    if "No module named pip" in text:
        pytest.skip("there is no pip")
    assert first(text) == "pip-no-matching-torch"
    assert "no torch that this Python and platform could take at all" in cause(text)


def test_every_problem_of_these_areas_is_in_the_catalogue() -> None:
    assert len([it for it in problems().values() if it.area in AREAS]) == 43
