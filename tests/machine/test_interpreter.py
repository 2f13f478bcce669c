"""Which Python is examined, and what it loads: real children of the running Python are the judges."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import packaging
import pytest

from torchkit.errors import BadInput
from torchkit.machine import ask_python
from torchkit.machine.interpreter import Interpreter, other_interpreter, own_interpreter
from torchkit.system import System
from torchkit.versions import Version

REPOSITORY = Path(__file__).parents[2]
PURE = sysconfig.get_path("purelib")

posix = pytest.mark.skipif(os.name != "posix", reason="needs scripts and links")

ASK = """
import json, sys
sys.path += TAIL
from torchkit.machine.interpreter import own_interpreter
it = own_interpreter()
print(json.dumps({"path": [str(entry) for entry in it.path], "torch": it.torch and str(it.torch)}))
""".replace("TAIL", repr([str(REPOSITORY), str(Path(packaging.__file__).parents[1])]))


def child(
    *arguments: str | Path, here: Path, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the interpreter's description is in a child."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        env={**plain, **(environ or {})},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def package(folder: Path, name: str = "torch") -> Path:
    """An importable package; the path that an import system calls its origin."""
    origin = folder / name / "__init__.py"
    origin.parent.mkdir(parents=True)
    origin.write_text("")
    return origin


# --- our own Python


def test_our_own_python_is_described_as_it_describes_itself() -> None:
    own = own_interpreter()

    assert own.executable == Path(sys.executable)
    assert str(own.version) == ".".join(map(str, sys.version_info[:3]))
    assert own.prefix == Path(sys.prefix)
    assert own.tag == sysconfig.get_config_var("SOABI")
    assert own.free_threaded is bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert Path(PURE) in own.package_folders


def test_our_own_torch_is_the_one_the_import_system_finds() -> None:
    spec = importlib.util.find_spec("torch")

    assert own_interpreter().torch == (Path(spec.origin) if spec and spec.origin else None)


def test_looking_for_torch_does_not_import_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('imported')")

    answer = child("-c", ASK, here=tmp_path, environ={"PYTHONPATH": str(tmp_path)})

    assert answer["torch"] == str(tmp_path / "torch.py")


@posix
@pytest.mark.parametrize("form", ["script", "link", "module", "package", "folder", "zip"])
def test_the_folder_of_the_running_script_is_left_out(tmp_path: Path, form: str) -> None:
    package(tmp_path)
    (tmp_path / "script.py").write_text(ASK)
    package(tmp_path, "app")
    (tmp_path / "app" / "__main__.py").write_text(ASK)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "link").symlink_to(tmp_path / "script.py")
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", ASK)
        archive.writestr("torch/__init__.py", "")
    command: dict[str, list[str | Path]] = {
        "script": [tmp_path / "script.py"],
        "link": [tmp_path / "bin" / "link"],
        "module": ["-m", "script"],
        "package": ["-m", "app"],
        "folder": [tmp_path / "app"],
        "zip": [tmp_path / "app.pyz"],
    }

    answer = child(*command[form], here=tmp_path)

    assert not [entry for entry in answer["path"] if entry.startswith(str(tmp_path))]
    assert not (answer["torch"] or "").startswith(str(tmp_path))


@pytest.mark.parametrize("form", ["script", "module"])
def test_a_folder_that_is_on_the_path_besides_stays_there(tmp_path: Path, form: str) -> None:
    """As when `python -m torchkit` is started in site-packages itself."""
    origin = package(tmp_path)
    (tmp_path / "script.py").write_text(ASK)
    command = ["script.py"] if form == "script" else ["-m", "script"]

    answer = child(*command, here=tmp_path, environ={"PYTHONPATH": str(tmp_path)})

    assert answer["path"].count(str(tmp_path)) == 1
    assert answer["torch"] == str(origin)


@pytest.mark.parametrize("option", [["-c", ASK], ["-"]])
def test_without_a_script_the_first_entry_of_pythonpath_stays(
    tmp_path: Path, option: list[str]
) -> None:
    origin = package(tmp_path / "lib")
    (tmp_path / "script").write_text(ASK)
    done = subprocess.run(
        [sys.executable, "-S", *option],
        input=ASK,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert json.loads(done.stdout)["torch"] == str(origin)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is of Python 3.11")
def test_under_safe_path_the_first_entry_of_pythonpath_stays(tmp_path: Path) -> None:
    origin = package(tmp_path)
    (tmp_path / "script.py").write_text(ASK)

    answer = child(
        "-P", tmp_path / "script.py", here=tmp_path, environ={"PYTHONPATH": str(tmp_path)}
    )

    assert answer["torch"] == str(origin)


def test_a_hook_that_finds_torch_elsewhere_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As setuptools' editable installs add one, beside others that may raise anything."""
    origin = package(tmp_path)

    class Broken:
        def find_spec(self, *_: object) -> None:
            raise RuntimeError("a stranger's")

    class Editable:
        @classmethod
        def find_spec(cls, name: str, *_: object) -> object:
            return importlib.util.spec_from_file_location(name, origin)

    monkeypatch.setattr(sys, "meta_path", [Broken(), object(), *sys.meta_path, Editable])

    assert ask_python.find_torch([]) == str(origin)


def test_a_folder_without_init_is_found_only_when_there_is_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "first" / "torch").mkdir(parents=True)
    origin = package(tmp_path / "second")
    path = [str(tmp_path / "first"), str(tmp_path / "second")]

    assert ask_python.find_torch(path) == str(origin)
    assert ask_python.find_torch(path[:1]) == str(tmp_path / "first" / "torch")
    assert ask_python.find_torch([]) is None


def test_odd_entries_of_the_path_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for odd in (Path("/x"), b"/y", None, ""):
        monkeypatch.setattr(sys, "path", [odd, "/z"])

        assert own_interpreter().path == (Path("/z"),)
        json.dumps(ask_python.describe())


@pytest.mark.parametrize(
    ("suffix", "tag", "free_threaded"),
    [
        (".cpython-311-x86_64-linux-gnu.so", "cpython-311-x86_64-linux-gnu", False),
        (".cpython-313t-x86_64-linux-gnu.so", "cpython-313t-x86_64-linux-gnu", True),
        (".cpython-313td-x86_64-linux-gnu.so", "cpython-313td-x86_64-linux-gnu", True),
        (".cpython-36m-x86_64-linux-gnu.so", "cpython-36m-x86_64-linux-gnu", False),
        (".cpython-312-darwin.so", "cpython-312-darwin", False),
        (".cp311-win_amd64.pyd", "cp311-win_amd64", False),
        (".cp313t-win_amd64.pyd", "cp313t-win_amd64", True),
        (".pypy310-pp73-x86_64-linux-gnu.so", "pypy310-pp73-x86_64-linux-gnu", False),
        (".so", "", False),
    ],
)
def test_the_suffix_of_compiled_modules_tells_a_build_without_the_gil(
    monkeypatch: pytest.MonkeyPatch, suffix: str, tag: str, free_threaded: bool
) -> None:
    monkeypatch.setattr(importlib.machinery, "EXTENSION_SUFFIXES", [suffix, ".so"])

    told = ask_python.describe()

    assert (told["tag"], told["free_threaded"]) == (tag, free_threaded)


def test_each_folder_is_looked_at_once_and_no_zip() -> None:
    path = (Path("/a"), Path("/python311.zip"), Path("/b"), Path("/a"))
    it = Interpreter(Path("/p"), Version("3.11.7"), Path("/"), "", False, path, None)

    assert it.package_folders == (Path("/a"), Path("/b"))


# --- another Python


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real virtual environment."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, symlinks=os.name == "posix", with_pip=False)
    return folder


@posix
def test_an_environment_is_named_by_its_folder_its_python_or_a_name_on_path(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(environment.parent)
    system = System(environ={**os.environ, "PATH": f"{environment}/bin"})
    names = [str(environment), f"{environment}/bin/python", "venv", "./venv/bin/python3", "python"]

    found = [other_interpreter(system, name) for name in names]

    assert {it.prefix for it in found} == {environment}
    assert all(it.executable.is_absolute() for it in found)
    assert {str(it.version) for it in found} == {str(own_interpreter().version)}


@posix
def test_a_bare_name_is_the_program_and_not_a_folder_of_that_name(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").mkdir()
    monkeypatch.chdir(tmp_path)
    system = System(environ={**os.environ, "PATH": f"{environment}/bin"})

    assert other_interpreter(system, "python").prefix == environment


@posix
def test_its_path_holds_no_current_folder(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path)
    monkeypatch.chdir(tmp_path)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}

    found = other_interpreter(System(environ=environ), str(environment))

    assert tmp_path not in found.path
    assert found.torch is None


@posix
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_start_up_files_print_does_not_matter(
    environment: Path, tmp_path: Path, place: str
) -> None:
    text = (
        'print("{noise")' if place == "before" else 'import atexit\natexit.register(print, "bye")'
    )
    (tmp_path / "sitecustomize.py").write_text(text)
    system = System(environ={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert other_interpreter(system, str(environment)).prefix == environment


@posix
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho 'Python 2.7.18'", "it said: Python 2.7.18"),
        (
            "#!/bin/sh\necho 'SyntaxError: invalid syntax' >&2; exit 1",
            "SyntaxError: invalid syntax",
        ),
        ("#!/bin/sh\n", "it said: nothing"),
        ("#!/bin/sh\necho '{\"version\": 3}'", "did not answer as Python 3.6"),
        ('#!/bin/sh\necho \'{"version": "3.11", "path": 1}\'', "did not answer as Python 3.6"),
        ("#!/nowhere/sh\n", "cannot run other"),
        ("no program", "cannot run other"),
    ],
)
def test_what_is_no_python_is_refused_with_what_it_said(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "other"
    path.write_text(text)
    path.chmod(0o755)

    with pytest.raises(BadInput) as caught:
        other_interpreter(System(), str(path))

    assert said in caught.value.message
    assert "name a Python interpreter" in caught.value.hint


@posix
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing-of-that-name", "neither a file nor a program on PATH"),
        ("", "neither a file nor a program on PATH"),
        ("~no-such-user-here/bin/python", "neither a file nor a program on PATH"),
        (".", "is a folder without bin/python"),
        ("/dev/null", "neither a file nor a program on PATH"),
        ("x" * 5000, "neither a file nor a program on PATH"),
    ],
)
def test_what_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadInput, match=said):
        other_interpreter(System(), name)


@posix
def test_a_python_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nsleep 60\n")
    path.chmod(0o755)
    monkeypatch.setattr("torchkit.machine.interpreter.PYTHON_LIMIT_S", 0.2)

    with pytest.raises(BadInput, match="did not answer within"):
        other_interpreter(System(), str(path))


@posix
def test_a_deleted_current_folder_is_no_accident(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert other_interpreter(System(), str(environment)).prefix == environment
    assert isinstance(own_interpreter(), Interpreter)
    with pytest.raises(BadInput):
        other_interpreter(System(), "bin/python")
