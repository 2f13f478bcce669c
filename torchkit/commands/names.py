"""Names of machines and ranks as people read them: short, and `node0-6` instead of seven."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

MOST_NAMED = 4
"""More names and ranges than these are counted."""

FEWEST_FOLDED = 3
"""So many names with numbers in a row become a range."""


def short_names(paths: Sequence[Path], *, taken: Sequence[str] = ()) -> list[str]:
    """A name for each file: its stem, with as many folders before it as tell equal ones apart.

    One whose stem is `taken` is called `the file` with its whole name.
    """
    for folders in range(_deepest(paths) + 1):
        names = [_with_folders(path, folders) for path in paths]
        if len(set(names)) == len(names):
            break
    else:
        names = [str(path) for path in paths]
    pairs = zip(names, paths, strict=True)
    return [f"the file {path.name}" if name in taken else name for name, path in pairs]


def hidden_names(count: int) -> list[str]:
    """Names in place of those of files, which may be those of hosts: `machine A`, `machine B`."""
    letters = string.ascii_uppercase
    if count <= len(letters):
        return [f"machine {letter}" for letter in letters[:count]]
    return [f"machine{number}" for number in range(1, count + 1)]


def _deepest(paths: Sequence[Path]) -> int:
    return max((len(path.parts) for path in paths), default=1) - 1


def _with_folders(path: Path, folders: int) -> str:
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
    before = path.parts[:-1][-folders:] if folders else ()
    return "/".join((*before, path.stem or path.name))


def folded(names: Sequence[str]) -> str:
    """`node0-6`, `gpu-[000-099]`, `node0, node2`, `a, b, c, d and 12 more`, in their order."""
    pieces: list[tuple[str, int]] = []
    for members in _families(names).values():
        pieces += _ranges(members)
    if len(pieces) > MOST_NAMED + 1:
        rest = sum(count for _, count in pieces[MOST_NAMED:])
        return f"{', '.join(text for text, _ in pieces[:MOST_NAMED])} and {rest} more"
    texts = [text for text, _ in pieces]
    return ", ".join(texts)


def _numbers_in_words(noun: str, numbers: Sequence[int]) -> str:
    """`rank 3`, `ranks 0-6, 9`."""
    found = _runs(sorted(numbers))
    runs = [
        f"{run[0]}-{run[-1]}" if len(run) >= FEWEST_FOLDED else ", ".join(map(str, run))
        for run in found
    ]
    if len(runs) > MOST_NAMED + 1:
        rest = sum(map(len, found[MOST_NAMED:]))
        runs = [*runs[: MOST_NAMED - 1], f"{runs[MOST_NAMED - 1]} and {rest} more"]
    return f"{noun}{'' if len(numbers) == 1 else 's'} {', '.join(runs)}"


_Numbered = tuple[str, int, str, str]
"""What stands before the number, the number, what stands after it, and the whole name."""


def _families(names: Sequence[str]) -> dict[tuple[str, str, int], list[_Numbered]]:
    """Names that differ in their last number alone, together; the others by themselves."""
    found: dict[tuple[str, str, int], list[_Numbered]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d{1,9})(\D*)", name, re.DOTALL)
        if match is None:
            found[name, "", -1] = [(name, 0, "", name)]
            continue
        before, digits, after = match.groups()
        zeros = len(digits) if digits.startswith("0") else 0
        is_padded = zeros > 1 or any(
            key[:2] == (before, after) and key[2] == len(digits) for key in found
        )
        key = (before, after, len(digits) if is_padded else 0)
        found.setdefault(key, []).append((before, int(digits), after, name))
    return found


def _ranges(members: list[_Numbered]) -> list[tuple[str, int]]:
    by_number = {number: (before, after, name) for before, number, after, name in members}
    pieces = []
    for run in _runs(sorted(by_number)):
        before, after, first = by_number[run[0]]
        last = by_number[run[-1]][2]
        if len(run) < FEWEST_FOLDED:
            pieces += [(by_number[number][2], 1) for number in run]
        else:
            digits = last[len(before) : len(last) - len(after)]
            span = f"{first[len(before) : len(first) - len(after)]}-{digits}"
            span = span if before[-1:].isalpha() else f"[{span}]"  # as SLURM writes them
            pieces.append((f"{before}{span}{after}", len(run)))
    return pieces


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers that follow one another, together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


class Hosts:
    """Ranks by their hosts: `node0-6`, `rank 3 on node7`; `ranks 0-3` where there is one host.

    `hidden` leaves the names of hosts out and counts them instead: `nodes 0-6`.
    """

    def __init__(self, of: Mapping[str, str], *, hidden: bool = False) -> None:
        self.of = {rank: host or "?" for rank, host in of.items()}
        self.ranks: dict[str, list[str]] = {}
        for rank, host in self.of.items():
            self.ranks.setdefault(host, []).append(rank)
        self.hidden = hidden

    def named(self, ranks: Iterable[str]) -> str:
        """Words for these ranks; those whose host is not known by their number."""
        wanted = dict.fromkeys(ranks)
        if len(self.ranks) < 2:
            return _numbers_in_words("rank", [int(rank) for rank in wanted])
        whole, parts = [], []
        for host, members in self.ranks.items():
            some = [int(rank) for rank in members if rank in wanted]
            if len(some) == len(members):
                whole.append(host)
            elif some:
                parts.append(f"{_numbers_in_words('rank', some)} on {self._words([host])}")
        strangers = [int(rank) for rank in wanted if rank not in self.of]
        parts += [_numbers_in_words("rank", strangers)] if strangers else []
        return ", ".join([*([self._words(whole)] if whole else []), *parts])

    def _words(self, hosts: Sequence[str]) -> str:
        if not self.hidden:
            return folded(hosts)
        numbers = {host: number for number, host in enumerate(self.ranks)}
        return _numbers_in_words("node", [numbers[host] for host in hosts])
