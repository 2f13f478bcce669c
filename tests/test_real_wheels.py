"""Real wheels beside the torch at hand: what is predicted is what the loader says, word for word.

A few megabytes for every run of the tests, fetched once; `make matrix` compares a hundred wheels.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import comparison, real_wheels  # noqa: E402 - after the checkout's own folder is on the path
from tools.real_wheels import NotServedError  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(sys.platform != "linux", reason="the loader of Linux is compared"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

WHEELS = {
    "tensordict": "0.6.2",  # loads with every torch
    "torchopt": "0.7.3",  # the old C++ ABI
    "torchtext": "0.18.0",  # a module that needs a library of its own package
    "torchaudio": "2.9.1",  # built for CUDA
    "vesin-torch": "0.3.6",  # one library for each torch up to 2.7
}


class Beside(NamedTuple):
    """The wheels that the index has for this Python, each beside torch, and their files.

    `together` is what the loader says of a file after those that it needs of its own package.
    """

    pairs: dict[str, comparison.Pair]
    files: list[comparison.Compared]
    together: dict[Path, str | None]

    def of(self, name: str) -> comparison.Pair:
        if name not in self.pairs:
            pytest.skip(f"the package index has no {name} {WHEELS[name]} for this Python")
        return self.pairs[name]


@pytest.fixture(scope="module")
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Beside:
    cache = request.config.cache
    folder = Path(cache.mkdir("wheels")) if cache is not None else tmp_path_factory.mktemp("wheels")
    torch = real_wheels.ask_torch(Path(sys.executable))
    pairs, refusals = {}, []
    for name, version in WHEELS.items():
        try:
            wheel = real_wheels.download(
                name, version, folder / "wheels", python_version=torch.python_version
            )
        except NotServedError as reason:
            refusals.append(str(reason))
            continue
        environment = folder / "environments" / torch.name / wheel.stem
        real_wheels.install([wheel], environment, torch)
        pairs[name] = comparison.Pair(f"{name} {version}", torch, environment)
    if not pairs:
        pytest.skip(f"the package index cannot be reached: {refusals[0]}")
    files = [
        (pair, path, real_wheels.refers_to_torch(path))
        for pair in pairs.values()
        for path in real_wheels.compiled_files(pair.environment)
    ]
    compared = comparison.compare_files(torch, files)
    paths = [it.path for it in compared if it.of_torch]
    ahead = {it: real_wheels.brought_along(it, paths) for it in paths}
    return Beside(pairs, compared, real_wheels.really_load(torch, ahead, first=ahead))


def test_what_is_predicted_of_each_file_is_what_the_loader_says(beside: Beside) -> None:
    said = {str(it.path): it.truth for it in beside.files}

    predicted = {str(it.path): it.predicted for it in beside.files}

    assert predicted == said


def test_some_of_these_files_load_and_some_do_not(beside: Beside) -> None:
    beside.of("tensordict")

    truths = [it.truth for it in beside.files if it.of_torch]

    assert None in truths
    assert any("undefined symbol" in text for text in truths if text)


@pytest.mark.parametrize("name", WHEELS)
def test_a_package_is_found_broken_just_when_none_of_its_files_can_do_the_work(
    beside: Beside, name: str
) -> None:
    pair = beside.of(name)
    own = [it.path for it in beside.files if it.pair == pair and it.of_torch]
    truths = [beside.together[path] for path in own]

    found = [it for it in comparison.findings(pair) if it.id.startswith("extension-")]

    if None in truths:
        assert found == []
    else:
        assert [it.status for it in found] == ["fail"]
        # a package that looks for a build by torch's version says in its own words that none fits
        is_of_other_torchs = "has builds for torch" in found[0].message
        assert is_of_other_torchs or found[0].would_fail_with in truths


def test_a_file_that_is_not_installed_is_judged_as_the_loader_does(beside: Beside) -> None:
    pair = beside.of("torchopt")
    (module,) = [it for it in beside.files if it.pair == pair and it.of_torch]

    ended = subprocess.run(
        [sys.executable, "-m", "torchkit", "env", "--extension", module.path, "--json"],
        check=False,
        capture_output=True,
        text=True,
        env={**real_wheels.clean_environment(), "PYTHONPATH": str(ROOT)},
    )

    said = [
        evidence["value"]
        for finding in json.loads(ended.stdout)["findings"]
        for evidence in finding["evidence"]
        if evidence["name"] == "would fail with"
    ]
    assert ended.returncode == 1
    assert module.truth in said
