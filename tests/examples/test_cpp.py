"""The C++ programs of examples/cpp build and run, and have the values that Python has.

Each row that a program prints holds Python, C++ and a value: here the Python is run.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchkit.commands.explain import explained
from torchkit.report import Finding
from torchkit.system import System

TOOLS = ("cmake", "make", "g++")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(sys.platform != "linux", reason="built with the tools of Linux"),
    pytest.mark.skipif(bool(MISSING), reason=f"the C++ examples need {', '.join(MISSING)}"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

ROOT = Path(__file__).parents[2]
CPP = ROOT / "examples" / "cpp"
PROGRAMS = (
    "creation", "from_blob", "elements", "indexing", "dtypes", "sizes", "printing", "device",
    "version", "aten",
)  # fmt: skip


def ran(*command: object, code: int | None = 0, limit_s: float = 600) -> str:
    """What a program writes, in English; no CUDA toolkit and no options of the caller's shell."""
    unwanted = (
        "CXXFLAGS",
        "CFLAGS",
        "LDFLAGS",
        "CMAKE_GENERATOR",
        "CMAKE_PREFIX_PATH",
        "Torch_ROOT",
    )
    environ = {name: it for name, it in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
        env={**environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)},
    )
    assert code is None or done.returncode == code, done.stdout
    return done.stdout


def configured(source: Path, build: Path, prefix: str, *options: str) -> str:
    return ran("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *options)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What CMakeLists.txt tells to put into CMAKE_PREFIX_PATH; skips where it cannot be built with."""

    def fact(name: str) -> str:
        return ran(sys.executable, "-m", "torchkit", "env", "--get", name).strip()

    found = fact("torch_cmake_prefix")
    if fact("torch_cuda"):
        folder = tmp_path_factory.mktemp("cuda")
        log = ran("cmake", "-S", CPP, "-B", folder, f"-DCMAKE_PREFIX_PATH={found}", code=None)
        if "Build files have been written" not in log:
            pytest.skip(f"this torch is for CUDA, and its toolkit is not whole: {named(log).id}")
    return found


def test_an_unpacked_libtorch_is_found_by_its_folder(tmp_path: Path, prefix: str) -> None:
    libtorch = Path(prefix).parents[1]

    log = configured(CPP, tmp_path, str(libtorch))

    assert f"Found Torch: {libtorch}/lib/" in log


# --- the programs


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, prefix: str) -> Iterator[Path]:
    """The project, built once: half a gigabyte of compiled headers, which does not stay."""
    folder = tmp_path_factory.mktemp("cpp")
    configured(CPP, folder, prefix)
    ran("cmake", "--build", folder, "--parallel", 2)
    yield folder
    shutil.rmtree(folder)


def rows(output: str) -> list[tuple[str, str, str]]:
    """Python, C++ and the value, of the lines that have all three."""
    found = []
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) == 3:
            found.append((cells[0], cells[1], cells[2]))
    return found


def in_python(code: str, names: dict[str, Any]) -> Any:
    """Runs statements, and gives the last one's value: what it computes, or what it assigns."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), code, "exec"), names)  # noqa: S102 - our own examples
    if isinstance(last, ast.Assign):
        exec(compile(ast.Module([last], []), code, "exec"), names)  # noqa: S102 - our own examples
        return names[ast.unparse(last.targets[0])]
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), code, "eval"), names)  # noqa: S307 - our own examples


def flat(value: Any) -> list[Any]:
    """Numbers of nested lists in their order."""
    return [it for part in value for it in flat(part)] if isinstance(value, list) else [value]


def shape(value: Any) -> list[int]:
    return [len(value), *shape(value[0])] if isinstance(value, list) else []


def is_same(said: str, value: Any) -> bool:
    """Whether a program's words for a value are this value; fractions to six digits."""
    import torch

    if isinstance(value, torch.Tensor):
        dtype, _, numbers = said.partition(" ")
        listed = value.tolist()
        if dtype != str(value.dtype).removeprefix("torch."):
            return False
    elif isinstance(value, bool | int | float | list):
        numbers, listed = said, value
    else:
        return said == str(value)
    seen = ast.literal_eval(numbers)
    pairs = zip(flat(seen), flat(listed), strict=True)
    return shape(seen) == shape(listed) and all(
        type(a) is bool and a is b if type(b) is bool else math.isclose(a, b, rel_tol=1e-5)
        for a, b in pairs
    )


def test_the_comparison_tells_values_dtypes_and_shapes_apart() -> None:
    import torch

    x = torch.tensor([[1, 2]])

    assert is_same("int64 [[1, 2]]", x)
    assert not is_same("int64 [[1, 3]]", x)
    assert not is_same("int64 [1, 2]", x)
    assert not is_same("int32 [[1, 2]]", x)
    assert is_same("bool [True]", x[0, :1] > 0)
    assert not is_same("bool [1]", x[0, :1] > 0)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_has_the_values_that_python_has(program: str, build: Path) -> None:
    import torch

    output = ran(build / program, limit_s=100)
    names: dict[str, Any] = {"torch": torch, "array": array}
    compared = rows(output)

    assert len(compared) >= 3 or program == "printing"
    for python, cpp, said in compared:
        value = in_python(python, names)
        assert is_same(said, value), f"{cpp} is {said}, {python} is {value}"


def test_the_table_of_indices_has_every_kind(build: Path) -> None:
    cpp = "\n".join(row[1] for row in rows(ran(build / "indexing")))

    for kind in (
        "Slice()",
        "Slice(1)",
        "Slice(None, None, 2)",
        "Ellipsis",
        "None}",
        "mask",
        "rows",
    ):
        assert kind in cpp


def test_memory_that_is_shared_is_freed_by_the_last_tensor(build: Path) -> None:
    lines = ran(build / "from_blob").splitlines()

    written = next(i for i, line in enumerate(lines) if "handed_over()" in line)
    assert "the memory with it" in lines[written + 1]


def test_elements_one_by_one_cost_many_times_more(build: Path) -> None:
    output = ran(build / "elements")

    times = {
        line[:12].strip(): float(line.split()[-7])
        for line in output.splitlines()
        if " ns for" in line
    }
    assert list(times) == ["x[i][j]", "accessor", "data pointer"]
    assert times["x[i][j]"] > 5 * times["accessor"]
    assert "accessor<double, 2>: expected scalar type Double but found Float" in output


def test_a_printed_tensor_has_its_numbers_and_its_kind(build: Path) -> None:
    import torch

    output = ran(build / "printing")

    first, second, kind, *_ = output.splitlines()
    assert [[int(it) for it in line.split()] for line in (first, second)] == torch.arange(6).view(2, 3).tolist()  # fmt: skip
    assert kind == "[ CPULongType{2,3} ]"
    assert "TORCH_CHECK: expected 4 columns, got [2, 3]" in output


def test_the_device_can_be_named_when_the_program_runs(build: Path) -> None:
    assert "this program takes cpu" in ran(build / "device", "cpu")


def test_the_operator_runs_in_python_with_a_gradient(build: Path) -> None:
    output = ran(sys.executable, "-W", "ignore", CPP / "custom_op.py", build, limit_s=100)

    assert "leaky: [-0.2" in output
    assert "gradient: [0.1" in output


@pytest.mark.gpu
def test_a_kernel_writes_into_a_tensor(build: Path) -> None:
    import torch

    if not (build / "cuda_kernel").exists() or not torch.cuda.is_available():
        pytest.skip("there is no GPU, or no CUDA compiler for this torch")

    ((python, _, said),) = rows(ran(build / "cuda_kernel"))

    assert is_same(said, in_python(python, {"torch": torch}))


def test_every_program_stands_in_the_map_with_its_own_command() -> None:
    table = (CPP / "README.md").read_text()

    for path in (*CPP.glob("*.c[pu]*"), *CPP.glob("broken/*/CMakeLists.txt")):
        name = path.stem if path.parent == CPP else path.parent.name
        shown = path.name if path.parent == CPP else f"broken/{name}"
        if name != "show":
            assert f"({shown})" in table
            assert name in path.read_text().splitlines()[0]


# --- the builds that fail


def broken(name: str, folder: Path, prefix: str) -> str:
    """The log of a build that must fail."""
    log = configured(CPP / "broken" / name, folder, prefix)
    log += ran("cmake", "--build", folder, code=None)
    assert "Error" in "".join(log.splitlines()[-8:]), (
        log
    )  # under make it says that it leaves folders
    return log


def named(log: str) -> Finding:
    """What explain says of it first, having looked at this machine."""
    return explained(log, System()).findings[0]


def checked(finding: Finding) -> str:
    return "\n".join(it.value for it in finding.verdict.evidence if it.name == "checked")


def test_the_wrong_abi_does_not_link_and_is_named(tmp_path: Path, prefix: str) -> None:
    import torch

    if not torch.compiled_with_cxx11_abi():
        pytest.skip("this torch has the old ABI, which is what the example compiles for")

    log = broken("wrong_abi", tmp_path, prefix)

    assert named(log).id == "link-cxx11-abi"
    assert "confirmed: " in checked(named(log))
    assert "under the other C++ ABI only" in checked(named(log))


def test_a_libtorch_that_is_not_linked_is_named(tmp_path: Path, prefix: str) -> None:
    log = broken("not_linked", tmp_path, prefix)

    assert named(log).id == "link-torch-libs-missing"
    assert "just as the linker wants them" in checked(named(log))


def test_a_libtorch_for_a_newer_cuda_does_not_link_and_is_named(
    tmp_path: Path, prefix: str
) -> None:
    log = broken("newer_cuda", tmp_path, prefix)

    assert named(log).id == "link-cudart-symbol-version"
    assert "cudaGetDriverEntryPointByVersion@libcudart.so.12" in named(log).verdict.message


def test_with_the_newer_toolkit_it_links(tmp_path: Path, prefix: str) -> None:
    source = Path(shutil.copytree(CPP / "broken" / "newer_cuda", tmp_path / "source"))
    text = (source / "CMakeLists.txt").read_text()
    (source / "CMakeLists.txt").write_text(
        text.replace("$<TARGET_FILE:cudart-12.1>", "$<TARGET_FILE:cudart-12.6>")
    )

    configured(source, tmp_path / "build", prefix)
    ran("cmake", "--build", tmp_path / "build")


def test_the_old_registration_does_not_compile_and_is_named(tmp_path: Path, prefix: str) -> None:
    log = broken("old_registration", tmp_path, prefix)

    assert "RegisterOperators" in log
    assert named(log).id == "register-operators-removed"


def test_the_short_hash_is_a_warning_that_is_said_to_be_harmless(
    tmp_path: Path, prefix: str
) -> None:
    source = CPP / "broken" / "no_python"

    log = configured(source, tmp_path / "without", prefix)
    cured = configured(source, tmp_path / "with", prefix, "-DCURE=ON")

    assert "Failed to compute shorthash for libnvrtc.so" in log
    assert named(log).id == "cmake-nvrtc-shorthash"
    assert "nothing is wrong" in named(log).verdict.message
    assert "shorthash is " in cured
    assert "Warning" not in cured
