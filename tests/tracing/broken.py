"""A broken script and what must be said of it, and how to have it run and examined."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from torchkit.commands.snoop import report_of
from torchkit.report import Finding, Report
from torchkit.tracing.run import Ended

IMPORTS = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


class Case(NamedTuple):
    """What stands between « and » in the source is what fails.

    `culprit` is the operand that must be marked, "" where none is a tensor; `note` stands beside
    it. `cause` and `fix` must be in what is said. With the first text of each of `repair` replaced
    by the second the script runs.
    """

    name: str
    id: str
    source: str
    culprit: str
    note: str = ""
    cause: str = ""
    fix: str = ""
    repair: tuple[tuple[str, str], ...] = ()

    @property
    def script(self) -> str:
        """The source as it is run."""
        return IMPORTS + self.source.lstrip("\n").replace("«", "").replace("»", "")

    @property
    def expression(self) -> str:
        """What must be named, its lines as one."""
        inside = self.source.split("«")[1].split("»")[0]
        return " ".join(line.strip() for line in inside.splitlines())

    @property
    def repaired(self) -> str:
        """The script that runs."""
        text = self.script
        for old, new in self.repair:
            if old not in text:
                raise ValueError(f"{self.name}: there is no {old!r} to repair")
            text = text.replace(old, new)
        return text


def ended(source: str, path: Path) -> Ended:
    """Run a script in this process, as `torchkit snoop` runs it."""
    path.write_text(source, "utf-8")
    linecache.checkcache(str(path))
    main = ModuleType("__main__")
    main.__file__ = str(path)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = main
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), main.__dict__)  # noqa: S102
    except BaseException as error:  # noqa: BLE001 - what it ends with is what is looked at
        return Ended(1, error)
    finally:
        sys.modules["__main__"] = before
    return Ended(0)


def report(source: str, path: Path) -> Report:
    """What is said of a script that raises."""
    end = ended(source, path)
    if end.error is None:
        raise ValueError("the script runs")
    return report_of(end)


def evidence(finding: Finding, name: str) -> str:
    """A value that the finding rests on; "" for none."""
    return next((it.value for it in finding.verdict.evidence if it.name == name), "")


def marked(finding: Finding) -> dict[str, str]:
    """The operands that something is said of, and what."""
    return {
        it.name.removeprefix("operand "): it.source
        for it in finding.verdict.evidence
        if it.name.startswith("operand ") and it.source
    }
