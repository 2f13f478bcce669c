"""Lets `python -m torchkit` work."""

from torchkit.cli import main

if __name__ == "__main__":
    main()
