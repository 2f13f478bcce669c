"""The survey: exactly the glossary's names, from the probes it names, and nothing unasked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from torchkit.machine.distributions import Packages
from torchkit.machine.driver import driver_facts
from torchkit.machine.facts import GLOSSARY, Unknown
from torchkit.machine.host import host_facts
from torchkit.machine.interpreter import Interpreter, own_interpreter
from torchkit.machine.loader import Loader
from torchkit.machine.packages import package_facts
from torchkit.machine.shm import shm_facts
from torchkit.machine.survey import Asked, survey
from torchkit.machine.toolchain import toolchain_facts
from torchkit.system import Answer, System
from torchkit.versions import Version

OF_SHM_CHECK = ("shm_limits", "shm_users")
"""Probes that only shm-check asks."""

TOLD = [name for name, fact in GLOSSARY.items() if fact.probe not in OF_SHM_CHECK]


class Watched(System):
    """Writes down what is asked of it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.asked: list[str] = []

    def run(
        self,
        command: Sequence[str | Path],
        *,
        limit_s: float,
        environ: Mapping[str, str] | None = None,
    ) -> Answer | Unknown:
        self.asked.append(f"run {Path(command[0]).name}")
        return super().run(command, limit_s=limit_s, environ=environ)

    def open(self, path: Path | str):  # type: ignore[no-untyped-def]  # a context manager
        self.asked.append(f"open {path}")
        return super().open(path)

    def names_in(self, folder: Path | str) -> tuple[str, ...]:
        self.asked.append(f"list {folder}")
        return super().names_in(folder)

    def file_system(self, path: Path | str) -> os.statvfs_result | Unknown | None:
        self.asked.append(f"statvfs {path}")
        return super().file_system(path)


def interpreter(*path: Path, torch: Path | None = None) -> Interpreter:
    return Interpreter(
        executable=Path("/env/bin/python"),
        version=Version("3.11.7"),
        prefix=Path("/env"),
        tag="cpython-311-x86_64-linux-gnu",
        free_threaded=False,
        path=path,
        torch=torch,
    )


def test_this_machine_is_told_in_exactly_the_glossary_s_names() -> None:
    facts = survey(System(), own_interpreter())

    assert list(facts.to_json()) == TOLD


def test_an_empty_machine_is_told_in_exactly_the_glossary_s_names(tmp_path: Path) -> None:
    facts = survey(System(root=tmp_path, environ={}), interpreter(Path("/site")))

    assert list(facts.to_json()) == TOLD
    assert facts["torch_version"] is None
    assert facts["torch_problems"] is None
    assert facts["cuda_home"] is None
    assert facts["companions"] == ()


def test_shm_check_is_told_of_shared_memory_too(tmp_path: Path) -> None:
    facts = survey(
        System(root=tmp_path, environ={}), interpreter(Path("/site")), asked=Asked(shm=True)
    )

    assert list(facts.to_json()) == list(GLOSSARY)


@pytest.mark.parametrize(
    "probe", ["host", "shm", "toolchain", "driver", "packages", "torch", "loader", "extensions"]
)
def test_every_fact_comes_from_the_probe_that_the_glossary_names(
    probe: str, tmp_path: Path
) -> None:
    system = System(root=tmp_path, environ={})
    python = interpreter(Path("/site"))
    told = {
        "host": lambda: host_facts(system),
        "shm": lambda: shm_facts(system),
        "toolchain": lambda: toolchain_facts(system),
        "driver": lambda: driver_facts(system, find_library=Loader(system, executable=None).find),
        "packages": lambda: package_facts(system, python, Packages(system, (Path("/site"),))),
        "torch": lambda: survey(system, python, only=_of("torch")).to_json(),
        "loader": lambda: survey(system, python, only=_of("loader")).to_json(),
        "extensions": lambda: survey(system, python, only=_of("extensions")).to_json(),
    }[probe]()

    assert set(told) == _of(probe)


def _of(probe: str) -> set[str]:
    return {fact.name for fact in GLOSSARY.values() if fact.probe == probe}


def test_the_glossary_names_no_other_probe() -> None:
    probes = {fact.probe for fact in GLOSSARY.values()}

    assert probes == {
        "host", "shm", "toolchain", "driver", "packages", "torch", "loader", "extensions",
        "libtorch_files", "probe", "torch_child", *OF_SHM_CHECK,
    }  # fmt: skip


@pytest.mark.parametrize("name", GLOSSARY)
def test_one_fact_can_be_asked_for_alone(name: str, tmp_path: Path) -> None:
    system = System(root=tmp_path, environ={})

    facts = survey(system, interpreter(Path("/site")), only=[name])

    assert list(facts.to_json()) == [name]


def test_shared_memory_alone_is_one_call() -> None:
    system = Watched(environ={})

    survey(system, own_interpreter(), only=["shm_total_bytes", "shm_free_bytes"])

    assert system.asked in (["statvfs /dev/shm"], [])


def test_the_host_alone_runs_no_program_and_reads_no_package() -> None:
    system = Watched()

    survey(system, own_interpreter(), only=["os_name", "memory_limit_bytes"])

    assert not [it for it in system.asked if it.startswith(("run", "list"))]
    assert not [it for it in system.asked if "site-packages" in it]


def test_the_toolchain_alone_reads_no_package() -> None:
    system = Watched()

    survey(system, own_interpreter(), only=["gcc_version"])

    assert not [it for it in system.asked if "site-packages" in it]
    assert not [it for it in system.asked if "smi" in it]


def test_nothing_is_asked_for_nothing() -> None:
    system = Watched()

    facts = survey(system, own_interpreter(), only=[])

    assert facts.to_json() == {}
    assert system.asked == []


def _torch(root: Path, *, init: str = "from .version import __version__\n") -> Interpreter:
    """A torch as far as text files go, with a library that is none."""
    folder = root / "site" / "torch"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "libtorch.so").write_bytes(b"")
    (folder / "__init__.py").write_text(init)
    (folder / "version.py").write_text("__version__ = '2.13.0+cpu'\ncuda = None\n")
    return interpreter(Path("/site"), torch=Path("/site/torch/__init__.py"))


def test_what_texts_tell_stands_where_the_loader_is_not_simulated(tmp_path: Path) -> None:
    python = _torch(tmp_path, init="")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ld-musl-x86_64.so.1").write_bytes(b"")

    class Musl(System):
        def libc(self) -> str | None:
            return None

    facts = survey(Musl(root=tmp_path, environ={}), python)

    assert isinstance(facts["libstdcxx_path"], Unknown)
    assert "__init__.py is empty" in facts["torch_problems"][0]


def test_without_troubles_in_texts_and_without_a_loader_problems_are_unknown(
    tmp_path: Path,
) -> None:
    class Musl(System):
        def libc(self) -> str | None:
            return None

    facts = survey(Musl(root=tmp_path, environ={}), _torch(tmp_path))

    assert isinstance(facts["torch_problems"], Unknown)


@pytest.mark.parametrize("name", ["darwin", "win32"])
def test_on_other_systems_libraries_are_not_looked_at(tmp_path: Path, name: str) -> None:
    class Other(System):
        @property
        def platform(self) -> str:
            return name

    facts = survey(Other(root=tmp_path, environ={}), _torch(tmp_path))

    assert list(facts.to_json()) == TOLD
    assert str(facts["torch_version"]) == "2.13.0+cpu"
    assert facts["torch_problems"] == ()
    assert facts["torch_cxx11_abi"] is None
    assert facts["shm_total_bytes"] is None
