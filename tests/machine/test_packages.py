"""Installed packages: importlib.metadata and packaging are the judges, forms are those of real tools."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
import time
import venv
from collections.abc import Mapping
from pathlib import Path

import packaging
import pytest
from packaging.requirements import Requirement

from torchkit.machine.distributions import Packages, normal_name, same_release
from torchkit.machine.facts import Companion, Unknown
from torchkit.machine.interpreter import Interpreter
from torchkit.machine.packages import package_facts
from torchkit.system import System
from torchkit.versions import Version

SITE = Path("/env/lib/python3.11/site-packages")


class Machine:
    """An environment of metadata files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = System(root=root, environ={})
        self.path: list[Path] = [SITE]
        self.write(SITE, {})

    def write(self, folder: Path, files: Mapping[str, str]) -> None:
        (self.root / str(folder).lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            place = self.root / str(folder / name).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def wheel(
        self, name: str, version: str, *requires: str, folder: Path = SITE, **files: str
    ) -> None:
        """What pip leaves of a wheel."""
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {text}" for text in requires]
        stem = f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = {"METADATA": "\n".join(lines) + "\n\nRequires-Dist: of-the-description\n"}
        self.write(folder / stem, {**metadata, "INSTALLER": "pip\n", **files})

    @property
    def interpreter(self) -> Interpreter:
        return Interpreter(
            executable=Path("/env/bin/python"),
            version=Version("3.11.7"),
            prefix=Path("/env"),
            tag="cpython-311-x86_64-linux-gnu",
            free_threaded=False,
            path=tuple(self.path),
            torch=None,
        )

    @property
    def packages(self) -> Packages:
        return Packages(self.system, self.interpreter.package_folders)

    def facts(self) -> dict[str, object]:
        return package_facts(self.system, self.interpreter, self.packages)

    def companion(self, name: str) -> Companion:
        found = self.facts()["companions"]
        assert isinstance(found, tuple)
        return next(it for it in found if it.name == name)


@pytest.fixture
def env(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- judged by importlib.metadata and packaging


SITE_HERE = str(Path(packaging.__file__).parents[1])
FOLDERS = sorted({SITE_HERE, sysconfig.get_path("platlib"), "/usr/lib/python3/dist-packages"})


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_and_versions_are_those_of_importlib(folder: str) -> None:
    judge: dict[str, str] = {}
    for it in importlib.metadata.distributions(path=[folder]):
        if it.metadata["Name"]:
            judge.setdefault(normal_name(it.metadata["Name"]), it.version)

    packages = Packages(System(), (Path(folder),))

    assert {it.name: it.version for it in packages.installed()} == judge


def test_requirements_are_those_of_importlib() -> None:
    packages = Packages(System(), (Path(SITE_HERE),))
    compared = 0

    for judge in importlib.metadata.distributions(path=[SITE_HERE]):
        ours = packages[judge.metadata["Name"]]
        assert ours is not None
        told = [Requirement(text) for text in packages.requires(ours)]
        assert set(map(str, told)) == {str(Requirement(text)) for text in judge.requires or ()}
        compared += len(told)

    assert compared > 0


def test_reading_the_names_opens_no_file_and_takes_no_time(env: Machine) -> None:
    for number in range(300):
        env.wheel(f"package-{number}", "1.0", "torch")
    opened: list[object] = []

    class Counting(System):
        def read_bytes(self, path: Path | str) -> bytes | Unknown | None:
            opened.append(path)
            return super().read_bytes(path)

    begun = time.process_time()
    packages = Packages(Counting(root=env.root, environ={}), (SITE,))

    assert len(packages.installed()) == 300
    assert opened == []
    assert time.process_time() - begun < 0.2


# --- forms


def test_the_first_of_two_on_the_path_counts_and_both_are_kept(env: Machine) -> None:
    user = Path("/home-of-user/site-packages")
    env.path = [user, SITE]
    env.wheel("numpy", "2.1.0", folder=user)
    env.wheel("numpy", "1.26.4")

    found = env.packages["NumPy"]

    assert found is not None
    assert found.version == "2.1.0"
    assert [it.version for it in env.packages.all] == ["2.1.0", "1.26.4"]


@pytest.mark.parametrize("spelling", ["torch_scatter", "torch-scatter", "Torch.Scatter"])
def test_a_name_is_found_however_it_is_written(env: Machine, spelling: str) -> None:
    env.write(SITE / f"{spelling}-2.1.2+pt21cu121.dist-info", {"METADATA": "Name: x\n"})

    found = env.packages["torch-scatter"]

    assert found is not None
    assert (found.name, found.version) == ("torch-scatter", "2.1.2+pt21cu121")


def test_a_develop_install_is_found_by_its_checkout(env: Machine) -> None:
    """`python setup.py develop`: an egg-link and a line of easy-install.pth."""
    checkout = Path("/src/apex")
    env.path = [SITE, checkout]
    env.write(SITE, {"apex.egg-link": "/src/apex\n.", "easy-install.pth": "/src/apex\n"})
    env.write(
        checkout / "apex.egg-info",
        {
            "PKG-INFO": "Metadata-Version: 2.1\nName: apex\nVersion: 0.1\n",
            "requires.txt": "torch>=2\n",
        },
    )

    found = env.packages["apex"]

    assert found is not None
    assert (found.version, found.site) == ("0.1", checkout)
    assert env.companion("apex").requires_torch == ">=2"


def test_an_egg_of_easy_install_is_found(env: Machine) -> None:
    egg = SITE / "torch-2.14.1-py3.10-linux-x86_64.egg"
    env.path = [SITE, egg]
    env.write(
        egg / "EGG-INFO", {"PKG-INFO": "Name: torch\nVersion: 2.14.1\nRequires-Dist: sympy\n"}
    )

    found = env.packages["torch"]

    assert found is not None
    assert (found.version, found.site) == ("2.14.1", egg)
    assert env.packages.requires(found) == ("sympy",)


@pytest.mark.parametrize(
    "entry", ["setuptools-65.5.0-py3.10.egg-info", "setuptools-65.5.0.egg-info", "setuptools-65.5.0-py3.11-linux-x86_64.egg-info"]
)  # fmt: skip
def test_egg_info_may_be_a_file_or_a_folder(env: Machine, entry: str) -> None:
    env.write(SITE, {entry: "Metadata-Version: 1.1\nName: setuptools\nVersion: 65.5.0\n"})

    assert env.facts()["setuptools_version"] == Version("65.5.0")


def test_sections_of_requires_txt_become_markers(env: Machine) -> None:
    text = "torch>=2.4\n\n[:python_version < '3.8']\nnumpy\n\n[extra:sys_platform == 'win32']\npywin32\n\n[x]\ntorch<1\n"
    env.write(SITE / "mmcv-2.1-py3.11.egg-info", {"PKG-INFO": "Name: mmcv\n", "requires.txt": text})
    found = env.packages["mmcv"]
    assert found is not None

    requires = env.packages.requires(found)

    assert [str(Requirement(it)) for it in requires] == [
        "torch>=2.4",
        'numpy; python_version < "3.8"',
        'pywin32; sys_platform == "win32" and extra == "extra"',
        'torch<1; extra == "x"',
    ]
    assert env.companion("mmcv").requires_torch == ">=2.4"


@pytest.mark.parametrize(
    ("text", "installer"),
    [
        ("pip\n", "pip"),
        ("uv", "uv"),
        ("conda\n", "conda"),
        ("Poetry 1.8.3", "poetry"),
        ("rpm\n", "rpm"),
        ("\n", None),
        ("", None),
    ],
)
def test_the_installer_is_named_without_its_version(
    env: Machine, text: str, installer: str | None
) -> None:
    env.wheel("numpy", "2.0", INSTALLER=text)
    found = env.packages["numpy"]
    assert found is not None

    assert env.packages.installer(found) == installer


def test_leftovers_of_pip_and_other_names_are_no_distributions(env: Machine) -> None:
    env.wheel("numpy", "2.0")
    for name in (
        "~umpy-1.26.dist-info",
        "-1.0.dist-info",
        "numpy",
        "numpy.libs",
        "a.dist-info",
        ".egg-info",
    ):
        env.write(SITE / name, {"METADATA": "Name: other\n"})

    assert [it.name for it in env.packages.installed()] == ["numpy"]


def test_metadata_with_dos_line_ends_is_read(env: Machine) -> None:
    env.write(
        SITE / "torchvision-0.20.1.dist-info",
        {
            "METADATA": "Name: torchvision\r\nRequires-Dist: torch (==2.5.1)\r\n\r\nRequires-Dist: x\r\n"
        },
    )

    assert env.companion("torchvision").requires_torch == "==2.5.1"


def test_metadata_that_is_not_there_is_no_error(env: Machine) -> None:
    env.write(SITE / "torchvision-0.20.1.dist-info", {})
    (env.root / "env/lib/python3.11/site-packages/xformers-1.0.dist-info").mkdir()

    assert env.companion("torchvision") == Companion("torchvision", "0.20.1")


# --- facts


def test_versions_that_are_none_are_unknown_and_absent_ones_none(env: Machine) -> None:
    env.wheel("numpy", "unknown")

    facts = env.facts()

    assert facts["numpy_version"] == Unknown("numpy is installed with the version 'unknown'")
    assert facts["setuptools_version"] is None
    assert facts["triton_version"] is None


@pytest.mark.parametrize("name", ["triton", "pytorch-triton", "triton-windows"])
def test_triton_goes_by_several_names(env: Machine, name: str) -> None:
    env.wheel(name, "3.1.0")

    assert env.facts()["triton_version"] == Version("3.1.0")


def test_nvidia_s_packages_are_listed_with_their_versions(env: Machine) -> None:
    env.wheel("nvidia-cublas-cu12", "12.4.5.8")
    env.wheel("cuda-toolkit", "13.0.3.0")
    env.wheel("nvitop", "1.3")

    assert env.facts()["nvidia_packages"] == {
        "cuda-toolkit": "13.0.3.0",
        "nvidia-cublas-cu12": "12.4.5.8",
    }


REQUIREMENTS = [
    ("torch", ""),
    ("torch>=2.4", ">=2.4"),
    ("torch (>=2.14.0)", ">=2.14.0"),
    ("Torch ==2.5.1", "==2.5.1"),
    ("torch[opt-einsum]<3,>=2", "<3,>=2"),
    ("torch@ https://example.org/torch-2.5.1-cp311-cp311-linux_x86_64.whl", ""),
    ("torch!=2.1.0; extra == 'all'", None),
    ("torch<2.3; python_version < '3.9'", None),
    ("torch>=2.3; python_version >= '3.9'", ">=2.3"),
    ("torch==2.9; sys_platform == 'nosuch'", None),
    ("torch==2.9 ; platform_machine != 'nosuch'", "==2.9"),
    ("torchvision>=0.2", None),
    ("torch-geometric", None),
    ("torch.extra", None),
    ("pytorch", None),
]


@pytest.mark.parametrize(("requirement", "specifier"), REQUIREMENTS)
def test_what_a_package_asks_of_torch_is_what_packaging_reads(
    env: Machine, requirement: str, specifier: str | None
) -> None:
    env.wheel("user", "1.0", "numpy", requirement)
    judge = Requirement(requirement)
    holds = judge.marker is None or judge.marker.evaluate({"python_version": "3.11", "extra": ""})

    facts = env.facts()

    asks = normal_name(judge.name) == "torch" and holds
    assert facts["torch_dependents"] == (("user",) if asks else ())
    assert asks is (specifier is not None)
    if specifier:
        assert env.companion("user").requires_torch == specifier
        assert Requirement(f"torch{specifier}").specifier == judge.specifier


def test_of_two_requirements_the_one_for_this_python_counts(env: Machine) -> None:
    env.wheel("user", "1", "torch<2; python_version<'3.11'", "torch>=2; python_version>='3.11'")

    assert env.companion("user").requires_torch == ">=2"


@pytest.mark.parametrize(
    ("name", "version", "torch", "cuda"),
    [
        ("torchvision", "0.20.1+cu124", None, "12.4"),
        ("torchvision", "0.29.2+cu132", None, "13.2"),
        ("torchvision", "0.20.1+cpu", None, "cpu"),
        ("torchaudio", "0.11.0+cu92", None, "9.2"),
        ("torchaudio", "2.5.1+rocm6.2", None, None),
        ("torch-scatter", "2.1.2+pt24cu121", "2.4", "12.1"),
        ("torch-scatter", "2.1.2+pt210cu130", "2.10", "13.0"),
        ("torch-sparse", "0.6.18+pt113cpu", "1.13", "cpu"),
        ("flash-attn", "2.7.4.post1+cu12torch2.6cxx11abiFALSE", "2.6", "12"),
        ("natten", "0.17.5+torch260cu126", "2.6.0", "12.6"),
        ("natten", "0.20.0+torch2100cu130", "2.10.0", "13.0"),
        ("detectron2", "0.6", None, None),
        ("mmcv", "2.1.0", None, None),
    ],
)
def test_a_local_tag_tells_what_a_companion_was_built_for(
    env: Machine, name: str, version: str, torch: str | None, cuda: str | None
) -> None:
    env.wheel(name, version)

    assert env.companion(name) == Companion(name, version, None, torch, cuda)


@pytest.mark.parametrize(
    ("text", "version", "cuda"),
    [
        ("__version__ = '0.20.1+cu124'\ngit_version = 'abc'\n", "0.20.1+cu124", "12.4"),
        ('__version__: str = "0.20.1+cpu"\n', "0.20.1+cpu", "cpu"),
        ("__version__ = '0.20.10+cu124'\n", "0.20.1", None),
        ("__version__ = '0.21.0+cu124'\n", "0.20.1", None),
        ("__version__ = get_version()\n", "0.20.1", None),
        ("", "0.20.1", None),
    ],
)
def test_a_companion_s_own_version_file_has_the_tag_its_metadata_lacks(
    env: Machine, text: str, version: str, cuda: str | None
) -> None:
    env.wheel("torchvision", "0.20.1", "torch==2.5.1")
    env.write(SITE / "torchvision", {"version.py": text})

    found = env.companion("torchvision")

    assert (found.version, found.cuda) == (version, cuda)


@pytest.mark.parametrize(
    ("text", "torch", "cuda"),
    [
        ('{"version": {"cuda": 1201, "torch": "2.2.0+cu121", "python": "3.10.13"}}', "2.2.0+cu121", "12.1"),
        ('{"version": {"cuda": 1300, "hip": null, "torch": "2.9.0+cu130"}}', "2.9.0+cu130", "13.0"),
        ('{"version": {"cuda": null, "torch": "2.2.0+cpu"}}', "2.2.0+cpu", None),
        ('{"version": []}', None, None),
        ("{}", None, None),
        ("no json", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_xformers_tells_what_it_was_compiled_for(
    env: Machine, text: str, torch: str | None, cuda: str | None
) -> None:
    env.wheel("xformers", "0.0.24")
    env.write(SITE / "xformers", {"cpp_lib.json": text})

    found = env.companion("xformers")

    assert (found.built_for_torch, found.cuda) == (torch, cuda)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("2.13.0+cpu", "2.13.0", True),
        ("2.13", "2.13.0+cu130", True),
        ("2.6.0a0+ecf3bae40a.nv25.01", "2.6.0a0+ecf3bae40a.nv25.1", True),
        ("2.13.0", "2.13.1", False),
        ("2.13.0a0", "2.13.0", False),
        ("odd", "odd", True),
        (None, "2.13", False),
        (None, None, True),
    ],
)
def test_a_release_is_the_same_whatever_its_local_tag(
    one: str | None, other: str | None, expected: bool
) -> None:
    assert same_release(one, other) is expected


def test_python_itself_is_described(env: Machine) -> None:
    facts = env.facts()

    assert facts["python_version"] == Version("3.11.7")
    assert facts["python_executable"] == "/env/bin/python"
    assert facts["python_prefix"] == "/env"
    assert facts["python_tag"] == "cpython-311-x86_64-linux-gnu"
    assert facts["python_free_threaded"] is False


def test_no_package_reader_is_imported_where_no_marker_needs_it(
    env: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.wheel("torchvision", "0.20.1", "torch==2.5.1", "scipy; extra == 'scipy'")
    monkeypatch.delitem(sys.modules, "packaging.markers", raising=False)

    env.facts()

    assert "packaging.markers" not in sys.modules


# --- whose pip, and whether it may


def python_at(executable: Path, prefix: Path, *path: Path) -> Interpreter:
    return Interpreter(executable, Version("3.11.7"), prefix, "tag", False, path, None)


def facts_of(system: System, python: Interpreter) -> dict[str, object]:
    return package_facts(system, python, Packages(system, ()))


@pytest.mark.parametrize("folder", ["short", "a folder with spaces", "a-long-one-" + "x" * 140])
def test_pips_own_script_names_its_python(tmp_path: Path, folder: str) -> None:
    """The script as pip's own maker of scripts writes it."""
    scripts = pytest.importorskip("pip._vendor.distlib.scripts")
    for name in (folder, "other"):
        venv.create(tmp_path / name, symlinks=True)
    maker = scripts.ScriptMaker(None, str(tmp_path / folder / "bin"))
    maker.executable = str(tmp_path / folder / "bin" / "python")
    maker.variants = {""}
    maker.make("pip = pip._internal.cli.main:main", {"interpreter_args": []})
    (tmp_path / folder / "bin" / "pip").chmod(0o755)
    system = System(environ={"PATH": f"{tmp_path / folder / 'bin'}:/usr/bin"})
    own, other = (
        python_at(tmp_path / name / "bin/python", tmp_path / name) for name in (folder, "other")
    )

    assert facts_of(system, own)["python_is_active"] is True
    assert facts_of(system, other)["python_is_active"] is False


@pytest.mark.parametrize(
    ("script", "is_active"),
    [
        ("#!/usr/bin/python3.11\n", True),
        ("#!/usr/bin/python3\n", True),
        ("#!/usr/bin/python3.12\n", False),
        ("#!/usr/bin/env bash\nexec pyenv exec pip\n", False),
        ("", False),
    ],
)
def test_a_pip_that_lies_elsewhere_counts_by_the_python_it_names(
    env: Machine, script: str, is_active: bool
) -> None:
    """~/.local/bin/pip is the system's own, a shim of pyenv is nobody's."""
    env.write(Path("/usr/bin"), {"python3.11": "", "python3.12": ""})
    (env.root / "usr/bin/python3").symlink_to("python3.11")
    env.write(Path("/home-of-user/bin"), {"pip": script})
    (env.root / "home-of-user/bin/pip").chmod(0o755)
    system = System(root=env.root, environ={"PATH": "/home-of-user/bin"})

    found = facts_of(system, python_at(Path("/usr/bin/python3"), Path("/usr")))

    assert found["python_is_active"] is is_active


def test_without_a_pip_on_path_no_python_is_active(env: Machine) -> None:
    assert env.facts()["python_is_active"] is False


def test_a_python_that_refuses_pip_is_told_by_the_file_of_pep_668(env: Machine) -> None:
    library = Path("/usr/lib/python3.11")
    env.write(library, {"EXTERNALLY-MANAGED": "[externally-managed]\n"})
    env.write(Path("/env"), {"pyvenv.cfg": "home = /usr/bin\n"})
    allowed = System(root=env.root, environ={"PIP_BREAK_SYSTEM_PACKAGES": "1"})
    of_system = python_at(Path("/usr/bin/python3"), Path("/usr"), library)
    of_venv = python_at(Path("/env/bin/python3"), Path("/env"), library)

    assert facts_of(env.system, of_system)["python_externally_managed"] is True
    assert facts_of(env.system, of_venv)["python_externally_managed"] is False
    assert facts_of(allowed, of_system)["python_externally_managed"] is False


def test_an_environment_that_uv_made_is_told_by_its_own_file(env: Machine) -> None:
    env.write(Path("/env"), {"pyvenv.cfg": "home = /usr/bin\nuv = 0.13.9\n"})
    env.write(Path("/other"), {"pyvenv.cfg": "home = /usr/bin\n"})
    made_by_uv = python_at(Path("/env/bin/python3"), Path("/env"))
    made_by_venv = python_at(Path("/other/bin/python3"), Path("/other"))

    assert facts_of(env.system, made_by_uv)["python_manager"] == "uv"
    assert facts_of(env.system, made_by_venv)["python_manager"] is None
