"""Which rank of how many this process is, by the variables that launchers set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from torchkit.errors import BadInput

LIMIT_S = 60.0
"""How long rank 0 waits for the others, where TORCHKIT_RANKS_TIMEOUT_S says nothing else."""

MOST_RANKS = 100_000
"""More ranks than these are a mistake in a variable."""


class Launch(NamedTuple):
    """What the launcher says. `address` is where torch.distributed's ranks meet, if it says so.

    `hosts_store`: rank 0 must open the store there, which torchrun has done otherwise. `key` is the
    same for all ranks of a run; `has_key` is False where nothing tells one run from another.
    `lacks` is the variable that init_process_group would miss, "" if none.
    """

    rank: int
    world_size: int
    is_one_host: bool
    address: tuple[str, int] | None
    hosts_store: bool
    key: str
    limit_s: float
    has_key: bool = True
    lacks: str = ""

    @property
    def has_agent(self) -> bool:
        """Whether torchrun hosts the store."""
        return self.address is not None and not self.hosts_store


_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS", ""),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
)
"""Rank, number of ranks, and ranks on this host: of torchrun, srun, Open MPI, MPICH."""

_KEYS = (
    "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT",
    "SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid",
)  # fmt: skip
"""Variables that are the same for all ranks of a run, and others in another run."""


def launch_of(environ: Mapping[str, str], *, looking_s: float = 0.0) -> Launch:
    """Which rank of how many this process is. Raises BadInput where no launcher says so.

    `looking_s` is how much longer a rank may look than rank 0 did, in seconds; it is waited for,
    too, unless TORCHKIT_RANKS_TIMEOUT_S says how long.
    """
    for rank_name, size_name, local_name in _LAUNCHERS:
        if rank_name == "SLURM_PROCID" and not environ.get("SLURM_STEP_ID"):
            continue  # sbatch sets these, too, for a script that runs once
        if environ.get(rank_name) and environ.get(size_name):
            rank = _number(environ, rank_name, 0, MOST_RANKS)
            size = _number(environ, size_name, 1, MOST_RANKS)
            if rank >= size:
                raise BadInput(
                    f"{rank_name} is {rank} and {size_name} is {size}: "
                    f"ranks go from 0 to {size - 1}",
                    hint="start it with torchrun, which sets both",
                )
            address = _address(environ)
            is_agents = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            return Launch(
                rank,
                size,
                _is_one_host(environ, size, local_name, address),
                address,
                address is not None and not is_agents,
                _key(environ, size),
                _limit_s(environ, looking_s),
                has_key=any(environ.get(name) for name in _KEYS),
                lacks=_lacks(environ, rank_name),
            )
    raise BadInput(
        "--all-ranks needs a launcher: RANK and WORLD_SIZE are not set",
        hint="torchrun --nproc-per-node 2 -m torchkit env --all-ranks",
    )


def _number(environ: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    text = environ[name].strip()
    if text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest:
        return int(text)
    raise BadInput(
        f"{name} is {environ[name]!r}, expected a number from {lowest} to {highest}",
        hint="start it with torchrun, which sets it",
    )


def _address(environ: Mapping[str, str]) -> tuple[str, int] | None:
    host = environ.get("MASTER_ADDR", "").strip()
    if not host or not environ.get("MASTER_PORT"):
        return None
    return host, _number(environ, "MASTER_PORT", 1, 65535)


def _is_one_host(
    environ: Mapping[str, str], size: int, local_name: str, address: tuple[str, int] | None
) -> bool:
    if local_name and environ.get(local_name) == str(size):
        return True
    if not local_name and environ.get("SLURM_STEP_NUM_NODES", environ.get("SLURM_NNODES")) == "1":
        return True
    host = address[0] if address else ""
    return size == 1 or host in ("localhost", "::1") or host.startswith("127.")


def _key(environ: Mapping[str, str], size: int) -> str:
    told = [f"{name}={environ.get(name, '')}" for name in _KEYS]
    return hashlib.sha256("\n".join([*told, str(size)]).encode("utf-8", "replace")).hexdigest()[:12]


def _lacks(environ: Mapping[str, str], rank_name: str) -> str:
    """Other launchers leave it to the script to set what torch looks for."""
    names = ("MASTER_ADDR", "MASTER_PORT") if rank_name == "RANK" else ()
    return next((name for name in names if name not in environ), "")


def _limit_s(environ: Mapping[str, str], looking_s: float) -> float:
    text = environ.get("TORCHKIT_RANKS_TIMEOUT_S", "")
    if not text:
        return LIMIT_S + looking_s
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if 0 < limit_s <= 24 * 3600:
        return limit_s
    raise BadInput(
        f"TORCHKIT_RANKS_TIMEOUT_S is {text!r}, expected seconds, up to a day",
        hint="export TORCHKIT_RANKS_TIMEOUT_S=60",
    )
