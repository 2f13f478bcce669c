"""torchkit: finds what does not fit between PyTorch, CUDA, compilers and a machine.

Only the version and the few names offered to Python users live here; each is loaded on first
use, so that `import torchkit` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchkit.api import explain, shm_check, summary
    from torchkit.commands.env import run as env
    from torchkit.errors import TorchkitError
    from torchkit.live_snoop import install_excepthook, snoop

__all__ = [
    "TorchkitError",
    "__version__",
    "env",
    "explain",
    "install_excepthook",
    "shm_check",
    "snoop",
    "summary",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "env":
        from torchkit.commands.env import run

        return run
    if name == "summary":
        from torchkit.api import summary

        return summary
    if name == "explain":
        from torchkit.api import explain

        return explain
    if name == "shm_check":
        from torchkit.api import shm_check

        return shm_check
    if name == "snoop":
        from torchkit.live_snoop import snoop

        return snoop
    if name == "install_excepthook":
        from torchkit.live_snoop import install_excepthook

        return install_excepthook
    if name == "TorchkitError":
        from torchkit.errors import TorchkitError

        return TorchkitError
    raise AttributeError(f"module 'torchkit' has no attribute {name!r}")
