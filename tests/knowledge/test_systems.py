"""Symbol versions from gcc's ABI page, distributions by what os-release says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from torchkit.knowledge.compat import distribution, distributions, glibcxx_of_gcc
from torchkit.versions import Version


# https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
@pytest.mark.parametrize(
    ("gcc", "glibcxx"),
    [
        ("4.7.4", None),
        ("4.8.5", "3.4.19"),
        ("5.4.0", "3.4.21"),
        ("7.1.0", "3.4.23"),
        ("7.5.0", "3.4.24"),
        ("9.1.0", "3.4.26"),
        ("9.4.0", "3.4.28"),
        ("10.2.1", "3.4.28"),
        ("11.4.0", "3.4.29"),
        ("12.2.0", "3.4.30"),
        ("13.1.0", "3.4.31"),
        ("13.3.0", "3.4.32"),
        ("14.2.0", "3.4.33"),
        ("15.2", "3.4.34"),
        ("17.1", None),
    ],
)
def test_a_gcc_offers_the_symbol_version_of_its_libstdcxx(gcc: str, glibcxx: str | None) -> None:
    found = glibcxx_of_gcc(Version(gcc))

    assert found == (None if glibcxx is None else Version(glibcxx))


def test_the_table_agrees_with_the_gcc_of_this_machine() -> None:
    try:
        version = subprocess.run(
            ["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True
        ).stdout.strip()
        library = subprocess.run(
            ["gcc", "-print-file-name=libstdc++.so.6"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no gcc is installed")
    here = distribution(pretty_name())
    if here is None or here.gcc.major != Version(version).major or "Ubuntu" in here.name:
        pytest.skip("the libstdc++ of this machine is not that of its gcc, or may not be")

    offered = {
        Version(text.decode())
        for text in re.findall(rb"GLIBCXX_(3\.4\.\d+)\0", Path(library).read_bytes())
    }

    assert glibcxx_of_gcc(Version(version)) == max(offered)
    assert here.glibcxx == max(offered)


def pretty_name() -> str:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return match[1] if match else ""


@pytest.mark.parametrize(
    ("text", "name", "glibc"),
    [
        ("Ubuntu 22.04.3 LTS", "Ubuntu 22.04", "2.35"),
        ("Ubuntu 24.04", "Ubuntu 24.04", "2.39"),
        ("Debian GNU/Linux 12 (bookworm)", "Debian 12", "2.36"),
        ("Debian GNU/Linux 13", "Debian 13", "2.41"),
        ("CentOS Linux 7 (Core)", "RHEL 7", "2.17"),
        ("Red Hat Enterprise Linux 8.9 (Ootpa)", "RHEL 8", "2.28"),
        ("Red Hat Enterprise Linux release 8.4 (Ootpa)", "RHEL 8", "2.28"),
        ("Rocky Linux 9.3 (Blue Onyx)", "RHEL 9", "2.34"),
        ("AlmaLinux 10.0 (Purple Lion)", "RHEL 10", "2.39"),
        ("Amazon Linux 2", "Amazon Linux 2", "2.26"),
        ("Amazon Linux 2023.6.20241010", "Amazon Linux 2023", "2.34"),
        ("Fedora Linux 42 (Container Image)", "Fedora 42", "2.41"),
        ("openSUSE Leap 15.6", "openSUSE Leap 15.6", "2.38"),
        ("Microsoft Azure Linux 3.0", "Azure Linux 3", "2.38"),
    ],
)
def test_a_distribution_is_known_by_what_os_release_says(text: str, name: str, glibc: str) -> None:
    found = distribution(text)

    assert found is not None
    assert found.name == name
    assert str(found.glibc) == glibc


@pytest.mark.parametrize(
    "text",
    ["", "Ubuntu", "Ubuntu 22.10", "Ubuntu Core 22", "Debian GNU/Linux trixie/sid", "Debian 1",
     "Linux Mint 21.3", "Alpine Linux v3.20", "Arch Linux", "Amazon Linux 20"],
)  # fmt: skip
def test_a_distribution_we_do_not_know_is_not_guessed(text: str) -> None:
    assert distribution(text) is None


def test_every_distribution_finds_itself() -> None:
    for row in distributions():
        for name in row.names:
            assert distribution(f"{name} {row.release}") == row
