"""Lets `python -m torchkit` work."""

import sys


def start() -> None:
    """Run the command line. A rank 0 notes a SIGTERM from here on, before anything is loaded."""
    if "--all-ranks" in sys.argv:
        from torchkit.machine.interruption import note_early

        note_early()
    from torchkit.cli import main

    main()


if __name__ == "__main__":
    start()
