# torchkit snoop examples/broken/chain.py
import torch


class TrainingError(Exception):
    pass


def step(queries, keys):
    return queries @ keys


def train():
    try:
        step(torch.ones(2, 5, 8), torch.ones(2, 7, 8))
    except RuntimeError as error:
        raise TrainingError("step 3 failed") from error


train()
