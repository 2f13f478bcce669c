"""Which torch wins and what its text files say: layouts and version files of real builds."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
from installs import HAS_TORCH, make_environment
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement

from torchkit.machine.distributions import Packages
from torchkit.machine.facts import Install, Unknown, Value
from torchkit.machine.interpreter import Interpreter, own_interpreter
from torchkit.machine.markers import holds, normal_requirement
from torchkit.machine.torch_install import find_torch, torch_facts
from torchkit.system import System
from torchkit.versions import Version

TAG = "cpython-311-x86_64-linux-gnu"
SITE = "/env/lib/python3.11/site-packages"
CPU = "__version__ = '2.13.0+cpu'\ndebug = False\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"
INIT = "from .version import __version__\n"


class Invented(System):
    """A machine whose current folder can be chosen."""

    def __init__(
        self, root: Path, *, here: str | None = "/work", environ: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(root=root, environ=environ or {})
        self.here = here

    def working_folder(self) -> Path | None:
        return None if self.here is None else Path(self.here)


class Machine:
    """Text files of one environment; `facts` asks what its torch is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = Invented(root)
        self.path = [SITE]
        self.prefix = "/env"
        self.python = "3.11.7"

    def write(self, path: str, text: str = "") -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def torch(self, folder: str = SITE, version: str = CPU, *, init: str = INIT) -> None:
        """A real torch as far as this probe looks."""
        self.write(f"{folder}/torch/__init__.py", init)
        self.write(f"{folder}/torch/version.py", version)
        self.write(f"{folder}/torch/_C.{TAG}.so")
        self.write(f"{folder}/torch/lib/libtorch.so")

    def metadata(
        self, version: str, *requires: str, folder: str = SITE, installer: str = "pip", **files: str
    ) -> str:
        """What an installer leaves beside it."""
        place = f"{folder}/torch-{version}.dist-info"
        lines = ["Name: torch", f"Version: {version}", *(f"Requires-Dist: {it}" for it in requires)]
        self.write(f"{place}/METADATA", "\n".join(lines) + "\n\n")
        if installer:
            self.write(f"{place}/INSTALLER", f"{installer}\n")
        for name, text in files.items():
            self.write(f"{place}/{name.replace('__', '.')}", text)
        return place

    def interpreter(self) -> Interpreter:
        """As the import system would find torch: by the path, in its order."""
        found = [
            Path(folder, name)
            for folder in self.path
            for name in ("torch/__init__.py", "torch.py")
            if self.system.size(Path(folder, name)) is not None
        ]
        return Interpreter(
            executable=Path(self.prefix, "bin/python"),
            version=Version(self.python),
            prefix=Path(self.prefix),
            tag=TAG,
            free_threaded=False,
            path=tuple(map(Path, self.path)),
            torch=found[0] if found else None,
        )

    def facts(self) -> dict[str, Value]:
        python = self.interpreter()
        packages = Packages(self.system, python.package_folders)
        return torch_facts(self.system, python, packages, find_torch(self.system, python))


@pytest.fixture
def env(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- torch/version.py as builds have written it


OPTIONAL = "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'xpu']\n"

VERSION_FILES = {
    "cpu": (
        OPTIONAL + "__version__ = '2.13.0+cpu'\ndebug = False\ncuda: Optional[str] = None\ngit_version = 'cf30'\nhip: Optional[str] = None\nrocm: Optional[str] = None\nxpu: Optional[str] = None\n",
        "2.13.0+cpu", "cpu", None,
    ),
    "cuda": (
        OPTIONAL + "__version__ = '2.6.0+cu124'\ndebug = False\ncuda: Optional[str] = '12.4'\ngit_version = '2236'\nhip: Optional[str] = None\nxpu: Optional[str] = None\n",
        "2.6.0+cu124", "cuda", "12.4",
    ),
    "default-index": (
        "__version__ = '1.13.1+cu117'\ndebug = False\ncuda = '11.7'\ngit_version = '49444c'\nhip = None\n",
        "1.13.1+cu117", "cuda", "11.7",
    ),
    "rocm": (
        OPTIONAL + "__version__ = '2.4.1+rocm6.1'\ndebug = False\ncuda: Optional[str] = None\ngit_version = '38b9'\nhip: Optional[str] = '6.1.40091-a8dbc0c19'\n",
        "2.4.1+rocm6.1", "rocm", None,
    ),
    "xpu": (
        OPTIONAL + "__version__ = '2.7.0+xpu'\ndebug = False\ncuda: Optional[str] = None\ngit_version = '1341'\nhip: Optional[str] = None\nxpu: Optional[str] = '20250004'\n",
        "2.7.0+xpu", "xpu", None,
    ),
    "xpu-untold": (
        OPTIONAL + "__version__ = '2.5.1+xpu'\ndebug = False\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
        "2.5.1+xpu", "xpu", None,
    ),
    "nightly": (
        OPTIONAL + "__version__ = '2.10.0.dev20251025+cu130'\ndebug = False\ncuda: Optional[str] = '13.0'\ngit_version = '0000'\nhip: Optional[str] = None\nxpu: Optional[str] = None\n",
        "2.10.0.dev20251025+cu130", "cuda", "13.0",
    ),
    "nvidia-container": (
        OPTIONAL + "__version__ = '2.6.0a0+ecf3bae40a.nv25.01'\ndebug = False\ncuda: Optional[str] = '12.8'\ngit_version = 'ecf3bae40a'\nhip: Optional[str] = None\nxpu: Optional[str] = None\n",
        "2.6.0a0+ecf3bae40a.nv25.01", "cuda", "12.8",
    ),
    "source-build": (
        OPTIONAL + "__version__ = '2.9.0a0+git1a2b3c4'\ndebug = True\ncuda: Optional[str] = None\ngit_version = '1a2b3c4'\nhip: Optional[str] = None\nxpu: Optional[str] = None\n",
        "2.9.0a0+git1a2b3c4", "cpu", None,
    ),
    "source-build-named-like-cuda": (
        OPTIONAL + "__version__ = '2.9.0a0+cuda.lab'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
        "2.9.0a0+cuda.lab", "cpu", None,
    ),
    "jetson": (
        "__version__ = '2.1.0a0+41361538.nv23.06'\ndebug = False\ncuda: Optional[str] = '11.4'\ngit_version = '4136'\nhip: Optional[str] = None\n",
        "2.1.0a0+41361538.nv23.06", "cuda", "11.4",
    ),
    "1.0": ("__version__ = '1.0.1.post2'\ndebug = False\ncuda = '9.0.176'\n", "1.0.1.post2", "cuda", "9.0.176"),
    "1.4-cpu": ("__version__ = '1.4.0+cpu'\ndebug = False\ncuda = None\ngit_version = '7404'\n", "1.4.0+cpu", "cpu", None),
    "dos-line-ends": ("__version__ = '2.6.0+cu124'\r\ndebug = False\r\ncuda: Optional[str] = '12.4'\r\n", "2.6.0+cu124", "cuda", "12.4"),
    "double-quotes": ('__version__ = "2.6.0+cu124"\ncuda = "12.4"\n', "2.6.0+cu124", "cuda", "12.4"),
    "version-alone": ("__version__ = '1.13.1+cu117'\n", "1.13.1+cu117", "cuda", "11.7"),
    "version-alone-cuda-10": ("__version__ = '1.7.1+cu101'\n", "1.7.1+cu101", "cuda", "10.1"),
    "version-alone-cuda-9": ("__version__ = '1.7.1+cu92'\n", "1.7.1+cu92", "cuda", "9.2"),
    "empty-cuda": ("__version__ = '2.0.0'\ncuda = ''\n", "2.0.0", "cpu", None),
}  # fmt: skip


@pytest.mark.parametrize("build", VERSION_FILES)
def test_version_py_is_read_as_python_would(env: Machine, build: str) -> None:
    text, version, flavour, cuda = VERSION_FILES[build]
    env.torch(version=text)
    judge: dict[str, object] = {}
    exec(text, judge)  # noqa: S102 - our own text, run as Python runs it

    facts = env.facts()

    assert str(facts["torch_version"]) == version == judge["__version__"]
    assert facts["torch_build"] == flavour
    assert facts["torch_cuda"] == (None if cuda is None else Version(cuda))
    if judge.get("cuda"):
        assert str(facts["torch_cuda"]) == judge["cuda"]


@pytest.mark.parametrize("text", ["", "__version__ = compute()\n", "__version__ = ''\n", "x = 1\n"])
def test_without_a_version_file_the_metadata_tells(env: Machine, text: str) -> None:
    env.torch(version=text)
    env.metadata("2.13.0+cu130")

    facts = env.facts()

    assert facts["torch_version"] == Version("2.13.0+cu130")
    assert facts["torch_build"] == "cuda"
    assert facts["torch_cuda"] == Version("13.0")
    assert facts["torch_installs"] == (Install(f"{SITE}/torch", "2.13.0+cu130", "pip"),)


def test_without_both_the_version_is_unknown_and_nothing_is_claimed(env: Machine) -> None:
    env.torch()
    (env.root / f"{SITE}/torch/version.py".lstrip("/")).unlink()

    facts = env.facts()

    for name in ("torch_version", "torch_build", "torch_cuda"):
        assert isinstance(facts[name], Unknown)
        assert "torch/version.py is not there" in facts[name].reason
    assert facts["torch_path"] == f"{SITE}/torch"


@pytest.mark.parametrize("version", ["'twelve'", "'2.6.0-dirty+x'"])
def test_a_version_that_is_none_is_unknown(env: Machine, version: str) -> None:
    env.torch(version=f"__version__ = {version}\ncuda = None\n")

    assert isinstance(env.facts()["torch_version"], Unknown)


# --- which one wins


def test_nothing_is_found_where_there_is_nothing(env: Machine) -> None:
    facts = env.facts()

    assert facts["torch_installs"] == ()
    assert facts["torch_shadows"] == ()
    assert {facts[name] for name in facts if name not in ("torch_installs", "torch_shadows")} == {
        None
    }


def test_the_winner_comes_first_whatever_the_others_are(env: Machine) -> None:
    user, pythonpath = "/u/.local/lib/python3.11/site-packages", "/build/pytorch"
    env.path = [pythonpath, user, SITE]
    env.torch(SITE, "__version__ = '2.5.1+cu124'\ncuda = '12.4'\n")
    env.metadata("2.5.1")
    env.torch(user, "__version__ = '2.6.0+cpu'\ncuda = None\n")
    env.metadata("2.6.0", folder=user, installer="uv")
    env.torch(pythonpath, "__version__ = '2.9.0a0+git1a2b3c4'\ncuda = None\n")

    facts = env.facts()

    assert facts["torch_installs"] == (
        Install(f"{pythonpath}/torch", "2.9.0a0+git1a2b3c4", None),
        Install(f"{user}/torch", "2.6.0+cpu", "uv"),
        Install(f"{SITE}/torch", "2.5.1+cu124", "pip"),
    )
    assert facts["torch_version"] == Version("2.9.0a0+git1a2b3c4")
    assert facts["torch_manager"] is None
    assert facts["torch_requires"] is None
    assert facts["torch_shadows"] == ()


def test_one_folder_by_two_names_is_one_install(env: Machine) -> None:
    """Fedora's environments: lib64 is a link to lib, and both are on the path."""
    env.torch()
    env.metadata("2.13.0")
    (env.root / "env" / "lib64").symlink_to("lib")
    env.path = ["/env/lib64/python3.11/site-packages", SITE]

    facts = env.facts()

    assert facts["torch_installs"] == (
        Install("/env/lib64/python3.11/site-packages/torch", "2.13.0+cpu", "pip"),
    )
    assert facts["torch_manager"] == "pip"
    assert facts["torch_requires"] == ()


def test_a_link_to_torch_is_the_same_torch(env: Machine) -> None:
    env.torch("/store/hash")
    (env.root / SITE.lstrip("/")).mkdir(parents=True)
    (env.root / SITE.lstrip("/") / "torch").symlink_to(env.root / "store/hash/torch")
    env.path = [SITE, "/store/hash"]

    assert len(env.facts()["torch_installs"]) == 1


def test_a_leftover_of_another_release_is_named_after_the_winner(env: Machine) -> None:
    env.torch()
    env.metadata("2.13.0+cpu", "triton==3.7.0")
    leftover = env.metadata("2.10.0", "triton==3.4.0")

    facts = env.facts()

    assert facts["torch_installs"] == (
        Install(f"{SITE}/torch", "2.13.0+cpu", "pip"),
        Install(leftover, "2.10.0", "pip"),
    )
    assert facts["torch_requires"] == ("triton==3.7.0",)


# --- who installed it


@pytest.mark.parametrize("installer", ["pip", "uv", "conda", "Poetry 1.8.3"])
def test_the_installer_signs(env: Machine, installer: str) -> None:
    env.torch()
    env.metadata("2.13.0+cpu", installer=installer)

    facts = env.facts()

    assert facts["torch_manager"] == installer.split(maxsplit=1)[0].lower()
    assert facts["torch_installs"][0].manager == installer.split(maxsplit=1)[0].lower()


def test_conda_is_known_by_its_record_where_nobody_signed(env: Machine) -> None:
    env.torch(version="__version__ = '2.3.0'\ncuda = '12.1'\n")
    env.write(f"{SITE}/torch-2.3.0-py3.11.egg-info/PKG-INFO", "Name: torch\nVersion: 2.3.0\n")
    env.write("/env/conda-meta/pytorch-2.3.0-py3.11_cuda12.1_cudnn8.9.2_0.json", "{}")
    env.write("/env/conda-meta/pytorch-mutex-1.0-cuda.json", "{}")

    facts = env.facts()

    assert facts["torch_manager"] == "conda"
    assert facts["torch_installs"] == (Install(f"{SITE}/torch", "2.3.0", "conda"),)


def test_pip_over_conda_is_two_installs(env: Machine) -> None:
    env.torch()
    env.metadata("2.13.0+cpu")
    record = "/env/conda-meta/pytorch-2.3.0-py3.11_cuda12.1_cudnn8.9.2_0.json"
    env.write(record, "{}")

    facts = env.facts()

    assert facts["torch_manager"] == "pip"
    assert facts["torch_installs"][1:] == (Install(record, "2.3.0", "conda"),)


def test_conda_s_record_of_another_release_does_not_sign(env: Machine) -> None:
    env.path = ["/build/pytorch", SITE]
    env.torch("/build/pytorch", "__version__ = '2.9.0a0+git1a2b3c4'\ncuda = None\n")
    env.write("/env/conda-meta/pytorch-2.3.0-py3.11_0.json", "{}")

    assert env.facts()["torch_manager"] is None


@pytest.mark.parametrize(
    ("direct_url", "belongs"),
    [
        ('{"dir_info": {"editable": true}, "url": "file:///src/my%20torch"}', True),
        ('{"url": "file:///src/other", "dir_info": {"editable": true}}', False),
        ('{"url": "file:///src/my%20torch", "dir_info": {}}', False),
        ('{"url": "https://example.org/torch-2.13.0-cp311.whl", "archive_info": {}}', False),
        ("no json", False),
        ("[]", False),
        ('{"dir_info": {"editable": true}, "url": 5}', False),
    ],
)
def test_metadata_in_site_packages_speaks_for_an_editable_checkout_alone(
    env: Machine, direct_url: str, belongs: bool
) -> None:
    env.path = ["/src/my torch", SITE]
    env.torch("/src/my torch", "__version__ = '2.9.0a0+git1a2b3c4'\ncuda = None\n")
    env.metadata("2.9.0a0+git1a2b3c4", "triton==3.5.0", direct_url__json=direct_url)

    facts = env.facts()

    assert facts["torch_requires"] == (("triton==3.5.0",) if belongs else None)
    assert facts["torch_manager"] == ("pip" if belongs else None)


def test_a_develop_install_has_its_metadata_in_the_checkout(env: Machine) -> None:
    env.path = [SITE, "/src/pytorch"]
    env.torch("/src/pytorch", "__version__ = '2.9.0a0+git1a2b3c4'\ncuda = None\n")
    env.write("/src/pytorch/torch.egg-info/PKG-INFO", "Name: torch\nVersion: 2.9.0a0+git1a2b3c4\n")
    env.write("/src/pytorch/torch.egg-info/requires.txt", "sympy\ntriton==3.5.0\n")

    facts = env.facts()

    assert facts["torch_requires"] == ("sympy", "triton==3.5.0")
    assert len(facts["torch_installs"]) == 1


# --- shadows


@pytest.mark.parametrize(
    "here",
    [SITE, "/build/pytorch", "/build/pytorch/torch/lib", "/work", None],
    ids=["site-packages", "a-built-checkout", "inside-torch", "elsewhere", "deleted"],
)
def test_a_healthy_torch_is_no_shadow_wherever_we_stand(env: Machine, here: str | None) -> None:
    env.torch()
    env.torch("/build/pytorch")
    env.system.here = here

    assert env.facts()["torch_shadows"] == ()


def test_a_real_torch_on_pythonpath_is_no_shadow(env: Machine) -> None:
    env.path = ["/build", SITE]
    env.torch("/build")
    env.torch()

    assert env.facts()["torch_shadows"] == ()


@pytest.mark.parametrize(
    "name", ["torch.py", f"torch.{TAG}.so", "torch.abi3.so", "torch.so", "torch.pyc"]
)
def test_a_module_named_torch_in_the_current_folder_is_a_shadow(env: Machine, name: str) -> None:
    env.torch()
    env.write(f"/work/{name}")

    assert env.facts()["torch_shadows"] == (f"/work/{name}",)


@pytest.mark.parametrize(
    "name",
    ["torch.cpython-39-x86_64-linux-gnu.so", "torch.pyd", "torch.txt", "torch.pyi", "torch.py/x"],
)
def test_what_this_python_cannot_import_is_no_shadow(env: Machine, name: str) -> None:
    env.torch()
    env.write(f"/work/{name}")
    env.write("/work/torch/readme.md")

    assert env.facts()["torch_shadows"] == ()


def test_a_checkout_of_pytorch_is_a_shadow(env: Machine) -> None:
    """It has torch/lib (with libshm) and torch/_C (with stubs), but nothing that was built."""
    env.torch()
    env.system.here = "/src/pytorch"
    for path in (
        "__init__.py",
        "lib/libshm/core.cpp",
        "lib/libshm_windows/libshm.h",
        "_C/__init__.pyi.in",
        "csrc/Module.cpp",
    ):
        env.write(f"/src/pytorch/torch/{path}")

    assert env.facts()["torch_shadows"] == ("/src/pytorch/torch",)


def test_under_safe_path_the_current_folder_does_not_count(env: Machine) -> None:
    env.torch()
    env.write("/work/torch.py")
    env.system.environ = {"PYTHONSAFEPATH": "1"}

    assert env.facts()["torch_shadows"] == ()


def test_what_comes_after_the_real_torch_is_no_shadow(env: Machine) -> None:
    env.path = [SITE, "/later"]
    env.torch()
    env.write("/later/torch.py")
    env.write(f"{SITE}/torch.py")

    assert env.facts()["torch_shadows"] == ()


def test_a_shadow_on_the_path_is_named_and_the_installed_torch_too(env: Machine) -> None:
    env.path = ["/mine", SITE]
    env.write("/mine/torch/__init__.py")
    env.torch()

    facts = env.facts()

    assert facts["torch_shadows"] == ("/mine/torch",)
    assert facts["torch_version"] is None
    assert facts["torch_installs"] == (Install(f"{SITE}/torch", "2.13.0+cpu", None),)


@pytest.mark.parametrize("name", ["torch.py", "torch/__init__.py"])
def test_shadows_are_what_python_itself_imports(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("print(__file__)")

    said = subprocess.run(
        [sys.executable, "-c", "import torch"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    shadows = torch_facts(
        Invented(Path("/"), here=str(tmp_path)), own_interpreter(), Packages(System(), ()), None
    )["torch_shadows"]

    assert said.stdout.strip() == str(place)
    assert shadows == (str(tmp_path / name.partition("/")[0]),)


# --- the other facts


def test_cmake_is_pointed_at_a_folder_that_has_its_files(env: Machine) -> None:
    env.torch()
    assert env.facts()["torch_cmake_prefix"] is None

    env.write(f"{SITE}/torch/share/cmake/Torch/TorchConfig.cmake")

    assert env.facts()["torch_cmake_prefix"] == f"{SITE}/torch/share/cmake"


REQUIRES = (
    "filelock",
    'nvidia-cublas-cu12==12.4.5.8; platform_system == "Linux" and platform_machine == "x86_64"',
    "nvidia-nccl-cu12 (==2.21.5)",
    "cuda-bindings<14,>=13.0.3; sys_platform == 'nosuch'",
    "cuda-toolkit[cublas,cudart]==13.0.3",
    'triton==3.1.0; python_version < "3.13"',
    'triton==3.9.0; python_version >= "3.13"',
    "nvidia-odd ==; broken",
    "opt-einsum>=3.3; extra == 'opt-einsum'",
)


@pytest.mark.parametrize("python", ["3.11.7", "3.13.1"])
def test_requirements_that_hold_here_are_those_packaging_finds(env: Machine, python: str) -> None:
    env.python = python
    env.torch()
    env.metadata("2.13.0+cpu", *REQUIRES)
    judge = [Requirement(text) for text in REQUIRES if "odd" not in text]
    holding = []
    for it in judge:
        environment = {"python_version": python.rpartition(".")[0], "extra": ""}
        if it.marker is None or it.marker.evaluate(environment):
            it.marker = None
            holding.append(str(it))

    requires = env.facts()["torch_requires"]

    assert [it for it in requires if "odd" not in it] == holding
    assert len(holding) >= 4


@pytest.mark.parametrize(
    "text",
    [
        *(text.partition(";")[0] for text in REQUIRES),
        "typing-extensions>=4.10.0",
        "triton~=3.8.0",
        "cuda-toolkit[nvtx, cublas ,cudart] == 13.0.3",
        "triton (>=3, <4 , !=3.1.*)",
        "a>=1,<2,",
        "a (>=1",
        "a >=1)",
        "a[]",
        "a[b",
        "a==1.0+cpu",
        "a===weird",
        "a b",
        "-a",
        "torch @ https://example.org/torch-2.5.1-cp311-cp311-linux_x86_64.whl",
        "",
    ],
)
def test_a_requirement_is_written_as_packaging_writes_it(text: str) -> None:
    try:
        expected = str(Requirement(text))
    except InvalidRequirement:
        expected = text.strip()

    assert normal_requirement(text) == expected


MARKERS = (
    'platform_system == "Linux"',
    'platform_system != "Linux"',
    'platform_system == "Linux" and platform_machine == "x86_64"',
    'platform_system == "Linux" and python_version < "3.15"',
    "python_version<'3.9'",
    "python_version >= '3.11'",
    "python_version == '3.11.0'",
    "python_version == '3.1'",
    "python_version > '3.10'",
    "python_version <= '3.9'",
    "python_full_version < '3.11.7'",
    "python_full_version >= '3.11.7'",
    "extra == 'optree'",
    "extra != 'optree'",
    "python_version == '3.*'",
    "python_version in '3.10 3.11'",
    "python_version not in '3.10 3.12'",
    "sys_platform == 'win32' or sys_platform == 'linux'",
    "(sys_platform == 'linux') and extra == 'x'",
    "sys_platform == 'win32' and (extra == '' or os_name == 'posix')",
    "'3.9' < python_version",
    "os_name == 'posix' and sys_platform >= 'linux'",
    "python_version ~= '3.10'",
    "implementation_name == 'cpython'",
)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_holds_where_packaging_says_so(env: Machine, marker: str) -> None:
    python = env.interpreter()
    given = {"python_version": "3.11", "python_full_version": "3.11.7", "extra": ""}

    assert holds(marker, System(), python) is Marker(marker).evaluate(given)


def test_the_metadata_of_official_builds_needs_no_package_reader(
    env: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requires-Dist of torch 2.14.1 for CUDA 13; packaging's parser takes 28 ms to import."""
    env.torch()
    env.metadata(
        "2.13.0+cpu",
        "filelock",
        "typing-extensions>=4.10.0",
        'cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"',
        'cuda-bindings<14,>=13.0.3; platform_system == "Linux" and python_version < "3.15"',
        'optree>=0.13.0; extra == "optree"',
    )
    for name in ("packaging.markers", "packaging.requirements"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    requires = env.facts()["torch_requires"]

    assert requires[:2] == ("filelock", "typing-extensions>=4.10.0")
    assert not [name for name in requires if name.startswith("optree")]
    assert "packaging.markers" not in sys.modules
    assert "packaging.requirements" not in sys.modules


# --- what Python would stumble over


def test_a_whole_torch_has_no_problems(env: Machine) -> None:
    env.torch()

    assert env.facts()["torch_problems"] == ()


def test_a_sourceless_torch_has_no_problems(env: Machine) -> None:
    env.torch()
    (env.root / f"{SITE}/torch/__init__.py".lstrip("/")).unlink()
    env.write(f"{SITE}/torch/__init__.pyc", "bytecode")
    python = env.interpreter()
    python = Interpreter(**{**vars(python), "torch": Path(f"{SITE}/torch/__init__.pyc")})

    found = find_torch(env.system, python)
    facts = torch_facts(env.system, python, Packages(env.system, (Path(SITE),)), found)

    assert facts["torch_path"] == f"{SITE}/torch"
    assert facts["torch_problems"] == ()


@pytest.mark.parametrize(
    ("init", "word"),
    [
        ("", "__init__.py is empty"),
        ("import sys\ndef f(:\n", "SyntaxError"),
        ("x = '''", "SyntaxError"),
        ("\0\0\0\0", "null bytes"),
    ],
)
def test_a_damaged_init_is_a_problem_in_python_s_words(env: Machine, init: str, word: str) -> None:
    env.python = "3.10.0"
    env.torch(init=init)

    assert word in " ".join(env.facts()["torch_problems"])


def test_the_syntax_of_a_newer_python_is_not_judged_by_ours(env: Machine) -> None:
    env.python = "3.99.0"
    env.torch(init="syntax of the future $$$\n")

    assert env.facts()["torch_problems"] == ()


def test_an_invalid_escape_is_no_problem_even_where_warnings_are_errors(env: Machine) -> None:
    env.torch(init=INIT + "pattern = '\\d'\n")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problems = env.facts()["torch_problems"]

    assert problems == ()


NEEDS_IT = INIT + "from typing_extensions import ParamSpec\n"
NO_MODULE = "ModuleNotFoundError: No module named 'typing_extensions'"


def test_a_module_that_torch_imports_at_once_and_that_is_gone_is_a_problem(env: Machine) -> None:
    env.torch(init=NEEDS_IT)

    assert env.facts()["torch_problems"] == (NO_MODULE,)


@pytest.mark.parametrize(
    "place",
    [
        f"{SITE}/typing_extensions.py",
        f"{SITE}/typing_extensions/__init__.py",
        "/deps/typing_extensions.py",
        "/deps.zip",
        "/deps/__editable___typing_extensions_finder.py",
    ],
)
def test_a_module_that_is_or_may_be_somewhere_on_the_path_is_no_problem(
    env: Machine, place: str
) -> None:
    env.path = [SITE, "/deps", "/deps.zip"]
    env.torch(init=NEEDS_IT)
    env.write(place)

    assert env.facts()["torch_problems"] == ()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "    from typing_extensions import Self",
        "# from typing_extensions import Self",
        "from typing_extensions_of_ours import Self",
    ],
)
def test_a_module_that_torch_does_not_import_at_once_is_not_missed(env: Machine, line: str) -> None:
    env.torch(init=f"{INIT}if False:\n    pass\n{line}\n")

    assert env.facts()["torch_problems"] == ()


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch, on Linux")
def test_without_typing_extensions_python_says_what_we_say(tmp_path: Path) -> None:
    environment = make_environment(tmp_path.resolve() / "env")
    (environment.site / "typing_extensions.py").unlink()

    really = environment.really_import()
    outcome = environment.env("--only", "torch-import-fails")

    assert really.stderr.splitlines()[-1] == NO_MODULE
    assert outcome.quoted("torch-import-fails") == NO_MODULE
    assert outcome.status == 1


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch, on Linux")
def test_without_torchgen_of_its_own_wheel_python_says_what_we_say(tmp_path: Path) -> None:
    environment = make_environment(tmp_path.resolve() / "env")
    (environment.site / "torchgen").unlink()

    really = environment.really_import()
    outcome = environment.env("--only", "torch-import-fails")

    assert "No module named 'torchgen'" in really.stderr
    assert outcome.quoted("torch-import-fails") == really.stderr.splitlines()[-1]


@pytest.mark.torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs an installed torch, on Linux")
def test_without_its_other_requirements_torch_imports_and_we_see_no_problem(
    tmp_path: Path,
) -> None:
    environment = make_environment(tmp_path.resolve() / "env")
    for name in ("filelock", "setuptools", "sympy", "networkx", "jinja2", "fsspec", "functorch"):
        (environment.site / name).unlink(missing_ok=True)

    really = environment.really_import()
    outcome = environment.env("--only", "torch-import-fails")

    assert really.status == 0, really.stderr
    assert outcome.status == 0
    assert outcome.statuses() == {"torch-import-fails": "ok"}


def test_files_the_installer_recorded_and_that_are_gone_are_problems(env: Machine) -> None:
    env.torch()
    env.metadata("2.13.0+cpu", RECORD="torch/__init__.py,sha256=x,33\ntorch/types.py,sha256=y,10\n")

    assert env.facts()["torch_problems"] == ("ModuleNotFoundError: No module named 'torch.types'",)


def test_the_record_of_another_release_is_not_asked(env: Machine) -> None:
    env.torch()
    env.metadata("2.13.0+cpu", RECORD="torch/__init__.py,sha256=x,33\n")
    env.metadata("2.10.0", RECORD="torch/__init__.py,,\ntorch/types.py,sha256=y,10\n")

    assert env.facts()["torch_problems"] == ()


# --- a real one


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no torch is installed")
def test_this_torch_is_described_as_it_describes_itself() -> None:
    ask = (
        "import json, torch, torch.version as v, torch.utils as u; print(json.dumps(["
        "str(torch.__version__), v.cuda, torch.__path__[0], u.cmake_prefix_path]))"
    )
    environ = {**os.environ, "PYTHONSAFEPATH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=True
    )
    version, cuda, path, cmake = json.loads(said.stdout)
    system, python = System(), own_interpreter()

    facts = torch_facts(
        system, python, Packages(system, python.package_folders), find_torch(system, python)
    )

    assert str(facts["torch_version"]) == version
    assert facts["torch_path"] == path
    assert facts["torch_cmake_prefix"] == cmake
    assert (facts["torch_cuda"] and str(facts["torch_cuda"])) == cuda
    assert facts["torch_problems"] == ()
    assert facts["torch_installs"][0].path == path
    if Path(path).parent == Path(sysconfig.get_path("purelib")):
        assert facts["torch_manager"] is not None
