"""Trial builds with the real cmake, compiler, linker and loader, against small libtorchs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stub_libtorch import make_libtorch
from torchkit.errors import BadInput
from torchkit.knowledge.compat import build_error
from torchkit.machine.facts import BuildTrial
from torchkit.machine.interpreter import own_interpreter
from torchkit.machine.probe import AGAIN, build_trial_facts
from torchkit.system import System

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not all(map(shutil.which, ("cmake", "make", "g++"))),
    reason="needs cmake, make and g++ on Linux",
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def libtorch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A libtorch of the new ABI, whole."""
    return make_libtorch(tmp_path_factory.mktemp("new") / "libtorch")


@pytest.fixture
def copy(libtorch: Path, tmp_path: Path) -> Path:
    """One to damage."""
    return Path(shutil.copytree(libtorch, tmp_path / "libtorch"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files, which is empty again after every trial."""
    place = tmp_path / "tmp"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture
def attempt(place: Path) -> Callable[..., BuildTrial]:
    """Builds against a libtorch, in the environment of the tests and what is given."""

    def build(folder: Path, *, limit_s: float = 60.0, **environ: str) -> BuildTrial:
        own = {
            name: value
            for name, value in os.environ.items()
            if name not in ("CXX", "CC", "CXXFLAGS", "CFLAGS", "LDFLAGS", "CMAKE_GENERATOR")
        }
        system = System(environ={**own, "TMPDIR": str(place), **environ})
        facts = build_trial_facts(system, own_interpreter(), {}, [str(folder)], limit_s=limit_s)
        (trial,) = facts["build_trials"]
        assert isinstance(trial, BuildTrial)
        return trial

    return build


def cause(trial: BuildTrial) -> str | None:
    """The id of what our table makes of it."""
    known = build_error(f"{trial.error}\n{trial.output}", stage=trial.stage)
    return known.id if known else None


def configured(folder: Path, text: str) -> Path:
    """The libtorch with a text in front of its CMake file."""
    config = folder / "share" / "cmake" / "Torch" / "TorchConfig.cmake"
    config.write_text(f"{text}\n{config.read_text()}")
    return folder


def programs(folder: Path, *names: str) -> str:
    """A PATH that has these programs and no other."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


# --- it builds and runs


def test_a_whole_libtorch_is_built_against_and_runs(
    attempt: Callable[..., BuildTrial], libtorch: Path
) -> None:
    trial = attempt(libtorch)

    assert (trial.stage, trial.succeeded, trial.error) == ("run", True, None)
    assert trial.output == "libtorch 2.99.0\ncuda not available"
    assert (trial.version, trial.cuda_available, trial.tool) == ("2.99.0+cpu", False, "cmake")
    steps = (trial.configure_s, trial.compile_s, trial.link_s, trial.run_s)
    assert all(step is not None and 0 < step < 60 for step in steps)


@pytest.mark.parametrize("path", [None, "g++ as ld"])
def test_the_command_builds_and_runs_the_same_again(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path, path: str | None
) -> None:
    trial = attempt(
        libtorch, **({"PATH": programs(tmp_path / "bin", *path.split())} if path else {})
    )

    again = (trial.command or "").replace(str(AGAIN), str(tmp_path / "again"))
    done = subprocess.run(
        ["/bin/sh", "-c", again], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.endswith("libtorch 2.99.0\ncuda not available\n")


def test_the_command_forgets_what_cmake_remembers_of_another_environment(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path
) -> None:
    again = (attempt(libtorch).command or "").replace(str(AGAIN), str(tmp_path / "again"))

    done = [
        subprocess.run(
            ["/bin/sh", "-c", again], capture_output=True, timeout=60, check=False,
            env={**os.environ, "CXXFLAGS": flags},
        ).returncode
        for flags in ("-nonsense", "")
    ]  # fmt: skip

    assert done[0] != 0
    assert done[1] == 0


def test_without_cmake_the_compiler_alone_does_it(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path
) -> None:
    path = programs(tmp_path / "bin", "g++", "as", "ld")

    trial = attempt(libtorch, PATH=path)

    assert (trial.stage, trial.succeeded, trial.error) == ("run", True, None)
    assert (trial.tool, trial.configure_s) == (f"{path}/g++", None)


@pytest.mark.skipif(shutil.which("ninja") is None, reason="needs ninja")
def test_the_generator_of_the_user_is_taken(
    attempt: Callable[..., BuildTrial], copy: Path, tmp_path: Path
) -> None:
    path = programs(tmp_path / "bin", "cmake", "ninja", "g++", "gcc", "as", "ld", "ar")

    good = attempt(copy, CMAKE_GENERATOR="Ninja", PATH=path)
    (copy / "lib" / "libc10.so").unlink()
    bad = attempt(copy, CMAKE_GENERATOR="Ninja", PATH=path)

    assert good.succeeded
    assert (bad.stage, cause(bad)) == ("link", "libtorch-incomplete")


def test_a_folder_may_have_spaces_and_letters_of_any_language(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(libtorch, tmp_path / "zwei Wörter" / "lib torch"))

    assert attempt(folder).succeeded
    assert attempt(folder, PATH=programs(tmp_path / "bin", "g++", "as", "ld")).succeeded


def test_a_relative_path_leads_from_the_current_folder(
    attempt: Callable[..., BuildTrial], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy.parent)

    trial = attempt(Path("libtorch"))

    assert trial.succeeded
    assert trial.against == "libtorch"


def test_several_libtorchs_are_tried_one_after_the_other(
    libtorch: Path, copy: Path, place: Path
) -> None:
    (copy / "lib" / "libc10.so").unlink()
    system = System(environ={**os.environ, "TMPDIR": str(place)})

    facts = build_trial_facts(system, own_interpreter(), {}, [str(copy), str(libtorch)])

    assert [trial.succeeded for trial in facts["build_trials"]] == [False, True]


def test_the_compiler_is_called_with_temporary_files_of_our_own_and_no_cache(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path, place: Path
) -> None:
    compiler = tmp_path / "my-c++"
    compiler.write_text(
        f'#!/bin/sh\necho "$TMPDIR $CCACHE_DISABLE $MAKEFLAGS" >> {tmp_path}/seen\nexec g++ "$@"\n'
    )
    compiler.chmod(0o755)

    trial = attempt(libtorch, CXX=str(compiler), MAKEFLAGS="n")

    assert trial.succeeded
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen
    assert all(line.startswith(f"{place}/torchkit-trial-") and " 1" in line for line in seen)


@pytest.mark.parametrize("path", [None, "g++ as ld"])
def test_the_abi_that_a_libtorchs_cmake_files_ask_for_is_taken(
    attempt: Callable[..., BuildTrial], tmp_path: Path, path: str | None
) -> None:
    old = configured(
        make_libtorch(tmp_path / "old", abi=0),
        'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=0")',
    )

    trial = attempt(old, **({"PATH": programs(tmp_path / "b", *path.split())} if path else {}))

    assert trial.succeeded


# --- it fails, in the words of the tools


def test_an_old_libtorch_does_not_link_with_the_new_abi(
    attempt: Callable[..., BuildTrial], tmp_path: Path
) -> None:
    old = make_libtorch(tmp_path / "old", abi=0)

    trial = attempt(old)
    agreed = attempt(old, CXXFLAGS="-D_GLIBCXX_USE_CXX11_ABI=0")

    assert (trial.stage, trial.succeeded, trial.run_s) == ("link", False, None)
    assert "undefined reference to `c10::Device::Device(std::__cxx11::basic" in (trial.error or "")
    assert cause(trial) == "link-libtorch-old-abi"
    assert agreed.succeeded


def test_a_program_of_the_old_abi_does_not_link_with_a_new_libtorch(
    attempt: Callable[..., BuildTrial], libtorch: Path
) -> None:
    trial = attempt(libtorch, CXXFLAGS="-D_GLIBCXX_USE_CXX11_ABI=0")

    assert trial.stage == "link"
    assert "undefined reference to `c10::Device::Device(std::string const&)'" in (trial.error or "")
    assert cause(trial) == "link-program-old-abi"


def test_headers_and_libraries_of_two_versions_are_no_matter_of_the_abi(
    attempt: Callable[..., BuildTrial], copy: Path
) -> None:
    header = copy / "include" / "torch" / "types.h"
    header.write_text(header.read_text().replace("mm(const Tensor& a,", "mm(const Tensor* a,"))
    header.write_text(f"{header.read_text()}\nnamespace torch {{ inline Tensor mm(const Tensor& a, const Tensor& b) {{ return at::mm(&a, b); }} }}\n")  # fmt: skip

    trial = attempt(copy, CXXFLAGS="-D_GLIBCXX_USE_CXX11_ABI=0")

    assert trial.stage == "link"
    assert "at::mm(at::Tensor const*" in (trial.error or "")
    assert cause(trial) == "libtorch-mixed"


def test_an_older_standard_is_told_by_torchs_own_error(
    attempt: Callable[..., BuildTrial], libtorch: Path
) -> None:
    trial = attempt(libtorch, CXXFLAGS="-std=c++11")

    assert trial.stage == "compile"
    assert "error: #error C++17 or later compatible compiler is required" in (trial.error or "")
    assert cause(trial) == "cxx-standard-too-old"


def test_a_standard_that_the_compiler_does_not_know_is_its_own_error(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path
) -> None:
    path = programs(tmp_path / "bin", "g++", "as", "ld")

    trial = attempt(libtorch, PATH=path, CXXFLAGS="-std=c++77")

    assert (trial.stage, cause(trial)) == ("compile", "compiler-too-old")


@pytest.mark.parametrize("path", [None, "g++ as ld"])
@pytest.mark.parametrize("name", ["libc10.so", "libtorch.so"])
def test_a_library_that_is_missing_is_named(
    attempt: Callable[..., BuildTrial], copy: Path, tmp_path: Path, name: str, path: str | None
) -> None:
    (copy / "lib" / name).unlink()

    trial = attempt(copy, **({"PATH": programs(tmp_path / "b", *path.split())} if path else {}))

    assert (trial.stage, cause(trial)) == ("link", "libtorch-incomplete")
    assert name[3:-3] in (trial.error or "")


def test_a_library_that_is_none_is_told_by_the_linker(
    attempt: Callable[..., BuildTrial], copy: Path
) -> None:
    (copy / "lib" / "libc10.so").write_bytes(b"a page of a login portal, not a library\n" * 9)

    trial = attempt(copy)

    assert (trial.stage, cause(trial)) == ("link", "wrong-architecture")


def test_a_header_that_is_missing_is_named(attempt: Callable[..., BuildTrial], copy: Path) -> None:
    (copy / "include" / "torch" / "types.h").unlink()

    trial = attempt(copy)

    assert (trial.stage, cause(trial)) == ("compile", "torch-headers-missing")
    assert "fatal error: torch/types.h: No such file" in (trial.error or "")


def test_a_libtorch_without_cmake_files_is_not_found(
    attempt: Callable[..., BuildTrial], copy: Path
) -> None:
    shutil.rmtree(copy / "share")

    trial = attempt(copy)

    assert (trial.stage, cause(trial)) == ("configure", "cmake-torch-not-found")
    assert (trial.error or "").startswith("CMake Error at CMakeLists.txt:")
    assert "FindTorch.cmake" in (trial.error or "")


def test_a_cmake_that_is_too_old_says_so(attempt: Callable[..., BuildTrial], copy: Path) -> None:
    configured(copy, "cmake_minimum_required(VERSION 99.1)")

    trial = attempt(copy)

    assert (trial.stage, cause(trial)) == ("configure", "cmake-too-old")
    assert "CMake 99.1 or higher is required" in (trial.error or "")


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ("cmake g++ gcc as ld ar", "make-missing"),
        ("cmake make", "compiler-missing"),
        ("", "no-build-tools"),
    ],
)
def test_tools_that_are_missing_are_named(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path, tools: str, expected: str
) -> None:
    trial = attempt(libtorch, PATH=programs(tmp_path / "bin", *tools.split()))

    assert (trial.stage, trial.succeeded, cause(trial)) == ("configure", False, expected)


def test_wrong_options_are_a_compiler_that_cannot_build(
    attempt: Callable[..., BuildTrial], libtorch: Path
) -> None:
    trial = attempt(libtorch, LDFLAGS="-lsurely-not-there")

    assert (trial.stage, cause(trial)) == ("configure", "compiler-broken")
    assert (
        (trial.error or "")
        .splitlines()[-1]
        .endswith("cannot find -lsurely-not-there: No such file or directory")
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CXX", "/no/such/g++", "compiler-of-variable-missing"),
        ("CC", "/no/such/gcc", "compiler-of-variable-missing"),
        ("CMAKE_GENERATOR", "Nonsense", "cmake-generator-unknown"),
        ("CXXFLAGS", "-DX='a", "flags-unclosed"),
    ],
)
def test_a_variable_that_cmake_cannot_use_is_to_be_unset(
    attempt: Callable[..., BuildTrial], libtorch: Path, name: str, value: str, expected: str
) -> None:
    trial = attempt(libtorch, **{name: value})

    assert (trial.stage, cause(trial)) == ("configure", expected)
    known = build_error(trial.error or "", stage="configure")
    assert known is not None
    assert re.match(rf"unset .*\b{name}\b", known.fix[0])


@pytest.mark.parametrize(
    ("name", "value"), [("CXXFLAGS", "-DX='a"), ("LDFLAGS", '"-L.'), ("LDFLAGS", "-L. \\")]
)
def test_flags_that_no_shell_could_split_are_told_as_they_are(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path, name: str, value: str
) -> None:
    path = programs(tmp_path / "bin", "g++", "as", "ld")

    trial = attempt(libtorch, PATH=path, **{name: value})

    assert (trial.stage, trial.succeeded) == ("compile", False)
    assert (trial.error or "").startswith(f"{name}={value} cannot be split into words: no ")
    assert cause(trial) == "flags-unclosed"
    assert trial.command is None


def test_a_variable_that_leads_to_another_torch_is_found_out(
    attempt: Callable[..., BuildTrial], libtorch: Path, copy: Path
) -> None:
    trial = attempt(libtorch, Torch_ROOT=str(copy))

    assert (trial.stage, cause(trial)) == ("configure", "cmake-other-torch")
    assert f"{copy}/share/cmake/Torch" in (trial.error or "")


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("abort()", "it died of SIGABRT (aborted)"),
        ("__builtin_trap()", "it died of SIGILL (illegal instruction)"),
        ("exit(3)", "it ended with status 3 and said nothing"),
    ],
)
def test_a_program_that_dies_is_told_by_its_signal(
    attempt: Callable[..., BuildTrial], tmp_path: Path, statement: str, error: str
) -> None:
    trial = attempt(make_libtorch(tmp_path / "it", is_available=statement))

    assert (trial.stage, trial.error) == ("run", error)


def test_a_wrong_product_is_told_by_torchs_own_check(
    attempt: Callable[..., BuildTrial], tmp_path: Path
) -> None:
    trial = attempt(make_libtorch(tmp_path / "it", product="11.0f"))

    assert trial.stage == "run"
    assert "the product sums to 11.0" in (trial.error or "")
    assert (trial.error or "").endswith("it died of SIGABRT (aborted)")


def test_another_copy_on_the_loaders_path_is_met_at_run_time(
    attempt: Callable[..., BuildTrial], copy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(
        ["g++", "-shared", "-o", "libc10.so", "-x", "c++", "/dev/null"], cwd=other, check=True
    )

    trial = attempt(copy, LD_LIBRARY_PATH=str(other))

    assert (trial.stage, cause(trial)) == ("run", "run-other-library")
    assert "symbol lookup error" in (trial.error or "")


def test_a_library_of_a_newer_system_does_not_link_and_is_not_loaded(
    attempt: Callable[..., BuildTrial], libtorch: Path, tmp_path: Path
) -> None:
    (tmp_path / "f.c").write_text("int f(void) { return 0; }\n")
    (tmp_path / "g.cpp").write_text('extern "C" int f(void); int g() { return f(); }\n')
    (tmp_path / "map").write_text("GLIBC_2.99 { f; };\n")
    libc = "gcc -shared -fPIC f.c -o libc.so.6 -Wl,--version-script=map -Wl,-soname,libc.so.6"
    subprocess.run(libc.split(), cwd=tmp_path, check=True)
    newer = make_libtorch(tmp_path / "newer", c10_needs="../../g.cpp ../../libc.so.6")

    linked = attempt(newer)
    loaded = attempt(libtorch, LD_LIBRARY_PATH=str(newer / "lib"))

    assert (linked.stage, cause(linked)) == ("link", "libtorch-needs-newer-system")
    assert "undefined reference to `f@GLIBC_2.99'" in (linked.error or "")
    assert (loaded.stage, cause(loaded)) == ("run", "libtorch-needs-newer-system")
    assert "version `GLIBC_2.99' not found" in (loaded.error or "")


# --- limits, and what is left behind


def test_a_trial_that_hangs_is_ended_with_what_it_started(
    attempt: Callable[..., BuildTrial], copy: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    configured(copy, f"execute_process(COMMAND sh -c \"echo $$ > '{mark}'; exec sleep 60\")")
    begun = time.monotonic()

    trial = attempt(copy, limit_s=3)

    assert time.monotonic() - begun < 15
    assert (trial.stage, trial.succeeded) == ("configure", False)
    assert "did not answer within 3 s" in (trial.error or "")
    assert _is_gone(int(mark.read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_trial_leaves_no_folder_and_no_child(
    tmp_path: Path, copy: Path, place: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "pid"
    configured(copy, f"execute_process(COMMAND sh -c \"echo $$ > '{mark}'; exec sleep 60\")")
    command = [sys.executable, "-m", "torchkit", "env", "--get", "build_trials", "--probe"]
    child = subprocess.Popen(
        [*command, "--libtorch", str(copy)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        for _ in range(300):
            if mark.exists() and mark.read_text().strip():
                break
            time.sleep(0.05)
        assert list(place.iterdir())

        child.send_signal(number)
        _, said = child.communicate(timeout=10)
    finally:
        child.kill()

    assert child.returncode == 128 + number
    assert said == b""
    assert _is_gone(int(mark.read_text()))


def _is_gone(process: int) -> bool:
    for _ in range(100):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or ") Z " in status.read_text():
            return True
        time.sleep(0.02)
    return False


def test_files_that_may_not_be_written_are_removed_all_the_same(
    attempt: Callable[..., BuildTrial], copy: Path
) -> None:
    configured(
        copy,
        'file(WRITE "${CMAKE_BINARY_DIR}/locked/in/file" "x")\n'
        'execute_process(COMMAND chmod -R a-w "${CMAKE_BINARY_DIR}/locked")',
    )

    assert attempt(copy).succeeded


def test_a_libtorch_is_not_written_into(attempt: Callable[..., BuildTrial], copy: Path) -> None:
    def content() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in sorted(copy.rglob("*"))}

    before = content()

    attempt(copy)

    assert content() == before


# --- what cannot be tried


class _Place(System):
    """A machine whose temporary folder is as it is told."""

    told = os.statvfs_result((4096, 4096, 10**6, 10**6, 10**6, 9, 9, 9, 0, 255))

    def file_system(self, path: Path | str) -> os.statvfs_result:  # noqa: ARG002 - it has one
        return self.told


class _Full(_Place):
    told = os.statvfs_result((4096, 4096, 1000, 1000, 1000, 9, 9, 9, 0, 255))


class _NoExec(_Place):
    told = os.statvfs_result((4096, 4096, 10**6, 10**6, 10**6, 9, 9, 9, os.ST_NOEXEC, 255))


@pytest.mark.parametrize(
    ("kind", "words"),
    [(_Full, "has 3 MiB free, a trial build needs 64 MiB"), (_NoExec, "noexec")],
)
def test_a_temporary_folder_that_is_of_no_use_is_refused(
    libtorch: Path, place: Path, kind: type[System], words: str
) -> None:
    system = kind(environ={**os.environ, "TMPDIR": str(place)})

    with pytest.raises(BadInput, match=words) as refused:
        build_trial_facts(system, own_interpreter(), {}, [str(libtorch)])

    assert "TMPDIR=" in refused.value.hint


@pytest.mark.parametrize("kind", ["absent", "a file"])
def test_a_temporary_folder_that_is_none_is_refused(
    libtorch: Path, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "it"
    if kind == "a file":
        place.touch()
    system = System(environ={**os.environ, "TMPDIR": str(place)})

    with pytest.raises(BadInput, match=f"cannot build in the temporary folder {place}"):
        build_trial_facts(system, own_interpreter(), {}, [str(libtorch)])


def test_a_zip_has_to_be_unpacked_first(tmp_path: Path) -> None:
    path = tmp_path / "my libtorch.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("libtorch/lib/libc10.so", b"")

    with pytest.raises(BadInput, match="it is unpacked") as refused:
        build_trial_facts(System(), own_interpreter(), {}, [str(path)])

    assert f"unzip -q '{path}' -d DIR" in refused.value.hint


def test_a_folder_that_is_no_libtorch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no libtorch in it"):
        build_trial_facts(System(), own_interpreter(), {}, [str(tmp_path)])


def test_without_torch_there_is_nothing_to_build_against() -> None:
    with pytest.raises(BadInput, match="torch is not installed") as refused:
        build_trial_facts(System(), own_interpreter(), {"torch_path": None}, [])

    assert "--libtorch" in refused.value.hint


# --- the real one


@pytest.mark.torch
def test_the_installed_torch_is_built_against_and_runs(place: Path) -> None:
    interpreter = own_interpreter()
    version = pytest.importorskip("torch.version")
    if version.cuda is not None:
        pytest.skip("a torch with CUDA asks for the CUDA toolkit")
    system = System(environ={**os.environ, "TMPDIR": str(place)})

    (trial,) = build_trial_facts(system, interpreter, {}, [])["build_trials"]

    assert trial.error is None
    assert (trial.stage, trial.succeeded) == ("run", True)
    assert f"libtorch {version.__version__.partition('+')[0]}\n" in trial.output
    assert trial.version == version.__version__
