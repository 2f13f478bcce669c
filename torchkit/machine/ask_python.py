"""What an interpreter says about itself: version, folders, and where it would find torch.

Stand-alone: standard library of Python 3.6 and up, nothing of ours, no import of torch. We call
`describe` in our own process, and `--python` runs this file's text in another interpreter.
"""

import json
import sys


def find_torch(path: "list") -> object:  # type: ignore[type-arg]  # Python 3.6 knows no list[str]
    """Where `import torch` would go: a folder or file, asked of the import system itself."""
    from importlib.machinery import PathFinder

    for finder in sys.meta_path:
        try:
            if finder is PathFinder:
                spec = PathFinder.find_spec("torch", path)
            else:
                spec = finder.find_spec("torch", None, None)
        except Exception:  # noqa: BLE001, S112 - a stranger's import hook may raise anything
            continue
        if spec is None:
            continue
        if spec.origin and spec.origin not in ("namespace", "built-in", "frozen"):
            return spec.origin
        for folder in spec.submodule_search_locations or ():
            return folder
    return None


def describe(own_folder: object = None) -> "dict":  # type: ignore[type-arg]  # as above
    """A dictionary of plain values. `own_folder` is left out of the path: the running script's."""
    from importlib.machinery import EXTENSION_SUFFIXES

    path = [entry for entry in sys.path if entry not in ("", own_folder)]
    suffix = EXTENSION_SUFFIXES[0] if EXTENSION_SUFFIXES else ""
    return {
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "tag": suffix.split(".")[1] if suffix.count(".") >= 2 else "",
        "free_threaded": suffix.startswith(".cpython-") and suffix.split("-")[1].endswith("t"),
        "path": path,
        "torch": find_torch(path),
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(describe()) + "\n")
