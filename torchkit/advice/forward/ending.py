"""Forward ends the program: `sys.exit()` is no exception that is caught on the way."""

from __future__ import annotations

from torchkit.advice.forward.facts import Explanation, Trouble


def explain(trouble: Trouble) -> Explanation | None:
    if trouble.error != "SystemExit":
        return None
    status = trouble.message or "None"
    return Explanation(
        "exits",
        f"it ends the program with sys.exit({status})",
        "sys.exit() in forward ends whatever calls the model; an exception says what is wrong",
    )
