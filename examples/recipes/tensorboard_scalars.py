"""python examples/recipes/tensorboard_scalars.py

Losses for TensorBoard, by a SummaryWriter that is closed whatever happens.

It takes one more package: pip install tensorboard
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

with (
    TemporaryDirectory() as folder
):  # in a training: "runs/first", then `tensorboard --logdir runs`
    # What is written waits in a queue: without close() the last points may be lost. `with` closes.
    with SummaryWriter(folder) as writer:
        for step in range(5):
            writer.add_scalar("loss/train", 1 / (step + 1), step)
            writer.add_scalar("loss/test", 1.5 / (step + 1), step)

    print("files", len(list(Path(folder).glob("events.out.tfevents.*"))))

    # Read back, as TensorBoard reads it. The part before "/" puts the two into one group.
    events = EventAccumulator(folder)
    events.Reload()
    for tag in sorted(events.Tags()["scalars"]):
        print(tag, [(it.step, round(it.value, 2)) for it in events.Scalars(tag)])
        assert len(events.Scalars(tag)) == 5
