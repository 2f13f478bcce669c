"""Installations that are really broken: what `torchkit env` says of them, and what Python says.

Each is a virtual environment of links to the installed torch, damaged in one way. The truth comes
from `import torch` by that environment's own Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from installs import (
    HAS_TORCH,
    MODULE,
    REPOSITORY,
    TORCH,
    Environment,
    Outcome,
    assert_no_traceback,
    assert_valid,
    links,
    make_environment,
    run,
)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch, on Linux"),
]

IMPORT_FAILS = {"torch-import-fails"}
SHADOWED = {"torch-shadowed"}
LIBC10 = "lib/libc10.so"
NOISE = os.urandom(2000)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return make_environment(tmp_path.resolve() / "env")


# --- damages that make `import torch` fail, with an error that Python quotes


def _libc10_missing(it: Environment) -> None:
    it.without(LIBC10)


def _libc10_empty(it: Environment) -> None:
    it.replace(LIBC10, b"")


def _libc10_a_broken_link(it: Environment) -> None:
    it.without(LIBC10).symlink_to("/nowhere/libc10.so")


def _libc10_a_link_to_itself(it: Environment) -> None:
    it.without(LIBC10).symlink_to("libc10.so")


def _libtorch_python_garbage(it: Environment) -> None:
    it.replace("lib/libtorch_python.so", NOISE)


def _global_deps_missing(it: Environment) -> None:
    it.without("lib/libtorch_global_deps.so")


def _libraries_a_file(it: Environment) -> None:
    shutil.rmtree(it.torch / "lib")
    (it.torch / "lib").write_text("")


def _shm_manager_missing(it: Environment) -> None:
    it.without("bin/torch_shm_manager")


def _module_of_another_python(it: Environment) -> None:
    it.without(MODULE).with_name("_C.cpython-37m-x86_64-linux-gnu.so").write_bytes(NOISE)


def _version_missing(it: Environment) -> None:
    it.without("version.py")


def _version_empty(it: Environment) -> None:
    it.replace("version.py", "")


def _version_garbage(it: Environment) -> None:
    it.replace("version.py", "hello world, this is no Python")


def _version_binary(it: Environment) -> None:
    it.replace("version.py", b"\x7fELF\0\0" + NOISE)


def _version_a_fifo(it: Environment) -> None:
    os.mkfifo(it.without("version.py"))


def _init_cut_off(it: Environment) -> None:
    it.cut("__init__.py", keep_bytes=20_000)


def _init_binary(it: Environment) -> None:
    it.replace("__init__.py", b"\0" + NOISE)


def _utils_missing(it: Environment) -> None:
    it.without("_utils.py")


def _nn_missing(it: Environment) -> None:
    it.without("nn")


@pytest.mark.parametrize(
    "damage",
    [
        _libc10_missing,
        _libc10_empty,
        _libc10_a_broken_link,
        _libc10_a_link_to_itself,
        _libtorch_python_garbage,
        _global_deps_missing,
        _libraries_a_file,
        _shm_manager_missing,
        _module_of_another_python,
        _version_missing,
        _version_empty,
        _version_garbage,
        _version_binary,
        _version_a_fifo,
        _init_cut_off,
        _init_binary,
        _utils_missing,
        _nn_missing,
    ],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
def test_the_error_that_is_foretold_is_the_one_python_gives(
    environment: Environment, damage: Callable[[Environment], None]
) -> None:
    damage(environment)

    foretold = environment.env()
    real = environment.really_import()

    assert real.status == 1
    assert foretold.status == 1
    assert foretold.wrong() == IMPORT_FAILS
    assert _spoken(foretold.quoted("torch-import-fails")) in real.stderr


def _spoken(quoted: str) -> str:
    """What Python says itself, without the file or folder that we add in brackets or after it."""
    return re.sub(r" \(/[^()]*\)$|: /\S+ has (no )?_C.*$", "", quoted)


# --- damages that Python does not put into words


def _libc10_cut_off(it: Environment) -> None:
    it.cut(LIBC10, keep_bytes=300_000)


def _libc10_its_first_page(it: Environment) -> None:
    it.cut(LIBC10, keep_bytes=4096)


def _libtorch_cpu_cut_off(it: Environment) -> None:
    it.cut("lib/libtorch_cpu.so", keep_bytes=10_000_000)


@pytest.mark.parametrize(
    "damage",
    [_libc10_cut_off, _libc10_its_first_page, _libtorch_cpu_cut_off],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
def test_a_library_that_is_cut_off_is_foretold_to_kill_the_process(
    environment: Environment, damage: Callable[[Environment], None]
) -> None:
    damage(environment)

    foretold = environment.env()
    real = environment.really_import()

    assert real.status == -7  # SIGBUS
    assert foretold.wrong() == IMPORT_FAILS
    assert "Bus error" in foretold.quoted("torch-import-fails")


def _init_missing(it: Environment) -> None:
    it.without("__init__.py")


def _init_empty(it: Environment) -> None:
    it.replace("__init__.py", "")


def _init_a_folder(it: Environment) -> None:
    it.without("__init__.py").mkdir()


def _init_a_fifo(it: Environment) -> None:
    os.mkfifo(it.without("__init__.py"))


def _init_cut_off_inside_a_comment(it: Environment) -> None:
    code = (it.torch / "__init__.py").read_text(encoding="utf-8")
    it.replace("__init__.py", code[: code.index("import")] + "# and the rest is go")


def _only_libraries_left(it: Environment) -> None:
    shutil.rmtree(it.torch)
    shutil.rmtree(it.metadata)
    (it.torch / "lib").mkdir(parents=True)
    (it.torch / LIBC10).symlink_to(Path(TORCH or "") / LIBC10)


@pytest.mark.parametrize(
    "damage",
    [
        _init_missing,
        _init_empty,
        _init_a_folder,
        _init_a_fifo,
        _init_cut_off_inside_a_comment,
        _only_libraries_left,
    ],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
def test_a_torch_that_imports_as_an_empty_shell_is_found(
    environment: Environment, damage: Callable[[Environment], None]
) -> None:
    damage(environment)

    foretold = environment.env()
    real = environment.really_import()

    assert "AttributeError: module 'torch' has no attribute 'ones'" in real.stderr
    assert foretold.wrong() == IMPORT_FAILS
    assert foretold.quoted("torch-import-fails").startswith("AttributeError")


# --- damages that do no harm


def _nothing(it: Environment) -> None:
    pass


def _metadata_in_latin_1(it: Environment) -> None:
    header = b"Metadata-Version: 2.1\nName: torch\nVersion: 2.0\nAuthor: J\xfcrgen\n\n"
    (it.metadata / "METADATA").unlink()
    (it.metadata / "METADATA").write_bytes(header)


def _metadata_missing(it: Environment) -> None:
    (it.metadata / "METADATA").unlink()


def _metadata_a_fifo(it: Environment) -> None:
    (it.metadata / "METADATA").unlink()
    os.mkfifo(it.metadata / "METADATA")


def _metadata_of_20_mb(it: Environment) -> None:
    header = (it.metadata / "METADATA").read_bytes()
    (it.metadata / "METADATA").unlink()
    (it.metadata / "METADATA").write_bytes(header + b"Requires-Dist: torch\n" * 1_000_000)


def _metadata_folder_missing(it: Environment) -> None:
    shutil.rmtree(it.metadata)


def _record_missing(it: Environment) -> None:
    (it.metadata / "RECORD").unlink()


def _record_binary(it: Environment) -> None:
    (it.metadata / "RECORD").unlink()
    (it.metadata / "RECORD").write_bytes(NOISE)


def _leftovers_of_pip(it: Environment) -> None:
    (it.site / "~orch").mkdir()
    (it.site / "~orch-2.1.0.dist-info").mkdir()
    (it.site / "-orch-2.1.0.dist-info").mkdir()


def _fifos_in_site_packages(it: Environment) -> None:
    for name in ("torch.py", "foo-1.0.dist-info", "bar-1.0.egg-info", ".dist-info"):
        os.mkfifo(it.site / name)


def _a_folder_named_torch_without_code(it: Environment) -> None:
    (it.work / "torch").mkdir()


def _sitecustomize_that_raises(it: Environment) -> None:
    (it.site / "sitecustomize.py").write_text("raise RuntimeError('sitecustomize')")


@pytest.mark.parametrize(
    "damage",
    [
        _nothing,
        _metadata_in_latin_1,
        _metadata_missing,
        _metadata_a_fifo,
        _metadata_of_20_mb,
        _metadata_folder_missing,
        _record_missing,
        _record_binary,
        _leftovers_of_pip,
        _fifos_in_site_packages,
        _a_folder_named_torch_without_code,
    ],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
def test_what_does_not_hinder_python_is_no_alarm(
    environment: Environment, damage: Callable[[Environment], None]
) -> None:
    damage(environment)

    outcome = environment.env()

    assert outcome.wrong() == set()
    assert outcome.report["facts"]["torch_path"] == str(environment.torch)


def test_an_environment_of_links_is_a_healthy_one_for_python_too(environment: Environment) -> None:
    real = environment.really_import()

    assert (real.status, real.stderr) == (0, "")


def test_a_sitecustomize_that_raises_is_not_taken_for_an_answer(environment: Environment) -> None:
    _sitecustomize_that_raises(environment)

    outcome = run([environment.python, "-m", "torchkit", "env", "--json"], cwd=environment.work)

    assert_valid(outcome)
    assert outcome.wrong() == set()


# --- another torch, or something else of that name


def _torch_py_in_the_working_folder(it: Environment) -> None:
    (it.work / "torch.py").write_text("answer = 42")


def _a_checkout_in_the_working_folder(it: Environment) -> None:
    (it.work / "torch").mkdir()
    (it.work / "torch" / "__init__.py").write_text("from torch._C import *\n")
    (it.work / "torch" / "csrc").mkdir()


@pytest.mark.parametrize(
    ("damage", "what"),
    [(_torch_py_in_the_working_folder, "torch.py"), (_a_checkout_in_the_working_folder, "torch")],
)
def test_something_named_torch_in_the_working_folder_is_named(
    environment: Environment, damage: Callable[[Environment], None], what: str
) -> None:
    damage(environment)

    outcome = environment.env()
    real = environment.really_import()

    assert real.status == 1
    assert outcome.status == 1
    assert outcome.wrong() == SHADOWED
    assert str(environment.work / what) in outcome.finding("torch-shadowed")["message"]
    assert outcome.report["facts"]["torch_path"] == str(environment.torch)


@dataclass
class Second:
    """An older torch in a folder of its own."""

    folder: Path
    version: str = "2.5.1"

    def build(self) -> None:
        assert TORCH is not None
        links(TORCH, self.folder / "torch")
        (self.folder / "torch" / "version.py").unlink()
        (self.folder / "torch" / "version.py").write_text(
            f"__version__ = {self.version!r}\ncuda = None\nhip = None\n"
        )


def test_of_two_torches_the_one_python_takes_is_described(environment: Environment) -> None:
    second = Second(environment.folder / "second")
    second.build()
    environment.environ["PYTHONPATH"] = f"{REPOSITORY}{os.pathsep}{second.folder}"

    outcome = environment.env()
    real = run(
        [environment.python, "-c", "import torch.version; print(torch.version.__file__)"],
        environ=environment.environ,
        cwd=environment.work,
    )

    facts = outcome.report["facts"]
    assert "torch-shadowed" in outcome.wrong()
    assert [Path(it["path"]) for it in facts["torch_installs"]] == [
        second.folder / "torch",
        environment.torch,
    ]
    # with hip and xpu missing from version.py the second one fails later: the path is in the trace
    assert str(second.folder / "torch") in real.stdout + real.stderr
    assert facts["torch_version"] == second.version


def test_a_user_site_beats_the_site_packages_below_it(environment: Environment) -> None:
    home = environment.folder / "home"
    config = environment.folder / "pyvenv.cfg"
    config.write_text(config.read_text() + "include-system-site-packages = true\n")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    second = Second(home / ".local" / "lib" / version / "site-packages")
    second.build()
    environment.environ["HOME"] = str(home)

    facts = environment.env().report["facts"]
    real = run(
        [environment.python, "-c", "import sys; print(*sys.path, sep='\\n')"],
        environ=environment.environ,
        cwd=environment.work,
    )

    order = [line for line in real.stdout.splitlines() if "site-packages" in line]
    expected = [it for it in order if it in (str(environment.site), str(second.folder))]
    found = [str(Path(it["path"]).parent) for it in facts["torch_installs"]]
    assert [it for it in found if it in expected] == expected
    assert len(expected) == 2


def test_two_records_of_one_folder_are_told_apart(environment: Environment) -> None:
    (environment.folder / "conda-meta").mkdir()
    note = environment.folder / "conda-meta" / "pytorch-2.4.0-py3.11_cuda12.4_cudnn9.1.0_0.json"
    note.write_text("{}")

    outcome = environment.env()

    assert outcome.wrong() == SHADOWED
    evidence = outcome.finding("torch-shadowed")["evidence"]
    assert any(str(note) in item["value"] for item in evidence)


def test_a_leftover_record_of_an_older_release_does_not_confuse_the_new_one(
    environment: Environment,
) -> None:
    old = environment.site / "torch-1.0.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0.0\n\n")
    (old / "RECORD").write_text("x,,\ntorch/optim/__init__.py,sha256=x,1\ntorch/gone.py,,5\n")

    outcome = environment.env()

    assert outcome.wrong() <= SHADOWED
    assert outcome.report["facts"]["torch_version"].startswith(_installed_series(environment))


def _installed_series(environment: Environment) -> str:
    code = (environment.torch / "version.py").read_text(encoding="utf-8")
    match = re.search(r"__version__ = '(\d+\.\d+)", code)
    assert match is not None
    return match[1]


# --- finders, hooks and startup files


def _as_editable(it: Environment) -> Path:
    """torch moved into a checkout, which an import hook finds, as setuptools installs it."""
    checkout = it.folder / "checkout"
    checkout.mkdir()
    folder = it.torch.rename(checkout / "torch")
    (it.site / "__editable___torch_finder.py").write_text(
        "import sys\n"
        "from importlib.util import spec_from_file_location\n"
        "class Finder:\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        f"            return spec_from_file_location(name, {str(folder / '__init__.py')!r},\n"
        f"                submodule_search_locations=[{str(folder)!r}])\n"
        "sys.meta_path.append(Finder)\n"
    )
    (it.site / "__editable__.torch.pth").write_text("import __editable___torch_finder\n")
    return folder


def test_an_editable_install_behind_an_import_hook_is_found(environment: Environment) -> None:
    folder = _as_editable(environment)

    outcome = environment.env()
    real = environment.really_import()

    assert (real.status, real.stderr) == (0, "")
    assert outcome.wrong() == set()
    assert outcome.report["facts"]["torch_path"] == str(folder)


@pytest.mark.parametrize("error", ["ValueError('hook')", "SystemExit(3)", "RecursionError"])
def test_an_import_hook_that_raises_does_not_end_us(environment: Environment, error: str) -> None:
    (environment.site / "hook.py").write_text(
        "import sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'torch': raise {error}\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    (environment.site / "hook.pth").write_text("import hook\n")

    own = environment.env()
    other = _from_outside(environment)

    assert own.report["facts"]["torch_path"] == str(environment.torch)
    assert other.report["facts"] == own.report["facts"]


def test_what_a_startup_file_prints_is_not_taken_for_the_answer(environment: Environment) -> None:
    (environment.site / "sitecustomize.py").write_text(
        'import atexit, sys\nprint(\'{"version": "1.0"}\\n{\')\nsys.stderr.write("noise\\n")\n'
        'atexit.register(print, "the end")\n'
    )

    outcome = _from_outside(environment)

    assert outcome.wrong() == set()
    assert outcome.report["facts"]["torch_path"] == str(environment.torch)


def test_from_outside_and_from_inside_the_facts_are_the_same(environment: Environment) -> None:
    _libc10_missing(environment)

    inside = environment.env()
    outside = _from_outside(environment)

    assert outside.report["facts"] == inside.report["facts"]
    assert outside.report["findings"] == inside.report["findings"]


def _from_outside(environment: Environment) -> Outcome:
    """The same environment, examined by the Python that runs the tests."""
    outcome = run(
        [sys.executable, "-m", "torchkit", "env", "--json", "--python", environment.python],
        environ=environment.environ,
        cwd=environment.work,
    )
    assert_no_traceback(outcome)
    assert_valid(outcome)
    return outcome


# --- nothing of that name


def _torch_a_broken_link(it: Environment) -> None:
    shutil.rmtree(it.torch)
    shutil.rmtree(it.metadata)
    it.torch.symlink_to("/nowhere/torch")


def _torch_a_link_to_itself(it: Environment) -> None:
    shutil.rmtree(it.torch)
    shutil.rmtree(it.metadata)
    it.torch.symlink_to("torch")


def _uninstalled_half_way(it: Environment) -> None:
    it.torch.rename(it.site / "~orch")
    it.metadata.rename(it.site / "~orch-2.13.0.dist-info")


@pytest.mark.parametrize(
    "damage",
    [_torch_a_broken_link, _torch_a_link_to_itself, _uninstalled_half_way],
    ids=lambda damage: damage.__name__.lstrip("_"),
)
@pytest.mark.parametrize("is_needed", [True, False])
def test_a_torch_that_is_gone_is_wrong_only_where_something_asks_for_it(
    environment: Environment, damage: Callable[[Environment], None], is_needed: bool
) -> None:
    damage(environment)
    if is_needed:
        metadata = environment.site / "needy-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: needy\nVersion: 1.0\nRequires-Dist: torch\n\n")

    outcome = environment.env()
    real = environment.really_import()

    assert real.stderr.strip().endswith("ModuleNotFoundError: No module named 'torch'")
    assert outcome.wrong() == ({"torch-missing"} if is_needed else set())
    assert outcome.statuses()["torch-missing"] == ("fail" if is_needed else "info")


# --- files that may not be read


def _as_one_who_may_not() -> list[str]:
    """How to start a program that permissions bind: root goes without its privilege over them."""
    if os.geteuid() != 0:
        return []
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if (
        shutil.which(command[0]) is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("needs a user that permissions bind, or setpriv")
    return command


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (LIBC10, 0),
        (MODULE, 0),
        ("version.py", 0),
        ("__init__.py", 0),
        ("_utils.py", 0),
        ("lib", 0),
    ],
)
def test_what_may_not_be_read_is_foretold_in_python_s_words(
    environment: Environment, name: str, mode: int
) -> None:
    command = [*_as_one_who_may_not(), str(environment.python)]
    _own(environment, name).chmod(mode)
    try:
        foretold = run([*command, "-m", "torchkit", "env", "--json"], cwd=environment.work)
        real = run([*command, "-c", "import torch"], cwd=environment.work)
    finally:
        (environment.torch / name).chmod(0o755)

    assert real.status == 1
    assert_valid(foretold)
    assert foretold.wrong() == IMPORT_FAILS
    assert foretold.quoted("torch-import-fails") in real.stderr


@pytest.mark.parametrize("mode", [0, 0o100, 0o400])
def test_a_torch_folder_that_may_not_be_read_is_called_broken_not_absent(
    environment: Environment, mode: int
) -> None:
    command = [*_as_one_who_may_not(), str(environment.python)]
    environment.torch.chmod(mode)
    try:
        foretold = run([*command, "-m", "torchkit", "env", "--json"], cwd=environment.work)
        real = run([*command, "-c", "import torch; torch.ones"], cwd=environment.work)
    finally:
        environment.torch.chmod(0o755)

    assert real.status == 1
    assert_valid(foretold)
    assert foretold.wrong() == IMPORT_FAILS
    assert "may not be read" in foretold.quoted("torch-import-fails")


def _own(environment: Environment, name: str) -> Path:
    """A file of torch that is no link, so that its mode is its own."""
    path = environment.torch / name
    if path.is_symlink():
        source = path.resolve()
        path.unlink()
        shutil.copyfile(source, path)
    return path
