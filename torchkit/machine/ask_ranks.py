"""Hands one rank's answer to rank 0 through the store of torch.distributed, as a child of a rank.

Stand-alone: standard library and torch, nothing of ours. `machine/ranks.py` runs this file's text
with one argument, a JSON object. Only the store is used, over which gloo's ranks meet, too: a
process group forms when all ranks have come, and here some may never come.

What it writes on stdout, a line each: `MARK ready` and `MARK imported`, then `MARK done` or
`MARK failed REASON`. What it imports itself is never a file of the current folder that has the
name of one of Python's; what torch imports may be, as in a script that lies there.
"""

import sys

PATH = list(sys.path)
sys.path[:] = PATH[1:] if PATH[:1] == [""] else PATH

import contextlib  # noqa: E402 - the path comes first, here and below
import datetime  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

sys.path[:] = PATH

MARK = "torchkit-ranks:"
READY = "ready"
PAUSE_S = 0.05


def say(text: str) -> None:
    """A line for our parent, whatever torch printed before it."""
    sys.stdout.write(f"\n{MARK} {text}\n")
    sys.stdout.flush()


def watch(folder: str, parent: int) -> None:
    """Ends this process when our parent says so, or is gone: then its folder goes, too."""
    stop = os.path.join(folder, "stop")  # noqa: PTH118 - as cheap as can be
    while not os.path.exists(stop) and os.getppid() == parent:  # noqa: PTH110 - as above
        time.sleep(PAUSE_S)
    if os.getppid() != parent:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208 - as above
                os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118 - as above
            os.rmdir(folder)  # noqa: PTH106 - as above
    os._exit(0)


def main() -> None:
    """One rank's part, within its limit: a torch that hangs is ended by the kernel."""
    asked = json.loads(sys.argv[1])
    with contextlib.suppress(AttributeError):  # Windows
        signal.alarm(int(asked["limit_s"]) + 1)
    with open(os.path.join(asked["folder"], "pid"), "w") as file:  # noqa: PTH118, PTH123 - as above
        file.write(str(os.getpid()))
    threading.Thread(target=watch, args=(asked["folder"], os.getppid()), daemon=True).start()
    say(READY)
    try:
        distributed = importlib.import_module("torch.distributed")
    except BaseException as error:  # noqa: BLE001 - a broken torch may raise anything
        say(f"failed importing torch: {type(error).__name__}: {error}".splitlines()[0])
        os._exit(1)
    say("imported")
    with open(os.path.join(asked["folder"], "imported"), "w"):  # noqa: PTH118, PTH123 - as above
        pass
    deadline = time.monotonic() + asked["limit_s"]
    limit = datetime.timedelta(seconds=asked["limit_s"])
    try:
        store = distributed.TCPStore(
            asked["host"],
            asked["port"],
            None,
            asked["hosts_store"],
            timeout=limit,
            wait_for_workers=False,
        )
        with open(os.path.join(asked["folder"], "met"), "w"):  # noqa: PTH118, PTH123 - as above
            pass
        (collect if asked["rank"] == 0 else hand_in)(store, asked, deadline)
    except Exception as error:  # noqa: BLE001 - the store's errors are of several types
        say(f"failed {type(error).__name__}: {error}".splitlines()[0])
        os._exit(1)
    say("done")
    os._exit(0)


def hand_in(store: object, asked: dict, deadline: float) -> None:  # type: ignore[type-arg]
    """Our answer into the store, then wait until rank 0 has it: the store may be its own."""
    with open(asked["answer"], "rb") as file:  # noqa: PTH123 - as cheap as can be
        store.set(f"{asked['prefix']}/{asked['rank']}", file.read())  # type: ignore[attr-defined]
    taken = f"{asked['prefix']}/{asked['rank']}/taken"
    while time.monotonic() < deadline:
        try:
            if store.check([taken]):  # type: ignore[attr-defined]
                return
        except Exception:  # noqa: BLE001 - rank 0 has gone, and the store with it
            return
        time.sleep(PAUSE_S)


def collect(store: object, asked: dict, deadline: float) -> None:  # type: ignore[type-arg]
    """Every rank's answer out of the store into the folder, as a file of its own."""
    missing = set(range(1, asked["world_size"]))
    while missing and time.monotonic() < deadline:
        for rank in sorted(missing):
            key = f"{asked['prefix']}/{rank}"
            if not store.check([key]):  # type: ignore[attr-defined]
                continue
            place = os.path.join(asked["folder"], f"rank-{rank}.json")  # noqa: PTH118 - as above
            with open(f"{place}.part", "wb") as file:  # noqa: PTH123 - as above
                file.write(store.get(key))  # type: ignore[attr-defined]
            os.replace(f"{place}.part", place)  # noqa: PTH105 - as above
            store.set(f"{key}/taken", "1")  # type: ignore[attr-defined]
            missing.discard(rank)
        time.sleep(PAUSE_S)
    if asked["hosts_store"]:
        time.sleep(10 * PAUSE_S)  # the others see that their answer was taken


if __name__ == "__main__":
    main()
