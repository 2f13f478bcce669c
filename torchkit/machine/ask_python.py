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
        except (Exception, SystemExit):  # noqa: BLE001, S112 - a stranger's import hook may raise anything
            continue
        if spec is None:
            continue
        if spec.origin and spec.origin not in ("namespace", "built-in", "frozen"):
            return spec.origin
        for folder in spec.submodule_search_locations or ():
            return folder
    return None


def describe(own_folder: object = None) -> "dict":  # type: ignore[type-arg]  # as above
    """A dictionary of plain values. `own_folder`, the running script's, is taken off the front of
    the path; where the path names it once more, it stays there."""
    import re
    from importlib.machinery import EXTENSION_SUFFIXES

    path = [entry for entry in sys.path if isinstance(entry, str)]
    if own_folder is not None and path[:1] == [own_folder]:
        path = path[1:]
    path = [entry for entry in path if entry != ""]
    suffix = EXTENSION_SUFFIXES[0] if EXTENSION_SUFFIXES else ""
    return {
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "executable": sys.executable or "",
        "prefix": sys.prefix,
        "tag": suffix.split(".")[1] if suffix.count(".") >= 2 else "",
        "free_threaded": bool(re.match(r"\.cp(ython-)?3\d+d?td?[-.]", suffix)),
        "path": path,
        "torch": find_torch(path),
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(describe()) + "\n")
