"""`torchkit summary` against torchsummary, torchinfo and torch's own FLOP counter, in the same run.

    python benchmarks/summary.py [ROUNDS]

Each runs in a fresh process, by turns; reported are the least CPU time and the least peak memory,
also above what `import torch` alone takes. A tool that is not installed, or that cannot do a model,
is left out and named. The aims: a tiny CNN in at most 1.15 times torchsummary's CPU time; resnet50,
ViT-B/16 and GPT-2 in less than torchinfo's, with at most half of its memory above torch's own; a
Llama of 70 billion parameters in under 8 s of CPU and 500 MB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from env import Cost, measure

ZOO = Path(__file__).resolve().parent.parent / "tests" / "model"

MODELS = ("TinyCNN", "Resnet50", "VitB16", "Gpt2", "Llama70b")

START = f"""
import sys
sys.path[:0] = [{str(ZOO)!r}, {str(ZOO.parent.parent)!r}]
import torch, zoo
case = zoo.CASES[sys.argv[1]]
"""

TOOLS = {
    "import torch": "import torch",
    "torchkit": START
    + """
from torchkit.model.inputs import Inputs
from torchkit.model.propagate import propagate
from torchkit.commands.summary import Question, report_of

def feed(model, device):
    args, kwargs = case.inputs()
    return Inputs(args, kwargs, ())

done = propagate(case.make, feed)
report = report_of(done.record, Question("benchmark"))
assert report.totals["params"] == case.params, report.totals["params"]
assert report.totals["flops"] == case.flops, report.totals["flops"]
""",
    "torchsummary": START
    + """
from torchsummary import summary
args, _ = case.inputs()
summary(case.make().eval(), [tuple(it.shape[1:]) for it in args], device="cpu")
""",
    "torchinfo": START
    + """
from torchinfo import summary
args, kwargs = case.inputs()
with torch.no_grad():
    print(summary(case.make().eval(), input_data=list(args), verbose=0, depth=9, **kwargs))
""",
    "FlopCounterMode": START
    + """
from torch.utils.flop_counter import FlopCounterMode
args, kwargs = case.inputs()
model = case.make().eval()
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(*args, **kwargs)
print(counter.get_total_flops())
""",
}

TOO_LARGE = {
    ("torchsummary", "Llama70b"),
    ("torchinfo", "Llama70b"),
    ("FlopCounterMode", "Llama70b"),
}
"""They would make the weights: 140 GB."""


def works(tool: str, model: str) -> str | None:
    """Why the tool cannot do the model; None where it can."""
    done = subprocess.run(
        [sys.executable, "-c", TOOLS[tool], model], capture_output=True, text=True, check=False
    )
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    floor = measure([sys.executable, "-c", "import torch"])
    for model in MODELS:
        tools = []
        for tool in TOOLS:
            reason = "would make the weights" if (tool, model) in TOO_LARGE else works(tool, model)
            if reason is None:
                tools.append(tool)
            else:
                print(f"{model:<10} {tool:<16} no: {reason[:100]}")
        costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
        for _ in range(rounds):
            for tool in tools:
                costs[tool].append(measure([sys.executable, "-c", TOOLS[tool], model]))
        for tool, found in costs.items():
            cpu_s = min(it.cpu_s for it in found)
            memory = min(it.memory_bytes for it in found)
            above = max(memory - floor.memory_bytes, 0)
            print(
                f"{model:<10} {tool:<16} {cpu_s:>6.2f} s CPU {memory / 1024**2:>7.0f} MiB"
                f" {above / 1024**2:>7.0f} MiB above torch"
            )


if __name__ == "__main__":
    main()
