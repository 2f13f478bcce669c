"""Builds a ten-line C++ program against a libtorch with the user's own tools, and runs it.

The project is `trial/`, after PyTorch's documentation. It is configured, compiled, linked and run
in a temporary folder that is removed again; nothing is written anywhere else. The environment is
the user's own, so that what happens here happens to the user. Nothing here judges.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torchkit.errors import BadInput
from torchkit.machine.build_folder import absolute, build_folder, build_place
from torchkit.machine.build_output import lines_that_matter, plain_output
from torchkit.machine.facts import BuildTrial, Value
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.libtorch_root import each_once, opened_root
from torchkit.machine.libtorch_version import label_of
from torchkit.system import Answer, System

LIMIT_S = 300.0
"""How long one trial may take in all. torch/types.h compiles in 8 s here, 20 s on a busy machine."""

OUTPUT_LIMIT_BYTES = 16 * 1024
"""How much of a tool's output is kept in a record."""

HEAD_BYTES = 4 * 1024**2
"""How much of it is read: one wrong option gives thousands of errors, and the first one matters."""

SOURCES = Path(__file__).with_name("trial")
AGAIN = Path("/tmp/torchkit-trial")
"""The folder in the command by which a user repeats the build; it is emptied first, since cmake
keeps the compiler and the flags that it saw there once."""

NO_TOOLS = "neither cmake nor a C++ compiler"

_CONFIG = "share/cmake/Torch/TorchConfig.cmake"
_STAGES = ("configure", "compile", "link", "run")


class Target(NamedTuple):
    """A libtorch to build against: as it is named, where it lies, its version where that is told."""

    named: str
    folder: Path
    version: str | None = None


Words = tuple[str | Path, ...]
"""A command."""


class Step(NamedTuple):
    """One program that is run: its arguments, and how we call it while the user waits."""

    stage: str
    command: Words
    called: str


class Ended(NamedTuple):
    """How a step ended: what went wrong, in the lines that matter, and all that was said."""

    error: str | None
    output: str


def build_trial_facts(
    system: System,
    interpreter: Interpreter,
    facts: Mapping[str, Value],
    libtorchs: Sequence[str],
    *,
    limit_s: float = LIMIT_S,
) -> dict[str, Value]:
    """One `BuildTrial` for each libtorch, or for the installed torch where none is named.

    `facts` are those read from files. Raises BadInput where there is nothing that
    could be built against, or no folder to build in.
    """
    if libtorchs:
        targets = [_named_target(system, path) for path in each_once(system, libtorchs)]
    else:
        targets = [_installed_target(system, interpreter, facts)]
    place = build_place(system)
    trials = []
    for target in targets:
        with build_folder(system, place) as folder:
            trials.append(_Trial(system, target, folder, limit_s).run())
    return {"build_trials": tuple(trials)}


# --- what is built against


def _named_target(system: System, path: str) -> Target:
    with opened_root(system, path) as root:
        if root.is_archive or root.kind != "folder":
            name = Path(path).name
            folder = f"DIR/{root.inside or ''}".rstrip("/")
            raise BadInput(
                f"{name} is a {root.kind}: --probe cannot build against it before it is unpacked",
                hint=f"unzip -q {shlex.quote(path)} -d DIR, then: torchkit env --probe --libtorch {shlex.quote(folder)}",
            )
        if root.folder is None:
            raise BadInput(
                f"--probe cannot build against {path}: {root.problem}",
                hint="name the folder of a libtorch, the one with lib/, include/ and share/"
                if root.subfolder is None
                else f"name that one: torchkit env --probe --libtorch {shlex.quote(root.subfolder)}",
            )
        return Target(path, absolute(system, root.folder), label_of(root).version)


def _installed_target(
    system: System, interpreter: Interpreter, facts: Mapping[str, Value]
) -> Target:
    if "torch_path" in facts:
        path = facts["torch_path"]
    else:  # only this fact is asked for
        from torchkit.machine.torch_install import find_torch

        torch = find_torch(system, interpreter)
        path = str(torch.path) if torch is not None and torch.is_real else None
    if not isinstance(path, str):
        raise BadInput(
            "--probe has nothing to build against: torch is not installed, and no libtorch is named",
            hint="name one: torchkit env --probe --libtorch PATH",
        )
    with opened_root(system, path) as root:
        return Target(path, Path(path), label_of(root).version)


# --- the trial


class _Trial:
    """One program against one libtorch."""

    def __init__(self, system: System, target: Target, folder: Path, limit_s: float) -> None:
        self.system = system
        self.target = target
        self.folder = folder
        self.limit_s = limit_s
        self.deadline = time.monotonic() + limit_s
        self.compiler = _compiler(system)
        self.cmake = system.which("cmake")
        self.standard = _standard(system, target.folder)
        self.tool = "cmake" if self.cmake is not None else " ".join(self.compiler)

    def run(self) -> BuildTrial:
        """Step by step, until one fails."""
        wrong = self._wrong_flags()
        if wrong is not None:
            return self._ended("compile", Ended(wrong, ""), {})
        steps = self._by_cmake() if self.cmake is not None else self._by_hand()
        if not steps:
            missing = "no cmake" if self.system.platform == "win32" else NO_TOOLS
            return self._ended("configure", Ended(f"there is {missing} on PATH", ""), {})
        took_s: dict[str, float] = {}
        ended = Ended(None, "")
        for step in steps:
            begun = time.monotonic()
            ended = self._do(step)
            if step.stage == "configure" and ended.error is None:
                ended = self._took_another(ended)
            took_s[step.stage] = round(time.monotonic() - begun, 3)
            if ended.error is not None:
                break
        return self._ended(step.stage, ended, took_s)

    def _ended(self, stage: str, ended: Ended, took_s: Mapping[str, float]) -> BuildTrial:
        succeeded = ended.error is None
        said = dict(re.findall(r"(?m)^(libtorch|cuda) (.+)$", ended.output)) if succeeded else {}
        return BuildTrial(
            against=self.target.named,
            stage=stage,
            succeeded=succeeded,
            error=ended.error,
            command=self._again() if self.tool else None,
            output=ended.output[:OUTPUT_LIMIT_BYTES] or None,
            version=self.target.version or said.get("libtorch"),
            tool=self.tool or None,
            cuda_available=said["cuda"] == "available" if "cuda" in said else None,
            **{f"{name}_s": took_s.get(name) for name in _STAGES},
        )

    def _do(self, step: Step) -> Ended:
        left_s = self.deadline - time.monotonic()
        if left_s < 1:
            return Ended(
                f"nothing was tried, since the trial may take {self.limit_s:g} s in all", ""
            )
        answer = self.system.run(
            [str(part) for part in step.command],
            limit_s=round(left_s),
            environ=self._environ(),
            called=step.called,
            head_bytes=HEAD_BYTES,
            folder=self.folder / "build",
        )
        if not isinstance(answer, Answer):
            return Ended(answer.reason, "")
        output = plain_output(answer.stdout, answer.stderr, self.folder)
        if answer.status == 0:
            return Ended(None, output)
        # what the program prints before it fails is no error
        said = plain_output("", answer.stderr, self.folder) if step.stage == "run" else output
        return Ended(_error(step.stage, answer, said), output)

    def _environ(self) -> dict[str, str]:
        """The user's own, but temporary files go where all is removed, and no cache is filled."""
        changed = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.folder / "tmp"))
        changed["CCACHE_DISABLE"] = "1"
        unwanted = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"]  # of a make that we run under
        unwanted += [f"CMAKE_{name}_COMPILER_LAUNCHER" for name in ("C", "CXX", "CUDA")]
        changed.update({name: "" for name in unwanted if name in self.system.environ})
        if self.system.platform == "win32":  # where there is no RPATH
            path = self.system.environ.get("PATH", "")
            changed["PATH"] = f"{self.target.folder / 'lib'}{os.pathsep}{path}"
        return changed

    def _called(self, tool: str, does: str) -> str:
        name = f"libtorch {self.target.version}" if self.target.version else self.target.named
        return f"{tool}, which {does} a C++ program against {name}"

    # --- with cmake

    def _definitions(self) -> list[str]:
        definitions = [f"-DCMAKE_PREFIX_PATH={self.target.folder}"]
        own = re.search(r"(^|\s)[-/]std[=:]", self.system.environ.get("CXXFLAGS", ""))
        if self.standard is not None and not own:
            definitions.append(f"-DCMAKE_CXX_STANDARD={self.standard}")
        return definitions

    def _by_cmake(self) -> tuple[Step, ...]:
        cmake = absolute(self.system, self.cmake or Path())
        build: Words = (cmake, "--build", self.folder / "build", "--config", "Release", "--target")
        program = self.folder / "build" / "bin" / "trial"
        # -S and -B are not known to a cmake before 3.13, which is to say itself that it is too old
        configure: Words = (cmake, *self._definitions(), SOURCES)
        return (
            Step("configure", configure, self._called("cmake", "configures")),
            Step("compile", (*build, "trial_objects"), self._called("the compiler", "compiles")),
            Step("link", (*build, "trial"), self._called("the linker", "links")),
            Step("run", (program,), "the C++ program that was built"),
        )

    def _took_another(self, ended: Ended) -> Ended:
        """Torch_ROOT, Torch_DIR or CMake's package registry may lead to another libtorch."""
        cache = self.system.read_text(self.folder / "build" / "CMakeCache.txt")
        match = re.search(r"(?m)^Torch_DIR:\w+=(.+)$", cache if isinstance(cache, str) else "")
        if match is None:
            return ended
        taken, wanted = (self.system.resolve(it) for it in (match[1], self.target.folder))
        if taken.is_relative_to(wanted):
            return ended
        names = [
            it for it in ("Torch_ROOT", "TORCH_ROOT", "Torch_DIR") if it in self.system.environ
        ]
        why = f", since {names[0]}={self.system.environ[names[0]]}" if names else ""
        return Ended(f"cmake took the Torch in {match[1]} instead{why}", ended.output)

    # --- by hand

    def _wrong_flags(self) -> str | None:
        """What is wrong with a variable that we have to split into words, as a shell would."""
        if self.cmake is not None or not self.compiler or self.system.platform == "win32":
            return None
        for name in ("CXXFLAGS", "LDFLAGS"):
            value = self.system.environ.get(name, "")
            try:
                shlex.split(value)
            except ValueError as error:
                reason = str(error).lower()
                return f"{name}={value} cannot be split into words: {reason}"
        return None

    def _by_hand(self) -> tuple[Step, ...]:
        if not self.compiler or self.system.platform == "win32":
            return ()
        build = self.folder / "build"
        compile_, link = self._compile_and_link(build)
        return (
            Step("compile", compile_, self._called(self.tool, "compiles")),
            Step("link", link, self._called(self.tool, "links")),
            Step("run", (build / "trial",), "the C++ program that was built"),
        )

    def _compile_and_link(self, build: Path) -> tuple[Words, Words]:
        folder = self.target.folder
        flags = shlex.split(self.system.environ.get("CXXFLAGS", ""))
        if self.standard is not None and not any(it.startswith("-std=") for it in flags):
            flags.append(f"-std=gnu++{self.standard}")
        config = self.system.read_text(folder / _CONFIG)
        abi = re.search(r"-D_GLIBCXX_USE_CXX11_ABI=[01]", config if isinstance(config, str) else "")
        flags += [abi[0]] if abi else []
        include = folder / "include"
        compile_: Words = (
            *self.compiler, *flags, "-I", include, "-I", include / "torch/csrc/api/include",
            *(["-fmax-errors=20"] if Path(self.compiler[0]).name.startswith("g++") else []),
            "-c", SOURCES / "trial.cpp", "-o", build / "trial.o",
        )  # fmt: skip
        here = self.system.names_in(folder / "lib")
        names = ("torch", "torch_cpu", "torch_cuda", "c10", "c10_cuda")
        libraries = [f"-l{it}" for it in names if it in ("torch", "c10") or f"lib{it}.so" in here]
        as_needed = [] if self.system.platform == "darwin" else ["-Wl,--no-as-needed"]
        link: Words = (
            *self.compiler, *flags, build / "trial.o", SOURCES / "main.cpp",
            *shlex.split(self.system.environ.get("LDFLAGS", "")), "-L", folder / "lib",
            f"-Wl,-rpath,{folder / 'lib'}", *as_needed, *libraries, "-o", build / "trial",
        )  # fmt: skip
        return compile_, link

    def _again(self) -> str | None:
        """The command that builds and runs it again, to paste."""
        if self._wrong_flags() is not None:
            return None
        commands: tuple[Words, ...]
        if self.cmake is not None:
            configure: Words = ("cmake", "-S", SOURCES, "-B", AGAIN, *self._definitions())
            build: Words = ("cmake", "--build", AGAIN)
            commands = (("rm", "-rf", AGAIN), configure, build, (AGAIN / "bin" / "trial",))
        else:
            commands = (("mkdir", "-p", AGAIN), *self._compile_and_link(AGAIN), (AGAIN / "trial",))
        return " && ".join(shlex.join(str(part) for part in command) for command in commands)


def _compiler(system: System) -> tuple[str, ...]:
    """CXX, which may bring options along, else the usual names; empty where there is none."""
    try:
        told = shlex.split(system.environ.get("CXX", ""))
    except ValueError:
        told = []
    for words in (told, ["g++"], ["c++"], ["clang++"]):
        found = system.which(words[0]) if words else None
        if found is not None:
            return (str(absolute(system, found)), *words[1:])
    return ()


def _standard(system: System, folder: Path) -> int | None:
    """The C++ standard that its headers ask for and it was built with; None where they are silent."""
    header = system.read_text(folder / "include" / "ATen" / "ATen.h")
    config = system.read_text(folder / _CONFIG)
    header, config = (it if isinstance(it, str) else "" for it in (header, config))
    told = re.findall(r"#error C\+\+(\d\d) or later", header)
    told += re.findall(r"\bCXX_STANDARD\s+(\d\d)\b", config)
    return max(map(int, told), default=None)


_SIGNALS: Mapping[str, str] = {
    "SIGILL": "illegal instruction",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGABRT": "aborted",
    "SIGKILL": "killed",
}


def _error(stage: str, answer: Answer, said: str) -> str:
    """The lines that matter, and how it ended where that tells more."""
    said = lines_that_matter(stage, said)
    if answer.status >= 0:
        return said or f"it ended with status {answer.status} and said nothing"
    try:
        name = signal.Signals(-answer.status).name
    except ValueError:
        name = f"signal {-answer.status}"
    died = f"it died of {name} ({_SIGNALS[name]})" if name in _SIGNALS else f"it died of {name}"
    return f"{said}\n{died}" if said else died
