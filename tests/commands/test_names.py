"""Names as people of clusters write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchkit.commands.names import Hosts, folded, hidden_names, short_names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "a"),
        (["node0", "node1"], "node0, node1"),
        ([f"node{n}" for n in range(7)], "node0-6"),
        ([f"node{n}" for n in (3, 1, 2, 9)], "node1-3, node9"),
        ([f"node{n:03}" for n in range(8, 12)], "node008-011"),
        ([f"node{n}" for n in range(8, 12)], "node8-11"),
        ([f"gpu-{n}.lan" for n in range(4)], "gpu-[0-3].lan"),
        (["a1", "a2", "a3", "b1", "b2", "b3"], "a1-3, b1-3"),
        ([f"n{n}" for n in range(0, 20, 2)], "n0, n2, n4, n6 and 6 more"),
        (["node1", "node01", "node2"], "node1, node2, node01"),
    ],
)
def test_names_with_numbers_in_a_row_are_folded(names: list[str], words: str) -> None:
    assert folded(names) == words


def test_no_name_is_lost_by_folding() -> None:
    names = [f"node{n:02}" for n in (*range(5, 15), 20)]

    assert folded(names) == "node05-14, node20"


def test_a_file_is_called_by_its_stem_and_its_folder_where_that_is_not_enough(
    tmp_path: Path,
) -> None:
    assert short_names([Path("x/a.json"), Path("b.json")]) == ["a", "b"]
    assert short_names([Path("x/a.json"), Path("y/a.json")]) == ["x/a", "y/a"]
    assert short_names([tmp_path / "1/x/a.json", tmp_path / "2/x/a.json"]) == ["1/x/a", "2/x/a"]
    assert len(set(short_names([Path("a.json"), Path("a.txt")]))) == 2


def test_a_file_with_the_name_of_this_machine_is_called_a_file() -> None:
    names = short_names([Path("this machine.json"), Path("a.json")], taken=["this machine"])

    assert names == ["the file this machine.json", "a"]


def test_hidden_names_are_letters_while_they_last() -> None:
    assert hidden_names(2) == ["machine A", "machine B"]
    assert folded(hidden_names(40)) == "machine1-40"


def test_ranks_are_called_by_their_host_where_all_of_it_is_meant() -> None:
    hosts = Hosts({str(rank): f"node{rank // 2}" for rank in range(8)})

    assert hosts.named(map(str, range(6))) == "node0-2"
    assert hosts.named(["6", "7"]) == "node3"
    assert hosts.named(["3"]) == "rank 3 on node1"
    assert hosts.named(["0", "1", "3", "11"]) == "node0, rank 3 on node1, rank 11"


def test_on_one_host_ranks_have_numbers() -> None:
    hosts = Hosts({str(rank): "node0" for rank in range(8)})

    assert hosts.named(["3"]) == "rank 3"
    assert hosts.named(map(str, range(7))) == "ranks 0-6"
    assert hosts.named(["1", "7", "9"]) == "ranks 1, 7, 9"


def test_hidden_hosts_are_counted() -> None:
    hosts = Hosts({str(rank): f"secret{rank // 2}" for rank in range(8)}, hidden=True)

    assert hosts.named(map(str, range(6))) == "nodes 0-2"
    assert hosts.named(["6", "7"]) == "node 3"
    assert hosts.named(["3"]) == "rank 3 on node 1"
