"""A script under `torchkit snoop` against the same script under plain `python`: nothing differs."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from running import PYTHON, SNOOP, both, environment, ran

SHOWN = """
import sys
import __main__
print(__name__, __file__, sys.argv, sys.path[0], __spec__, __package__, __doc__, __cached__)
print(type(__loader__).__name__, type(__builtins__), sorted(globals()))
print(__main__.__dict__ is globals(), sys.modules["__main__"] is __main__)
print(sys.excepthook is sys.__excepthook__, sys.flags.optimize, sys.getfilesystemencoding())
"""

SCRIPTS = {
    "what it sees of itself": SHOWN,
    "exit with nothing": "import sys\nsys.exit()",
    "exit with a number": "import sys\nsys.exit(3)",
    "exit with a large number": "import sys\nsys.exit(300)",
    "exit with a negative number": "import sys\nsys.exit(-1)",
    "exit with True": "import sys\nsys.exit(True)",
    "exit with a text": "import sys\nsys.exit('bad \\u00e9 luck')",
    "exit with a list": "import sys\nsys.exit([1, 2])",
    "raise SystemExit": "raise SystemExit(4)",
    "os._exit": "import os\nprint('lost')\nos._exit(7)",
    "os.abort": "import os\nos.abort()",
    "an exception": "def f(d):\n    return d['x']\n\nprint('before')\nf({})",
    "an exception with a cause": """
def f():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("outer") from error
f()
""",
    "a deep recursion": "def f(n):\n    return f(n + 1)\nf(0)",
    "a recursion that just fits": """
import sys
def f(n):
    return 0 if n == 0 else 1 + f(n - 1)
print(f(sys.getrecursionlimit() - 50) > 900)
sys.setrecursionlimit(5000)
print(f(4900))
""",
    "a syntax error": "x = (\nprint(1)",
    "an indentation error": "if True:\nprint(1)",
    "a warning": "import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('x')",
    "a warning of the compiler": "x = '\\d'\nprint(x is 'y')",
    "assertions": "assert 1 == 2, 'no'",
    "the recursion of repr": "x = []\nx.append(x)\nprint(x)",
    "stdin": "import sys\nprint(input(), sys.stdin.read())",
    "order of stdout and atexit": """
import atexit, sys
atexit.register(lambda: print("atexit 1"))
atexit.register(lambda: print("atexit 2"))
print("out"); sys.stdout.flush()
sys.exit(5)
""",
    "an exception in atexit": "import atexit\natexit.register(lambda: 1 / 0)\nprint('x')",
    "bytes on stdout": "import sys\nsys.stdout.buffer.write(bytes(range(256)))",
    "threads that are waited for": """
import threading, time
def work():
    time.sleep(0.2)
    print("thread done")
threading.Thread(target=work).start()
print("main done")
""",
    "threads that are not": """
import threading, time
threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
print("main done")
""",
    "a hook of its own": """
import sys
def hook(kind, error, traceback):
    print("hook", kind.__name__, error, traceback.tb_frame.f_code.co_name)
sys.excepthook = hook
raise ValueError("x")
""",
    "a hook for threads of its own": """
import threading
threading.excepthook = lambda args: print("hook", args.exc_type.__name__)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
""",
    "faulthandler": "import faulthandler\nfaulthandler.enable()\nprint(faulthandler.is_enabled())",
    "argparse": """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
print(parser.parse_args(["--epochs", "x"]))
""",
    "argparse help": """
import argparse
argparse.ArgumentParser().parse_args(["--help"])
""",
    "asyncio": """
import asyncio
async def main():
    await asyncio.sleep(0)
    print(sum([i async for i in numbers()]))
async def numbers():
    for i in range(3):
        yield i
asyncio.run(main())
""",
    "a task that fails": """
import asyncio
async def bad():
    await asyncio.sleep(0)
    raise KeyError("gone")
asyncio.run(bad())
""",
    "pickling": """
import pickle
class Point:
    pass
print(type(pickle.loads(pickle.dumps(Point()))) is Point, Point.__module__)
""",
    "multiprocessing by fork": """
import multiprocessing as mp
def square(x):
    return x * x
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.map(square, range(4)))
""",
    "multiprocessing by spawn": """
import multiprocessing as mp, sys, os
print("as", __name__, os.path.basename(__file__))
def square(x):
    return x * x
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, range(4)))
""",
    "fork": """
import os, sys
child = os.fork()
if child == 0:
    print("child")
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
    "another folder": """
import os, sys
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
print(os.getcwd(), __file__, sys.path[0])
raise ValueError("there")
""",
    "ends itself by SIGTERM": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "ends itself by SIGKILL": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "signals as they are": """
import signal
for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGPIPE", "SIGCHLD"):
    print(name, signal.getsignal(getattr(signal, name)))
""",
    "an interrupt": """
import os, signal, atexit, time
atexit.register(lambda: print("atexit"))
print("begun")
os.kill(os.getpid(), signal.SIGINT)
time.sleep(5)
""",
    "an interrupt that it handles": """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    import time; time.sleep(5)
except KeyboardInterrupt:
    print("handled")
""",
    "what is told last": """
import atexit, sys, traceback
atexit.register(lambda: print(type(sys.last_value).__name__, sys.last_traceback.tb_lineno))
raise OSError("x")
""",
    "the future": """
from __future__ import annotations
def f(x: Undefined): ...
print(f.__annotations__, annotations.compiler_flag > 0)
""",
    "no future of ours": "def f(x: int): ...\nprint(f.__annotations__)",
    "a docstring": '"""What it does."""\nprint(__doc__)',
    "import of itself": "import script\nprint(script.__name__, __name__)",
    "its own modules": "import sys\nprint([it for it in sys.modules if it.startswith('torch')][:0])",
    "exit in a thread": "import threading, sys\nthreading.Thread(target=sys.exit).start()",
}
if sys.version_info >= (3, 11):
    SCRIPTS["a group"] = """
def f(x):
    raise x
try:
    f(ValueError("a"))
except ValueError as error:
    raise ExceptionGroup("both", [error, KeyError("b")])
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_what_it_does_under_python(name: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPTS[name], "utf-8")

    python, snoop = both(["script.py", "a", "--b", "-m"], tmp_path, b"first\nrest \xc3\xa9\n")

    assert snoop == python


def test_a_status_that_is_too_large_is_that_of_python(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit(10**30)", "utf-8")

    python, snoop = both(["script.py"], tmp_path)

    assert snoop.status == python.status


NAMES = ("with space.py", "ünïcödé.py", "no_suffix", "-dash.py", "./dot.py", "deep/down.py")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_of_any_name_is_named_as_under_python(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SHOWN, "utf-8")
    argument = f"./{name}" if name.startswith("-") else name

    python, snoop = both([argument, "x"], tmp_path)

    assert snoop == python
    assert python.status == 0


def test_an_absolute_path_a_link_and_another_folder_give_the_same_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "real" / "script.py").write_text(SHOWN + "import beside\n", "utf-8")
    (tmp_path / "real" / "beside.py").write_text("print('beside')", "utf-8")
    (tmp_path / "links" / "link.py").symlink_to("../real/script.py")

    for argument in (
        str(tmp_path / "real" / "script.py"),
        "links/link.py",
        "real/../real/script.py",
    ):
        python, snoop = both([argument], tmp_path)

        assert snoop == python
        assert python.status == 0


def test_folders_and_archives_run_their_main(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(SHOWN + "import other\n", "utf-8")
    (tmp_path / "folder" / "other.py").write_text("print('other')\n1 / 0", "utf-8")
    (tmp_path / "empty").mkdir()
    for name in ("app.zip", "app.pyz", "app"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(tmp_path / "folder" / "__main__.py", "__main__.py")
            archive.write(tmp_path / "folder" / "other.py", "other.py")

    for name in ("folder", "app.zip", "app.pyz", "app", "empty"):
        python, snoop = both([name, "x"], tmp_path)

        assert (snoop.status, snoop.stdout) == (python.status, python.stdout), name
        assert snoop.stderr.splitlines()[-1:] == python.stderr.splitlines()[-1:], name


def test_modules_run_as_under_python(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("import sys\nprint('package', sys.argv)", "utf-8")
    (package / "__main__.py").write_text(SHOWN + "from . import part\n", "utf-8")
    (package / "part.py").write_text("from .inner import x\nprint('part', x, __name__)", "utf-8")
    (package / "inner" / "__init__.py").write_text("x = 1", "utf-8")
    (package / "bad.py").write_text("from . import part\nraise ValueError(__package__)", "utf-8")
    (package / "leaves.py").write_text("import sys\nsys.exit('left')", "utf-8")
    (package / "spawns.py").write_text(SCRIPTS["multiprocessing by spawn"], "utf-8")

    for name in ("package", "package.part", "package.bad", "package.leaves", "package.spawns",
                 "package.inner", "package.absent"):  # fmt: skip
        python, snoop = both(["-m", name, "-m", "--x"], tmp_path)

        assert snoop == python, name


def test_a_script_on_standard_input_runs(tmp_path: Path) -> None:
    python, snoop = both(
        ["-", "x"], tmp_path, b"import sys\nprint(sys.argv, __name__, sys.path[0])"
    )

    assert snoop == python


def test_encodings_are_those_of_python(tmp_path: Path) -> None:
    sources = {
        "latin.py": "# -*- coding: latin-1 -*-\nprint(ascii('é'))".encode("latin-1"),
        "bom.py": b"\xef\xbb\xbfprint(ascii('\xc3\xa9'))",
        "windows.py": b"print(1)\r\nprint('''a\r\nb''')\r\n",
        "mac.py": b"print(1)\rprint(2)\r",
    }

    for name, source in sources.items():
        (tmp_path / name).write_bytes(source)
        python, snoop = both([name], tmp_path)

        assert snoop == python, name


def test_compiled_scripts_run(tmp_path: Path) -> None:
    import py_compile

    (tmp_path / "script.py").write_text("import sys\nprint(__file__, sys.argv)", "utf-8")
    py_compile.compile(str(tmp_path / "script.py"), str(tmp_path / "script.pyc"))
    (tmp_path / "script.py").unlink()

    python, snoop = both(["script.pyc", "x"], tmp_path)

    assert snoop == python
    assert python.status == 0


def test_modules_beside_the_script_come_before_those_that_we_have_loaded(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import json, random, textwrap, typer\n"
        "print(json.__file__, random.__file__, textwrap.__file__, typer.__file__)\n"
        "raise ValueError('x')",
        "utf-8",
    )
    for name in ("json", "random", "textwrap"):
        (tmp_path / f"{name}.py").write_text(f"print({name!r})", "utf-8")
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text("", "utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "torchkit").write_text(
        "from torchkit.__main__ import start\nstart()", "utf-8"
    )  # as it is installed

    python = ran(PYTHON, ["script.py"], tmp_path)
    snoop = ran((*PYTHON, "bin/torchkit", "snoop"), ["script.py"], tmp_path)

    assert snoop == python


def test_options_of_python_reach_the_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("assert False\nimport sys\nprint(sys.flags)", "utf-8")
    options = ["-O", "-W", "error", "-X", "dev"]

    python = ran((*PYTHON, *options), ["script.py"], tmp_path)
    snoop = ran((*PYTHON, *options, "-m", "torchkit", "snoop"), ["script.py"], tmp_path)

    assert snoop == python


def test_a_script_that_deletes_and_edits_itself_is_told_by_what_it_was(tmp_path: Path) -> None:
    for change in ("os.remove(__file__)", "open(__file__, 'w').write('another = text\\n' * 9)"):
        (tmp_path / "script.py").write_text(
            f"import os\n{change}\ndef broken():\n    return [][1]  # here\nbroken()\n", "utf-8"
        )

        snoop = ran(SNOOP, ["script.py"], tmp_path)

        assert snoop.status == 1
        assert b"return [][1]  # here" in snoop.stderr
        assert b"another = text" not in snoop.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_from_outside_end_it_as_they_end_python(number: int, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import time\nprint('begun', flush=True)\ntime.sleep(60)\n", "utf-8"
    )
    statuses = []

    for start in (PYTHON, SNOOP):
        with subprocess.Popen(
            [*start, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(number)
            _, stderr = process.communicate(timeout=30)
            statuses.append((process.returncode, stderr.splitlines()[-1:]))

    assert statuses[0] == statuses[1]
    assert statuses[0][0] == -number


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nprint('alive')", "utf-8"
    )

    snoop = ran(("nohup", *SNOOP), ["script.py"], tmp_path)

    assert (snoop.status, snoop.stdout) == (0, b"alive\n")


def test_a_reader_that_leaves_ends_it_as_python(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nfor i in range(200000):\n    print(i, flush=(i < 3))\n", "utf-8"
    )
    statuses = []

    for start in (PYTHON, SNOOP):
        with subprocess.Popen(
            [*start, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr is not None
            statuses.append((process.stderr.read().count(b"BrokenPipeError"), process.wait(30)))

    assert statuses[0] == statuses[1]


def test_stdout_is_not_held_back(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nfor i in range(3):\n    print('out', i, flush=True)\n"
        "    print('err', i, file=sys.stderr, flush=True)\n"
        "raise ValueError('end')\n",
        "utf-8",
    )
    texts = []

    for start in (PYTHON, SNOOP):
        done = subprocess.run(
            [*start, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False, env=environment(), timeout=60,
        )  # fmt: skip
        texts.append(done.stdout)

    assert texts[0] == texts[1]


@pytest.mark.parametrize("arguments", [["absent.py"], ["-m", "no_such_module"], []])
def test_what_is_not_there_is_bad_usage(arguments: list[str], tmp_path: Path) -> None:
    snoop = ran(SNOOP, arguments, tmp_path)

    assert snoop.status == 2
    assert snoop.stderr.startswith(b"error: ")
    assert b"Traceback" not in snoop.stderr
