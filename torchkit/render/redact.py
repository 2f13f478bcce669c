"""Takes out of a text what its owner would not publish: names, addresses, ids, tokens.

Patterns name the form of a secret, so that versions, symbols, wheel names and ordinary paths
stay as they are: a report that is redacted to nothing helps nobody.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Callable
from typing import NamedTuple

from torchkit.render.legible import rewritten
from torchkit.report import Report

GONE = "<redacted>"

SHORTEST_NAME = 3
"""A user or host name of fewer letters is taken out of paths only."""

_COMMON_WORDS = """
root user users admin administrator guest nobody daemon system default test tester dev developer
build builder runner ci jenkins gitlab github git actions circleci travis vscode codespace jovyan
docker container podman kubernetes ubuntu debian fedora centos alma rocky arch alpine linux macos
windows mac host localhost local home server client node gpu cuda nvidia torch pytorch torchkit
torchvision python conda mamba mambauser pip app web worker service data model models train
training work workspace project src lib bin usr opt tmp var etc proc sys max min all none true
false yes the and for not with will mark may main master driver kernel machine batch redacted gcc
clang cmake nvcc numpy triton libtorch ec2-user azureuser opc colab kaggle sagemaker-user
"""

COMMON_NAMES = frozenset(_COMMON_WORDS.split())
"""Names of users and hosts that say nothing of a person, and words that a report needs."""


class Private(NamedTuple):
    """What is known to be private here; "" where it is unknown."""

    home: str = ""
    user: str = ""
    host: str = ""

    @classmethod
    def of_this_machine(cls) -> Private:
        """Home folder, user and host of this process; never raises."""
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        try:
            user = getpass.getuser()
        except (KeyError, OSError, ImportError):  # no variable, no entry for this user id
            user = ""
        return cls("" if home == "~" else home, user, platform.node())


def redact_report(report: Report, *, private: Private) -> Report:
    """The report with every text in it redacted."""
    return rewritten(report, lambda text: redact(text, private=private))


def redact(text: str, *, private: Private) -> str:
    """The text without secrets, addresses, ids, home folders, and the names of user and host."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = _without_home(text, private.home)
    text = _ANY_WINDOWS_HOME.sub("~", text)
    text = _ANY_HOME.sub(_any_home, text)
    for name in _names(private.host, private.host.partition(".")[0]):
        text = re.sub(_whole(name), "<host>", text)
    for name in _names(private.user):
        text = re.sub(_whole(name), "<user>", text)
    return text


# --- names

_NAME = r"[^\s/\\:;,'\"`<>()\[\]{}|*?=$]+"

_ANY_HOME = re.compile(rf"(?<!\w)(?P<url>https?://\S+)|(?P<folder>/home/|/Users/)(?P<name>{_NAME})")

_ANY_WINDOWS_HOME = re.compile(
    r"(?<!\w)[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"
    r"(?!Public\b|Default\b)"
    rf"(?:[^\\/:*?\"<>|\r\n]{{1,64}}(?=[\\/])|{_NAME})",
    re.IGNORECASE,
)

_NOBODY = frozenset({"Shared", "...", "…", ".."})
"""What stands below /home or /Users and is no person."""


def _any_home(match: re.Match[str]) -> str:
    if match["url"] is not None or match["name"] in _NOBODY:
        return match[0]
    before = match.string[match.start() - 1 : match.start()]
    is_whole_path = not before or not (before.isalnum() or before in "/_.-~")
    return "~" if is_whole_path else f"{match['folder']}<user>"


def _without_home(text: str, home: str) -> str:
    home = home.rstrip("/\\")
    if len(home) <= SHORTEST_NAME or not re.search(r"[/\\]", home):  # "/", "C:", a relative one
        return text
    return re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)


def _names(*names: str) -> list[str]:
    return [
        name
        for name in dict.fromkeys(names)
        if len(name) >= SHORTEST_NAME
        and name.lower() not in COMMON_NAMES
        and not name.lower().startswith("localhost")
        and not re.fullmatch(r"[\d.]+", name)  # a number is a version far more often than a name
    ]


def _whole(name: str) -> str:
    return rf"(?<![\w<]){re.escape(name)}(?!\w)"


# --- what is secret by its form

_Replacement = str | Callable[[re.Match[str]], str]


def _userinfo(match: re.Match[str]) -> str:
    return match[0] if match["user"] == "git" else f"{match['scheme']}{GONE}@"


def _email(match: re.Match[str]) -> str:
    is_file = match[0].endswith(_FILE_ENDINGS)  # a symbol's version: foo@libcudart.so
    return match[0] if is_file or match["local"] == "git" else GONE


_FILE_ENDINGS = (".so", ".dll", ".dylib", ".py", ".whl", ".git")


_SECRETS: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        GONE,
    ),
    (re.compile(r"(?P<scheme>://)(?P<user>[^\s/:@'\"<>]+)(?::[^\s/@'\"<>]*)?@"), _userinfo),
    # tokens, by the prefixes their issuers give them
    (re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"), GONE),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}\b"), GONE),
    (re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,}\b"), GONE),
    (re.compile(r"\bglpat-[\w-]{20,}"), GONE),
    (re.compile(r"\bpypi-[\w-]{50,}"), GONE),
    (re.compile(r"(?<![\w-])sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,}"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), GONE),
    (re.compile(r"\bAIza[\w-]{35}"), GONE),
    (re.compile(r"\bxox[a-z]-[\w-]{10,}"), GONE),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), GONE),
    (re.compile(r"(?i)\b(?P<word>bearer|basic)\s+(?=\S*\d)[\w.~+/=-]{16,}"), rf"\g<word> {GONE}"),
    # what a name says is secret
    (
        re.compile(
            r"(?i)(?P<word>(?<!/)(?:passw(?:or)?d|passphrase)[\"']?(?:\s*[:=]\s*|\s*=>\s*)[\"']?)[^\s\"'&,;<]{3,}"
        ),
        rf"\g<word>{GONE}",
    ),
    (
        re.compile(
            r"(?i)(?P<word>(?:token|secret|password|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key"
            r"|secret[_-]?key|credentials?)[\"']?(?:\s*[:=]\s*|\s+)[\"']?)"
            r"(?=[\w+/.~-]*\d)[\w+/.~-]{16,}={0,2}"
        ),
        rf"\g<word>{GONE}",
    ),
    # ids of this very machine
    (
        re.compile(r"\b(?:MIG-)?GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?:/\d+/\d+)?"),
        GONE,
    ),
    (re.compile(r"\bMIG-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), GONE),
    (
        re.compile(r"(?i)(?P<word>\bserial(?:[ _-]?(?:number|no\.?))?\s*[:=]\s*)(?=[\w-]*\d)[\w-]{6,}"),
        rf"\g<word>{GONE}",
    ),
    (re.compile(r"(?<![\w:-])[0-9a-fA-F]{2}(?P<mark>[:-])(?:[0-9a-fA-F]{2}(?P=mark)){4}[0-9a-fA-F]{2}(?![\w:-])"), GONE),
    (
        re.compile(
            r"(?<![\w.+-])(?P<local>[A-Za-z0-9_][\w.+-]*)@(?=[A-Za-z])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![\w@]|\.\w)"
        ),
        _email,
    ),
)  # fmt: skip
