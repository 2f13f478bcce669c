"""Compilers and toolkits: programs that say what real ones say, and those of this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from torchkit.machine.facts import Unknown, Value
from torchkit.machine.toolchain import cuda_home_and_nvcc, toolchain_facts
from torchkit.system import System, TimedOut
from torchkit.versions import Version

pytestmark = pytest.mark.skipif(os.name != "posix", reason="programs here are shell scripts")

NVCC = "nvcc: NVIDIA (R) Cuda compiler driver\nCopyright (c) 2005-2023 NVIDIA Corporation\n"


class Machine(System):
    """A machine of scripts, of any operating system and architecture."""

    def __init__(self, root: Path) -> None:
        super().__init__(root=root, environ={"PATH": "/usr/local/bin:/usr/bin:/bin"})
        self.set(PATH="/usr/local/bin:/usr/bin")
        self.names = ("linux", "x86_64")

    @property
    def platform(self) -> str:
        return self.names[0]

    @property
    def architecture(self) -> str:
        return self.names[1]

    def set(self, **variables: str) -> None:
        self.environ = {**self.environ, **variables}

    def write(self, path: str, text: str = "") -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def script(self, path: str, body: str) -> None:
        self.write(path, f"#!/bin/sh\n{body}\n").chmod(0o755)

    def program(self, path: str, says: str, *, dump: str | None = None) -> None:
        """A program that answers --version; with `dump`, gcc's own options too."""
        body = f"case $1 in\n-dump*) echo '{dump}';;\n" if dump else "case $1 in\n"
        self.script(path, f"{body}--version) cat <<'EOF'\n{says}\nEOF\n;;\nesac")

    def nvcc(self, path: str, version: str = "12.4.131") -> None:
        release = ".".join(version.split(".")[:2])
        self.program(path, f"{NVCC}Cuda compilation tools, release {release}, V{version}")

    def facts(self) -> dict[str, Value]:
        return toolchain_facts(self)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_tools_has_none(machine: Machine) -> None:
    assert set(machine.facts().values()) == {None}


# --- gcc


GCC = {
    "Debian 12": ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022 Free", "12.2.0"),
    "Ubuntu 24.04": ("g++ (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "13.3.0"),
    "RHEL 9": ("g++ (GCC) 11.5.0 20240719 (Red Hat 11.5.0-2)", "11.5.0"),
    "CentOS 7": ("g++ (GCC) 4.8.5 20150623 (Red Hat 4.8.5-44)", "4.8.5"),
    "devtoolset": ("g++ (GCC) 10.2.1 20210130 (Red Hat 10.2.1-11)", "10.2.1"),
    "SUSE": ("g++ (SUSE Linux) 7.5.0", "7.5.0"),
    "Arch": ("g++ (GCC) 15.1.1 20250729", "15.1.1"),
    "Gentoo": ("g++ (Gentoo 12.2.1_p20230121-r1 p10) 12.2.1 20230121", "12.2.1"),
    "Homebrew": ("g++-14 (Homebrew GCC 14.2.0_1) 14.2.0", "14.2.0"),
    "crosstool": ("g++ (crosstool-NG 1.24.0.123_1667d2b) 7.5.0", "7.5.0"),
    "conda": ("x86_64-conda-linux-gnu-c++ (conda-forge gcc 13.3.0-1) 13.3.0", "13.3.0"),
    "Alpine": ("g++ (Alpine 13.2.1_git20240309) 13.2.1 20240309", "13.2.1"),
}


@pytest.mark.parametrize("distribution", GCC)
def test_gcc_is_read_whatever_its_distributor_writes(machine: Machine, distribution: str) -> None:
    says, version = GCC[distribution]
    machine.program("/usr/bin/g++", says)

    facts = machine.facts()

    assert facts["gcc_version"] == Version(version)
    assert facts["gcc_path"] == "/usr/bin/g++"


def test_a_gcc_of_unusual_words_is_asked_once_more(machine: Machine) -> None:
    machine.program("/usr/bin/g++", "my compiler", dump="9.4.0")

    assert machine.facts()["gcc_version"] == Version("9.4.0")


def test_gcc_stands_in_for_a_missing_gxx(machine: Machine) -> None:
    machine.program("/usr/bin/gcc", "gcc (Debian 12.2.0-14) 12.2.0")

    assert machine.facts()["gcc_path"] == "/usr/bin/gcc"


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_conda_s_compiler_is_found_by_its_long_name(machine: Machine, architecture: str) -> None:
    machine.names = ("linux", architecture)
    name = f"{architecture}-conda-linux-gnu-c++"
    machine.program(f"/usr/bin/{name}", f"{name} (conda-forge gcc 13.3.0-1) 13.3.0")

    facts = machine.facts()

    assert facts["gcc_version"] == Version("13.3.0")
    assert facts["gcc_path"] == f"/usr/bin/{name}"


def test_a_clang_that_is_called_gxx_is_no_gcc(machine: Machine) -> None:
    machine.program("/usr/bin/g++", "Debian clang version 14.0.6\nTarget: x86_64", dump="14.0.6")
    machine.program("/usr/bin/gcc", "gcc (Debian 12.2.0-14) 12.2.0")

    facts = machine.facts()

    assert facts["gcc_version"] == Version("12.2.0")
    assert facts["gcc_path"] == "/usr/bin/gcc"


def test_on_a_mac_gxx_is_clang(machine: Machine) -> None:
    apple = "Apple clang version 15.0.0 (clang-1500.3.9.4)\nTarget: arm64-apple-darwin23.5.0"
    machine.names = ("darwin", "arm64")
    machine.write("/Library/Developer/CommandLineTools/usr/bin/clang")
    for name in ("g++", "clang++"):
        machine.program(f"/usr/bin/{name}", apple)

    facts = machine.facts()

    assert facts["gcc_version"] is None
    assert facts["gcc_path"] is None
    assert facts["clang_version"] == Version("15.0.0")


def test_on_a_mac_without_developer_tools_no_window_is_opened(machine: Machine) -> None:
    machine.names = ("darwin", "arm64")
    for name in ("g++", "gcc", "c++", "clang++", "clang"):
        machine.script(f"/usr/bin/{name}", f"touch {machine.root}/window")

    facts = machine.facts()

    assert facts["clang_version"] is None
    assert not (machine.root / "window").exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo no idea", "/usr/bin/g++ said: no idea"),
        ("exit 1", "/usr/bin/g++ said: nothing"),
        ("echo trouble >&2; kill -9 $$", "/usr/bin/g++ said: trouble"),
    ],
)
def test_a_gcc_that_does_not_say_is_unknown(machine: Machine, body: str, reason: str) -> None:
    machine.script("/usr/bin/g++", body)

    assert machine.facts()["gcc_version"] == Unknown(reason)


def test_a_compiler_that_hangs_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchkit.machine.toolchain.TOOL_LIMIT_S", 0.2)
    machine.script("/usr/bin/g++", "sleep 60")

    assert machine.facts()["gcc_version"] == TimedOut("g++ did not answer within 0.2 s")


# --- clang, cmake, nvcc


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("Ubuntu clang version 14.0.0-1ubuntu1.1\nTarget: x86_64-pc-linux-gnu", "14.0.0"),
        ("Debian clang version 14.0.6", "14.0.6"),
        ("clang version 20.0.0git (https://github.com/llvm/llvm-project 1a2b3c)", "20.0.0"),
        ("clang version 3.8.0-2ubuntu4 (tags/RELEASE_380/final)", "3.8.0"),
        ("clang version 21.1.0-rc2", "21.1.0"),
        ("Homebrew clang version 17.0.6", "17.0.6"),
        ("AMD clang version 17.0.0 (https://github.com/RadeonOpenCompute/llvm-project roc-6.0.0)", "17.0.0"),
    ],
)  # fmt: skip
def test_clang_is_read(machine: Machine, says: str, version: str) -> None:
    machine.program("/usr/bin/clang++", says)

    assert machine.facts()["clang_version"] == Version(version)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("cmake version 3.25.1\n\nCMake suite maintained and supported by Kitware", "3.25.1"),
        ("cmake version 4.0.0-rc1", "4.0.0-rc1"),
        ("cmake version 3.20.20210401-gabc1234", "3.20.20210401"),
        ("cmake version 3.31.2-dirty", "3.31.2"),
        ("cmake version 2.8.12.2", "2.8.12.2"),
        ("cmake3 version 3.17.5", "3.17.5"),
        ("cmake version 4.1.2.msvc", "4.1.2"),
    ],
)
def test_cmake_is_read(machine: Machine, says: str, version: str) -> None:
    machine.program("/usr/bin/cmake", says)

    told = machine.facts()["cmake_version"]

    assert str(told) == version
    assert told.major == int(version[0])


def test_a_release_candidate_of_cmake_comes_before_its_release(machine: Machine) -> None:
    machine.program("/usr/bin/cmake", "cmake version 4.0.0-rc1")

    assert machine.facts()["cmake_version"] < Version("4.0.0")


@pytest.mark.parametrize(
    "version", ["8.0.61", "9.0.176", "10.2.89", "11.8.89", "12.4.131", "13.0.88", "13.5.37"]
)
def test_nvcc_is_read(machine: Machine, version: str) -> None:
    machine.nvcc("/usr/local/cuda/bin/nvcc", version)

    assert str(machine.facts()["nvcc_version"]) == version


# --- where the toolkit is


def toolkit(machine: Machine, home: str, version: str = "12.4.131", header: str = "") -> None:
    machine.nvcc(f"{home}/bin/nvcc", version)
    machine.write(f"{home}/include/crt/host_config.h", header)


@pytest.mark.parametrize("name", ["CUDA_HOME", "CUDA_PATH"])
def test_a_variable_names_the_toolkit_before_path(machine: Machine, name: str) -> None:
    toolkit(machine, "/opt/cuda-11.8", "11.8.89")
    toolkit(machine, "/usr", "12.4.131")
    machine.set(**{name: "/opt/cuda-11.8/"})

    facts = machine.facts()

    assert facts["cuda_home"] == "/opt/cuda-11.8"
    assert facts["nvcc_path"] == "/opt/cuda-11.8/bin/nvcc"
    assert str(facts["nvcc_version"]) == "11.8.89"


def test_cuda_home_comes_before_cuda_path_and_an_empty_one_does_not_count(machine: Machine) -> None:
    toolkit(machine, "/a")
    toolkit(machine, "/b")
    machine.set(CUDA_HOME="/a", CUDA_PATH="/b")
    assert machine.facts()["cuda_home"] == "/a"

    machine.set(CUDA_HOME="")

    assert machine.facts()["cuda_home"] == "/b"


def test_a_wrong_variable_is_taken_at_its_word(machine: Machine) -> None:
    toolkit(machine, "/usr/local/cuda")
    machine.set(CUDA_HOME="/nowhere")

    facts = machine.facts()

    assert facts["cuda_home"] == "/nowhere"
    assert facts["nvcc_path"] is None
    assert facts["nvcc_version"] is None
    assert facts["nvcc_gcc_max"] is None


def test_a_link_on_path_leads_to_the_toolkit(machine: Machine) -> None:
    toolkit(machine, "/usr/local/cuda-12.4")
    link = machine.root / "usr/bin/nvcc"
    link.parent.mkdir(parents=True)
    link.symlink_to("../local/cuda-12.4/bin/nvcc")

    assert machine.facts()["cuda_home"] == "/usr/local/cuda-12.4"


def test_a_folder_that_is_a_link_keeps_the_name_the_user_knows(machine: Machine) -> None:
    toolkit(machine, "/usr/local/cuda-12.4")
    (machine.root / "usr/local/cuda").symlink_to("cuda-12.4")
    machine.set(PATH="/usr/local/cuda/bin")

    assert machine.facts()["cuda_home"] == "/usr/local/cuda"


def test_a_script_on_path_leads_to_the_toolkit(machine: Machine) -> None:
    toolkit(machine, "/usr/local/cuda-13.0", "13.0.88", "#if __GNUC__ > 15\n")
    says = f"{NVCC}Cuda compilation tools, release 13.0, V13.0.88"
    machine.script(
        "/usr/local/bin/nvcc",
        f'[ "$1" = --version ] && echo "{says}" && exit\nexec /usr/local/cuda-13.0/bin/nvcc "$@"',
    )

    facts = machine.facts()

    assert facts["cuda_home"] == "/usr/local/cuda-13.0"
    assert facts["nvcc_path"] == "/usr/local/bin/nvcc"
    assert facts["nvcc_gcc_max"] == 15


def test_a_script_that_names_itself_or_nothing_leads_nowhere(machine: Machine) -> None:
    machine.nvcc("/usr/local/bin/nvcc")
    machine.write(
        "/usr/local/bin/nvcc", "#!/bin/sh\n# /usr/local/bin/nvcc\n/gone/bin/nvcc\n"
    ).chmod(0o755)

    home, nvcc = cuda_home_and_nvcc(machine)

    assert (home, nvcc) == (Path("/usr/local"), Path("/usr/local/bin/nvcc"))


def test_debian_s_toolkit_has_its_headers_below_usr(machine: Machine) -> None:
    machine.nvcc("/usr/lib/nvidia-cuda-toolkit/bin/nvcc", "11.8.89")
    machine.nvcc("/usr/bin/nvcc", "11.8.89")
    machine.write("/usr/include/crt/host_config.h", "#if __GNUC__ > 11\n")
    machine.write("/usr/include/cuda.h")

    facts = machine.facts()

    assert facts["cuda_home"] == "/usr"
    assert facts["nvcc_gcc_max"] == 11


@pytest.mark.parametrize("target", ["x86_64-linux", "sbsa-linux", "aarch64-linux"])
def test_conda_s_toolkit_has_its_headers_below_targets(machine: Machine, target: str) -> None:
    machine.nvcc("/opt/conda/bin/nvcc")
    machine.write("/opt/conda/include/zlib.h")
    machine.write("/opt/conda/nvvm/bin/cicc")
    machine.write(f"/opt/conda/targets/{target}/include/crt/host_config.h", "#if __GNUC__ > 13\n")
    machine.set(PATH="/opt/conda/bin")

    facts = machine.facts()

    assert facts["cuda_home"] == "/opt/conda"
    assert facts["nvcc_gcc_max"] == 13


def test_a_toolkit_without_nvcc_is_a_home_all_the_same(machine: Machine) -> None:
    """The images named runtime have /usr/local/cuda, and no compiler."""
    machine.write("/usr/local/cuda/lib64/libcudart.so.12")

    facts = machine.facts()

    assert facts["cuda_home"] == "/usr/local/cuda"
    assert facts["nvcc_path"] is None


def test_on_windows_programs_end_in_exe(machine: Machine) -> None:
    machine.names = ("win32", "AMD64")
    home = "/C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/v12.4"
    machine.nvcc(f"{home}/bin/nvcc.exe")
    machine.set(CUDA_PATH=home)

    facts = machine.facts()

    assert facts["cuda_home"] == home
    assert facts["nvcc_path"] == f"{home}/bin/nvcc.exe"
    assert str(facts["nvcc_version"]) == "12.4.131"


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no torch is installed")
def test_the_toolkit_is_the_one_torch_s_own_builds_take(machine: Machine) -> None:
    """`_find_cuda_home` taken out of torch's file, which costs less than importing it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "utils" / "cpp_extension.py").read_text()
    found = re.search(r"(?ms)^def _find_cuda_home\(.*?^(?=\S)", source)
    assert found is not None
    toolkit(machine, "/opt/a")
    toolkit(machine, "/opt/b")
    (machine.root / "opt/c").mkdir()
    root = str(machine.root)

    cases: list[Mapping[str, str]] = [
        {"CUDA_HOME": "/opt/a"},
        {"CUDA_HOME": "/opt/a", "CUDA_PATH": "/opt/b"},
        {"CUDA_PATH": "/opt/b"},
        {"CUDA_HOME": "/opt/nothing"},
        {"CUDA_HOME": "", "CUDA_PATH": "/opt/b"},
        {"PATH": "/opt/b/bin"},
        {"PATH": "/opt/c:/opt/a/bin:/opt/b/bin"},
        {"PATH": "/opt/b/bin", "CUDA_HOME": "/opt/a"},
    ]
    for environ in cases:
        real = {name: text.replace("/opt", f"{root}/opt") for name, text in environ.items()}
        program = (
            "import os, shutil, glob\nclass torch:\n class cuda:\n  is_available = lambda: True\n"
            f"IS_WINDOWS = False\n{found[0]}\nprint(_find_cuda_home())"
        )
        judge = subprocess.run(
            [sys.executable, "-S", "-c", program],
            env=real,
            capture_output=True,
            text=True,
            check=True,
        )
        ours, _ = cuda_home_and_nvcc(System(environ=real))

        assert str(ours) == judge.stdout.strip(), environ


# --- what nvcc allows

HEADERS = {  # the conditions of NVIDIA's own headers, without the words around them
    "11.7": ("#if __GNUC__ > 11\n#if (__clang_major__ >= 14) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))\n", 11, 13),
    "12.4": (
        "#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 17))\n#if __GNUC__ > 13\n"
        "#if (__clang_major__ >= 18) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))\n"
        "#endif  /* (__clang_major__ >= 18) || (__clang_major__ < 3) */\n"
        "#if (__clang_major__ >= 18) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))\n", 13, 17,
    ),
    "13.5": (
        "#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 22))\n#if __GNUC__ > 16\n"
        "#if defined(__HORIZON__)\n#if (__clang_major__ >= 22) || (__clang_major__ < 3)\n#endif  /* (__clang_major__ >= 22) */\n"
        "#if defined(__clang__) && !defined(__HORIZON__)\n#if (__clang_major__ >= 23) || (__clang_major__ < 3)\n#endif  /* (__clang_major__ >=  23) */\n", 16, 22,
    ),
    "8.0": ("#if __GNUC__ > 5\n", 5, None),
}  # fmt: skip


@pytest.mark.parametrize("version", HEADERS)
def test_bounds_are_those_of_the_toolkit_s_header(machine: Machine, version: str) -> None:
    header, gcc, clang = HEADERS[version]
    toolkit(machine, "/usr/local/cuda", header=header)

    facts = machine.facts()

    assert facts["nvcc_gcc_max"] == gcc
    if clang is None:
        assert facts["nvcc_clang_max"] == Unknown("crt/host_config.h names no bound")
    else:
        assert facts["nvcc_clang_max"] == clang


def test_without_a_header_the_bounds_are_unknown(machine: Machine) -> None:
    machine.nvcc("/usr/local/cuda/bin/nvcc")

    bounds = machine.facts()

    assert bounds["nvcc_gcc_max"] == Unknown("the toolkit has no crt/host_config.h")
    assert bounds["nvcc_clang_max"] == Unknown("the toolkit has no crt/host_config.h")


def _header_of_this_machine() -> Path | None:
    home, nvcc = cuda_home_and_nvcc(System())
    header = home / "include" / "crt" / "host_config.h" if home and nvcc else None
    return header if header is not None and header.exists() else None


@pytest.mark.skipif(
    shutil.which("cpp") is None or _header_of_this_machine() is None,
    reason="needs a CUDA toolkit and a preprocessor",
)
@pytest.mark.parametrize("kind", ["gcc", "clang"])
def test_the_bounds_are_where_the_real_header_refuses(kind: str) -> None:
    header = _header_of_this_machine()
    bound = toolchain_facts(System())[f"nvcc_{kind}_max"]

    def refuses(major: int) -> bool:
        macro = [f"-D__GNUC__={major}"]
        if kind == "clang":
            macro = [
                "-D__GNUC__=4",
                "-D__clang__=1",
                f"-D__clang_major__={major}",
                "-D__clang_minor__=0",
            ]
        said = subprocess.run(
            ["cpp", "-undef", "-P", "-D__linux__", "-D__LP64__", "-D__CUDACC__", *macro, str(header)],
            capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        return f"unsupported {'GNU' if kind == 'gcc' else 'clang'} version" in said.stderr

    assert isinstance(bound, int)
    assert not refuses(bound)
    assert refuses(bound + 1)


# --- the compiler nvcc is told to use


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"NVCC_CCBIN": "g++-11"}, "gcc 11.4.0"),
        ({"NVCC_CCBIN": "/usr/bin/g++-11"}, "gcc 11.4.0"),
        ({"NVCC_CCBIN": "/opt/gcc11/bin"}, "gcc 11.4.0"),
        ({"CUDAHOSTCXX": "clang++-17"}, "clang 17.0.6"),
        ({"NVCC_CCBIN": "clang++-17", "CUDAHOSTCXX": "g++-11"}, "clang 17.0.6"),
        ({"NVCC_CCBIN": "", "CUDAHOSTCXX": "g++-11"}, "gcc 11.4.0"),
        ({"CUDAHOSTCXX": "mystery"}, "/usr/bin/mystery"),
        ({"CUDAHOSTCXX": "/gone/g++"}, "/gone/g++ (not found)"),
    ],
)
def test_the_host_compiler_is_the_one_variables_name(
    machine: Machine, variables: dict[str, str], expected: str | None
) -> None:
    gcc = "g++-11 (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0"
    machine.program("/usr/bin/g++-11", gcc)
    machine.program("/opt/gcc11/bin/g++", gcc)
    machine.program("/usr/bin/clang++-17", "Ubuntu clang version 17.0.6 (1)")
    machine.program("/usr/bin/mystery", "a compiler")
    machine.set(**variables)

    assert machine.facts()["host_compiler"] == expected


# --- this machine


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_this_machine_s_gcc_is_what_it_says_itself() -> None:
    said = subprocess.run(
        ["g++", "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=True
    )
    macro = subprocess.run(
        ["g++", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=True
    )
    if "__clang__" in macro.stdout:
        pytest.skip("g++ is clang here")

    facts = toolchain_facts(System())

    assert str(facts["gcc_version"]) == said.stdout.strip()
    assert facts["gcc_path"] == shutil.which("g++")


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_this_machine_s_cmake_is_what_it_says_itself(tmp_path: Path) -> None:
    script = tmp_path / "version.cmake"
    script.write_text("message(${CMAKE_VERSION})")
    said = subprocess.run(["cmake", "-P", str(script)], capture_output=True, text=True, check=True)

    assert str(toolchain_facts(System())["cmake_version"]) == said.stderr.strip()


def test_the_compiler_that_cxx_names_is_the_one_builds_take(machine: Machine) -> None:
    machine.program("/usr/bin/g++", "g++ (GCC) 8.5.0 20210514")
    machine.program("/usr/bin/g++-12", "g++-12 (Debian 12.2.0-14) 12.2.0")
    machine.set(CXX="g++-12 -march=native")

    assert machine.facts()["gcc_version"] == Version("12.2.0")
