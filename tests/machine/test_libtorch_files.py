"""A libtorch on disk. The judges: g++, ld and the loader, readelf, and the installed torch."""

from __future__ import annotations

import random
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.installs import HAS_TORCH, TORCH
from tests.libtorchs import (
    CUDART,
    HAS_COMPILER,
    NEW_CUDART,
    OLD_CUDART,
    PROGRAM,
    add_cuda,
    compile_cudart,
    compile_library,
    make_libtorch,
    run,
    zipped,
)
from torchkit.checks.libtorch_cuda import NO_NVRTC
from torchkit.errors import BadInput
from torchkit.machine.facts import Facts, Libtorch
from torchkit.machine.libtorch_files import libtorch_file_facts
from torchkit.system import System

needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs g++ and glibc")


def looked_at(path: Path | str, *, cuda_home: Path | None = None) -> Libtorch:
    facts = libtorch_file_facts(System(), [str(path)], cuda_home=cuda_home)
    (libtorch,) = facts["libtorchs"]
    assert isinstance(libtorch, Libtorch)
    return libtorch


def linked(libtorch: Path, program: Path, *options: object) -> str:
    """What the linker says; nothing where it links."""
    libraries = libtorch / "lib"
    done = run("g++", program, libraries / "libc10.so", *options, "-o", program.with_suffix(".out"))
    return done.stderr


def program(folder: Path, code: str = PROGRAM) -> Path:
    path = folder / "main.cpp"
    path.write_text(code)
    return path


@pytest.fixture(scope="module")
def new_abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_libtorch(tmp_path_factory.mktemp("new") / "libtorch", abi=1)


@pytest.fixture(scope="module")
def old_abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_libtorch(tmp_path_factory.mktemp("old") / "libtorch", abi=0)


# --- reading


@needs_compiler
@pytest.mark.parametrize("abi", [0, 1])
def test_folder_zip_and_wheel_tell_the_same(abi: int, tmp_path: Path) -> None:
    folder = make_libtorch(tmp_path / "libtorch", abi=abi)
    record = "torch-2.5.1+cpu.dist-info/METADATA"
    wheel = zipped(folder, tmp_path / "torch-2.5.1+cpu.whl", prefix="torch", extra=[record])
    places = [folder, tmp_path, zipped(folder, tmp_path / "a.zip"), wheel]
    places += [folder / "share" / "cmake" / "Torch", folder / "share" / "cmake"]

    found = [looked_at(place) for place in places]

    assert [it.kind for it in found] == ["folder", "folder", "zip", "wheel", "folder", "folder"]
    same = {
        it._replace(
            path="", kind="", cmake_prefix=None, folder_inside=None, is_debug=None, not_read=None
        )
        for it in found
    }
    (libtorch,) = same
    assert libtorch.cxx11_abi is bool(abi)
    assert (libtorch.version, libtorch.variant, libtorch.cuda) == ("2.5.1+cpu", "cpu", None)
    assert libtorch.problem is libtorch.error is None
    assert found[0].cmake_prefix == found[1].cmake_prefix == str(folder)
    assert found[2].cmake_prefix is None
    assert [it.folder_inside for it in found[:4]] == [None, None, "libtorch", "torch"]


@needs_compiler
def test_needed_versions_are_those_of_readelf(new_abi: Path) -> None:
    shown = run("readelf", "-VW", new_abi / "lib" / "libc10.so").stdout

    libtorch = looked_at(new_abi)

    glibcxx = [tuple(map(int, it.split("."))) for it in re.findall(r"GLIBCXX_([\d.]+)", shown)]
    assert libtorch.glibcxx_needed == ".".join(map(str, max(glibcxx)))
    assert libtorch.glibcxx_needed_by == "libc10.so"


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch")
def test_the_installed_torch_is_one(tmp_path: Path) -> None:
    assert TORCH is not None
    version = re.search(r"__version__ = '(.+)'", (TORCH / "version.py").read_text("utf-8"))
    assert version is not None

    package = looked_at(TORCH)
    site = looked_at(TORCH.parent)

    assert package.version == version[1]
    assert package.problem is None
    assert package.string_symbol is not None
    assert site._replace(path="") == package._replace(path="")


@needs_compiler
def test_what_is_told_survives_a_saved_report(old_abi: Path) -> None:
    facts = Facts(libtorch_file_facts(System(), [str(old_abi)]))

    assert Facts.from_json(facts.to_json(), where="a file")["libtorchs"] == facts["libtorchs"]


@pytest.mark.parametrize(
    ("name", "version", "variant", "cuda", "debug"),
    [
        ("libtorch-cxx11-abi-shared-with-deps-1.10.2%2Bcu113.zip", "1.10.2+cu113", "cu113", "11.3", None),
        ("libtorch-shared-with-deps-2.8.0+cpu.zip", "2.8.0+cpu", "cpu", None, None),
        ("libtorch-win-shared-with-deps-debug-2.1.0%2Bcu118.zip", "2.1.0+cu118", "cu118", "11.8", True),
        ("libtorch-macos-arm64-2.2.0.zip", "2.2.0", "cpu", None, None),
        ("download (1).zip", None, "cpu", None, None),
    ],
)  # fmt: skip
def test_a_download_without_texts_is_known_by_its_name(
    name: str, version: str, variant: str, cuda: str, debug: bool, tmp_path: Path
) -> None:
    system = {"libtorch-win": ".lib", "libtorch-mac": ".dylib"}.get(name[:12], ".lib")
    library = f"libtorch/lib/{'lib' if system == '.dylib' else ''}"
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{library}c10{system}", "x")
        if cuda is not None:
            archive.writestr(f"{library}c10_cuda{system}", "x")

    found = looked_at(path)

    assert (found.version, found.variant, found.cuda, found.is_debug) == (
        version,
        variant,
        cuda,
        debug,
    )
    assert found.os_system == ("macos" if system == ".dylib" else "windows")


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"build-version": "1.10.2+cu113\n"}, "1.10.2+cu113"),
        ({"version.py": "__version__ = '2.0.1+cu118'\ncuda: Optional[str] = '11.8'\n"}, "2.0.1+cu118"),
        ({"share/cmake/Torch/TorchConfigVersion.cmake": 'set(PACKAGE_VERSION "1.7.1")'}, "1.7.1"),
        (
            {
                "include/torch/csrc/api/include/torch/version.h": "#define TORCH_VERSION_MAJOR 1\n"
                "#define TORCH_VERSION_MINOR 9\n#define TORCH_VERSION_PATCH 0\n"
            },
            "1.9.0",
        ),
        ({"build-version": "1.9.0", "version.py": "__version__ = '1.9.0+cu111'"}, "1.9.0+cu111"),
        ({"build-version": "what?"}, None),
    ],
)  # fmt: skip
def test_where_the_version_is_told(
    files: dict[str, str], version: str | None, tmp_path: Path
) -> None:
    for name, text in {"lib/c10.lib": "x", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert looked_at(tmp_path).version == version


# --- what is none, or not whole


def test_a_path_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not there"):
        looked_at(tmp_path / "nothing")
    with pytest.raises(BadInput, match="neither a folder nor a file"):
        looked_at("/dev/null")


def test_a_folder_and_a_zip_without_one(tmp_path: Path) -> None:
    zipped_twice = tmp_path / "outer.zip"
    with zipfile.ZipFile(zipped_twice, "w") as archive:
        archive.writestr("libtorch-2.8.0.zip", b"PK")
    other = tmp_path / "torchvision-0.20.1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("torchvision/_C.so", b"x")
        archive.writestr("torchvision-0.20.1.dist-info/METADATA", b"Name: torchvision")
    page = tmp_path / "libtorch.zip"
    page.write_text("<html>404</html>")

    problems = [looked_at(it).problem or "" for it in (tmp_path, zipped_twice, other, page)]

    assert "there is no libtorch in it" in problems[0]
    assert "another archive in it, libtorch-2.8.0.zip" in problems[1]
    assert problems[2] == "it is a wheel of torchvision, not of torch"
    assert "a web page, not a zip" in problems[3]


@needs_compiler
def test_a_folder_of_headers_that_is_missing_is_named(new_abi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "libtorch"
    shutil.copytree(new_abi, folder)
    shutil.rmtree(folder / "include" / "ATen")
    shutil.rmtree(folder / "include" / "c10")

    found = looked_at(folder)

    assert found.problem == "include/c10, include/ATen are missing"
    assert found.error == "fatal error: c10/macros/Export.h: No such file or directory"


@needs_compiler
@pytest.mark.parametrize(("prefix", "inside"), [("libtorch-2.5.1", "libtorch-2.5.1"), (".", "")])
def test_where_it_lies_in_an_archive_is_told(
    prefix: str, inside: str, new_abi: Path, tmp_path: Path
) -> None:
    found = looked_at(zipped(new_abi, tmp_path / "a.zip", prefix=prefix))

    assert (found.problem, found.folder_inside) == (None, inside)


@needs_compiler
def test_a_folder_below_that_is_one_is_named(new_abi: Path, tmp_path: Path) -> None:
    shutil.copytree(new_abi, tmp_path / "above" / "any name")

    found = looked_at(tmp_path / "above")

    assert found.subfolder == str(tmp_path / "above" / "any name")
    assert "there is one in its folder any name" in (found.problem or "")


@needs_compiler
@pytest.mark.parametrize(
    "name",
    ["lib/libtorch_cpu.so", "share/cmake/Torch/TorchConfig.cmake", "lib/libc10.so"],
)
def test_a_missing_file_is_named(name: str, new_abi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "libtorch"
    shutil.copytree(new_abi, folder)
    (folder / name).unlink()

    found = looked_at(folder)

    assert found.problem == f"{name} is missing"
    assert looked_at(zipped(folder, tmp_path / "a.zip")).problem == found.problem


@needs_compiler
def test_a_library_that_is_cut_off_is_named_and_ld_refuses_it(
    new_abi: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "libtorch"
    shutil.copytree(new_abi, folder)
    library = folder / "lib" / "libc10.so"
    library.write_bytes(library.read_bytes()[:9000])

    found = looked_at(folder)

    assert (found.problem or "").startswith("lib/libc10.so: ")
    assert "file" in linked(folder, program(tmp_path))


# --- the C++ ABI, against the linker


@needs_compiler
@pytest.mark.parametrize("abi", [0, 1])
def test_the_predicted_reference_is_what_ld_says(
    abi: int, old_abi: Path, new_abi: Path, tmp_path: Path
) -> None:
    libtorch = new_abi if abi else old_abi
    own, other = (f"-D_GLIBCXX_USE_CXX11_ABI={it}" for it in (abi, 1 - abi))

    found = looked_at(libtorch)

    assert linked(libtorch, program(tmp_path), own) == ""
    assert f"undefined reference to `{found.string_symbol}'" in linked(
        libtorch, program(tmp_path), other
    )


@pytest.mark.skipif(not HAS_COMPILER or shutil.which("cmake") is None, reason="needs g++ and cmake")
@pytest.mark.parametrize("sets_abi", [True, False])
def test_with_cmake_files_that_set_the_abi_it_links(sets_abi: bool, tmp_path: Path) -> None:
    libtorch = make_libtorch(tmp_path / "libtorch", abi=0, sets_abi=sets_abi)
    project = tmp_path / "project"
    project.mkdir()
    program(project)
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.10)\nproject(p LANGUAGES CXX)\n"
        "find_package(Torch REQUIRED)\nadd_executable(main main.cpp)\n"
        "target_link_libraries(main ${TORCH_LIBRARIES})\n"
    )

    found = looked_at(libtorch)
    configured = run(
        "cmake", "-S", project, "-B", project / "build",
        f"-DCMAKE_PREFIX_PATH={found.cmake_prefix}", "-DCMAKE_CXX_FLAGS=-Wno-error",
    )  # fmt: skip
    built = run("cmake", "--build", project / "build")

    assert configured.returncode == 0, configured.stderr
    assert found.cmake_cxx11_abi is (False if sets_abi else None)
    assert (built.returncode == 0) is sets_abi


# --- CUDA, against the linker


def cuda_libtorch(folder: Path, brought: Sequence[tuple[str, str]] = ()) -> Path:
    """A CUDA 11.3 build that brings these copies of libcudart: file name and name inside."""
    libtorch = make_libtorch(folder / "libtorch")
    needed = compile_cudart(folder / "toolkit-11.3", NEW_CUDART)
    for name, soname in brought:
        copy = compile_cudart(libtorch / "lib", NEW_CUDART, name=name, soname=soname)
        needed = compile_cudart(folder / "as-built", NEW_CUDART, name=name, soname=name)
        assert copy.is_file()
    add_cuda(libtorch, needed)
    return libtorch


def toolkit(folder: Path, code: str) -> Path:
    compile_cudart(folder / "cuda" / "lib64", code)
    return folder / "cuda"


USES_CUDA = (
    'extern "C" int cudaMalloc(); namespace at { int capture(); }'
    "int main() { return at::capture() + cudaMalloc(); }"
)
USES_TORCH_ALONE = "namespace at { int capture(); } int main() { return at::capture(); }"
NVRTC_ON_THE_LINE = {
    "Torch/TorchConfig.cmake": "set(TORCH_CUDA_LIBRARIES ${CUDA_NVRTC_LIB})\n",
    "Caffe2/public/cuda.cmake": 'set(CUDA_NVRTC_LIB "${CUDA_nvrtc_LIBRARY}" CACHE FILEPATH "")\n',
}
"""As torch 2.14 has it."""


@needs_compiler
@pytest.mark.parametrize("has_nvrtc", [False, True])
def test_a_library_that_cmake_puts_on_every_command_line_is_looked_for_in_the_toolkit(
    has_nvrtc: bool, tmp_path: Path
) -> None:
    libtorch = cuda_libtorch(tmp_path)
    for name, text in NVRTC_ON_THE_LINE.items():
        file = libtorch / "share" / "cmake" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as config:
            config.write(text)
    home = toolkit(tmp_path, NEW_CUDART)
    if has_nvrtc:
        (home / "lib64" / "libnvrtc.so").write_text("")

    found = looked_at(libtorch, cuda_home=home)
    said = linked(libtorch, program(tmp_path), "-lCUDA_nvrtc_LIBRARY-NOTFOUND")

    assert found.missing_on_link_line == (None if has_nvrtc else "libnvrtc.so")
    assert NO_NVRTC in said


SYMBOL = f"cudaStreamUpdateCaptureDependencies@{CUDART}"


@needs_compiler
@pytest.mark.parametrize(
    ("brought", "links", "links_with_cuda"),
    [
        ((), False, False),
        (((CUDART, CUDART),), False, False),
        ((("libcudart-a7b20f20.so.11.0", CUDART),), True, False),
        ((("libcudart-a7b20f20.so.11.0", "libcudart-a7b20f20.so.11.0"),), True, True),
    ],
    ids=["not brought", "brought", "brought under another name", "renamed inside too"],
)
def test_a_symbol_that_the_toolkit_lacks_stops_the_link_as_predicted(
    brought: Sequence[tuple[str, str]], links: bool, links_with_cuda: bool, tmp_path: Path
) -> None:
    libtorch = cuda_libtorch(tmp_path, brought)
    home = toolkit(tmp_path, OLD_CUDART)
    libraries = (libtorch / "lib" / "libtorch_cuda.so", home / "lib64" / CUDART)

    found = looked_at(libtorch, cuda_home=home)
    alone = linked(libtorch, program(tmp_path, USES_TORCH_ALONE), *libraries)
    with_cuda = linked(libtorch, program(tmp_path, USES_CUDA), *libraries)

    said = f"libtorch_cuda.so: undefined reference to `{SYMBOL}'"
    assert (said not in alone) is links
    assert (said not in with_cuda) is links_with_cuda
    assert found.missing_cuda_symbol == (None if links_with_cuda else SYMBOL)
    assert found.missing_cuda_stops_link is (None if links_with_cuda else not links)
    if found.missing_cuda_symbol is not None:
        assert found.missing_cuda_symbol_by == "libtorch_cuda.so"


@needs_compiler
def test_a_toolkit_that_is_new_enough_lacks_nothing(tmp_path: Path) -> None:
    libtorch = cuda_libtorch(tmp_path)

    found = looked_at(libtorch, cuda_home=toolkit(tmp_path, NEW_CUDART))

    assert found.missing_cuda_symbol is None
    assert (found.cuda, found.variant) == ("11.3", "cu113")
    assert found.cuda_libraries == (CUDART,)


@needs_compiler
def test_a_library_that_is_nowhere_is_named(tmp_path: Path) -> None:
    libtorch = cuda_libtorch(tmp_path)
    home = tmp_path / "cuda-12"
    (home / "lib64").mkdir(parents=True)

    found = looked_at(libtorch, cuda_home=home)
    said = linked(
        libtorch, program(tmp_path, USES_TORCH_ALONE), libtorch / "lib" / "libtorch_cuda.so"
    )

    assert (found.missing_cuda_library, found.missing_cuda_symbol) == (CUDART, SYMBOL)
    assert f"undefined reference to `{SYMBOL}'" in said


@needs_compiler
def test_what_the_libraries_need_goes_before_a_name(tmp_path: Path) -> None:
    libtorch = cuda_libtorch(tmp_path)
    (libtorch / "build-version").write_text("2.5.1+cpu\n")

    found = looked_at(libtorch)

    assert (found.variant, found.cuda) == ("cuda", "11")


# --- the C library, against the loader


@needs_compiler
def test_the_loader_refuses_a_library_for_a_newer_glibc(new_abi: Path, tmp_path: Path) -> None:
    libtorch = tmp_path / "libtorch"
    shutil.copytree(new_abi, libtorch)
    library = compile_library(
        libtorch / "lib" / "libtorch_cpu.so",
        '#include <string.h>\nextern "C" int cpu(char *a) { return strlen(a) + memcmp(a, a, 1); }',
        "-fno-builtin",
    )
    main = program(
        tmp_path, 'extern "C" int cpu(char *); int main() { char a[] = "a"; return cpu(a); }'
    )
    run("g++", main, library, f"-Wl,-rpath,{library.parent}", "-o", tmp_path / "main")
    asked = run("readelf", "-VW", library).stdout
    (old,) = set(re.findall(r"GLIBC_(2\.\d+(?:\.\d+)?)", asked))
    new = "2.99" + "9" * (len(old) - 4)
    patched = library.read_bytes().replace(f"GLIBC_{old}".encode(), f"GLIBC_{new}".encode())
    old_hash, new_hash = (_hash(f"GLIBC_{it}") for it in (old, new))
    library.write_bytes(patched.replace(old_hash, new_hash))

    found = looked_at(libtorch)

    assert (found.glibc_needed, found.glibc_needed_by) == (new, "libtorch_cpu.so")
    said = run(tmp_path / "main").stderr
    assert f"version `GLIBC_{new}' not found (required by {library})" in said


def _hash(name: str) -> bytes:
    value = 0
    for letter in name.encode():
        value = (value << 4) + letter
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value.to_bytes(4, "little")


# --- what is damaged


@needs_compiler
def test_damage_is_told_and_never_raised(new_abi: Path, tmp_path: Path) -> None:
    good = zipped(new_abi, tmp_path / "a.zip").read_bytes()
    library = (new_abi / "lib" / "libc10.so").read_bytes()
    folder = tmp_path / "libtorch"
    shutil.copytree(new_abi, folder)
    path = tmp_path / "damaged.zip"

    for seed in range(300):
        dice = random.Random(seed)  # noqa: S311 - the same damage at every run
        data, elf = bytearray(good), bytearray(library)
        for _ in range(dice.randrange(1, 8)):
            data[-dice.randrange(1, 1500)] = dice.randrange(256)
            elf[dice.randrange(4000)] = dice.randrange(256)
        path.write_bytes(data)
        (folder / "lib" / "libc10.so").write_bytes(elf)

        for place in (path, folder):
            found = looked_at(place)
            assert found.problem or found.version == "2.5.1+cpu" or found.version is None


@needs_compiler
def test_an_encrypted_library_was_not_looked_at(new_abi: Path, tmp_path: Path) -> None:
    data = bytearray(zipped(new_abi, tmp_path / "a.zip").read_bytes())
    name = data.rindex(b"libtorch/lib/libtorch_cpu.so")
    data[name - 46 + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)

    found = looked_at(tmp_path / "a.zip")

    assert found.not_read == "lib/libtorch_cpu.so: it is encrypted"
    assert found.cxx11_abi is True
