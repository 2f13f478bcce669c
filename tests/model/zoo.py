"""Models with their truth written by hand: parameters, and FLOPs with a multiply-add as 2.

No number here comes from a tool. Where a count is published (GPT-2, ViT-B/16, resnet50,
Llama-2-70B) the published number stands. Products count; biases, norms, activations do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Case(NamedTuple):
    """A model, what it is fed, its truth, and how it is to be run: real, fake or either."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
    params: int
    flops: int
    needs_values: bool = False
    train: bool = False


CASES: dict[str, Case] = {}


def case(
    params: int,
    flops: int,
    *inputs: Any,
    needs_values: bool = False,
    train: bool = False,
    **named: Any,
) -> Callable[[Any], Any]:
    """Register a class or factory; an input given as a tuple is the shape of a float tensor."""

    def register(make: Any) -> Any:
        def fed() -> tuple[tuple[Any, ...], dict[str, Any]]:
            return tuple(_made(it) for it in inputs), {k: _made(v) for k, v in named.items()}

        CASES[make.__name__] = Case(make, fed, params, flops, needs_values, train)
        return make

    return register


def _made(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(it, int) for it in value):
        return torch.randn(value, generator=torch.Generator().manual_seed(0))
    return value() if callable(value) else value


def ids(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=torch.int64)


# --- convolutions


@case(16 * 1 * 9 + 16 + 16 * 2 + 32 * 16 * 9 + 32 + 10 * 32 + 10,
      2 * (2 * 28 * 28 * 16 * 9 + 2 * 14 * 14 * 32 * 16 * 9 + 2 * 10 * 32), (2, 1, 28, 28))  # fmt: skip
class TinyCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv1(x))), 2)
        return self.fc(F.relu(self.conv2(x)).mean((2, 3)))


@case(16 * 9 + 16 + 32 + 32 * 16 * 9 + 32 + 330,
      2 * (4 * 28 * 28 * 16 * 9 + 4 * 14 * 14 * 32 * 16 * 9 + 4 * 10 * 32), (4, 1, 28, 28), train=True)  # fmt: skip
class TinyCNNTraining(TinyCNN):
    pass


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


@case(
    3 * 8 * 9 + 8 + 3 * (2 * 8 * 8 * 9 + 2 * 16),
    2 * 16 * 16 * (3 * 8 * 9 + 3 * 2 * 8 * 8 * 9),
    (1, 3, 16, 16),
)
class SkipNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(8) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


@case((8 * 1 * 9 + 8) + (16 * 8 * 9 + 16) + (16 * 8 * 4 + 8) + (8 * 16 * 9 + 8) + (2 * 8 + 2),
      2 * (32 * 32 * 8 * 9 + 16 * 16 * 16 * 8 * 9 + 16 * 16 * 16 * 8 * 4 + 32 * 32 * 8 * 16 * 9 + 32 * 32 * 2 * 8),
      (1, 1, 32, 32))  # fmt: skip
class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.bottom = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        x = self.up(F.relu(self.bottom(F.max_pool2d(skip, 2))))
        return self.head(F.relu(self.merge(torch.cat([x, skip], 1))))


@case((8 * 1 * 9 + 8) + (16 * 8 + 16), 2 * (14 * 14 * 8 * 9 + 14 * 14 * 16 * 8), (1, 8, 16, 16))
class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Conv2d(8, 8, 3, groups=8)
        self.point = nn.Conv2d(8, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(self.depth(x))


@case(12 * 2 * 25, 2 * 3 * 6 * 6 * 12 * 2 * 25, (3, 8, 15, 15))
class GroupedStrided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 12, 5, stride=2, groups=4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@case(4 * 3 * 9 + 4, 2 * 12 * 12 * 4 * 3 * 9, (1, 3, 16, 16))
class Dilated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@case(6 * 4 * 3 + 6, 2 * 2 * 30 * 6 * 4 * 3, (2, 4, 32))
class Conv1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@case(4 * 2 * 27 + 4, 2 * 6 * 6 * 6 * 4 * 2 * 27, (1, 2, 8, 8, 8))
class Conv3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@case(6 * 2 * 16 + 4, 2 * 2 * 5 * 5 * 6 * 2 * 16, (2, 6, 5, 5))
class TransposedGrouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(6, 4, 4, stride=2, groups=2, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


# --- recurrence: an LSTM has four gates, a GRU three, a plain RNN one


@case(2 * (4 * 16 * (8 + 16) + 2 * 4 * 16) + 2 * (4 * 16 * (32 + 16) + 2 * 4 * 16),
      2 * 5 * 3 * (2 * 4 * 16 * (8 + 16) + 2 * 4 * 16 * (32 + 16)), (3, 5, 8))  # fmt: skip
class BiLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.lstm(x)


@case(3 * 16 * (8 + 16) + 2 * 3 * 16, 2 * 5 * 3 * 3 * 16 * (8 + 16), (5, 3, 8))
class GRU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


@case(16 * (8 + 16) + 2 * 16, 2 * 5 * 3 * 16 * (8 + 16), (5, 3, 8))
class RNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@case(4 * 16 * (8 + 4) + 2 * 4 * 16 + 4 * 16, 2 * 5 * 3 * (4 * 16 * (8 + 4) + 4 * 16), (5, 3, 8))
class ProjectedLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, proj_size=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


@case(4 * 16 * (8 + 16) + 8 * 16 + 3 * 16 * (16 + 16) + 6 * 16,
      2 * 2 * 4 * (4 * 16 * (8 + 16) + 3 * 16 * (16 + 16)), (4, 2, 8))  # fmt: skip
class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(8, 16)
        self.gru = nn.GRUCell(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = c = g = x.new_zeros(x.shape[1], 16)
        for step in x:
            h, c = self.lstm(step, (h, c))
            g = self.gru(h, g)
        return g


def packed() -> PackedSequence:
    return pack_padded_sequence(torch.randn(5, 3, 8), torch.tensor([5, 3, 2]))


@case(4 * 16 * (8 + 16) + 8 * 16, 2 * (5 + 3 + 2) * 4 * 16 * (8 + 16), packed, needs_values=True)
class PackedInPackedOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16)

    def forward(self, x: PackedSequence) -> PackedSequence:
        return self.lstm(x)[0]


@case(3 * 16 * (8 + 16) + 6 * 16, 2 * (5 + 4) * 3 * 16 * (8 + 16), (5, 2, 8), needs_values=True)
class PacksItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.gru(pack_padded_sequence(x, torch.tensor([5, 4])))
        return pad_packed_sequence(outputs)[0]


# --- embeddings


@case(100 * 8 + 8 * 4 + 4, 2 * 2 * 6 * 8 * 4, ids(2, 6))
class Embeds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.embed(x))


@case(50 * 8 + 8 * 4 + 4, 2 * 2 * 8 * 4, ids(10), lambda: torch.tensor([0, 4]))
class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(50, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        return self.fc(self.bag(x, offsets))


@case(100 * 16, 2 * 2 * 6 * 16 * 100, ids(2, 6))
class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.head = nn.Linear(16, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


# --- attention. MHA of width d on t tokens: 4 d^2 t for the projections, 2 t^2 d for the rest


@case(4 * 32 * 32 + 4 * 32, 2 * 2 * (4 * 10 * 32 * 32 + 2 * 10 * 10 * 32), (2, 10, 32))
class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


ENCODER = 4 * 32 * 32 + 4 * 32 + 2 * 32 * 64 + 64 + 32 + 4 * 32
ENCODER_FLOPS = 2 * (4 * 10 * 32 * 32 + 2 * 10 * 10 * 32 + 2 * 10 * 32 * 64)


@case(2 * ENCODER, 2 * 2 * ENCODER_FLOPS, (2, 10, 32))
class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


@case(2 * ENCODER, 2 * 2 * ENCODER_FLOPS, (2, 10, 32), train=True)
class EncoderTraining(Encoder):
    pass


@case(ENCODER + 4 * 32 * 32 + 4 * 32 + 2 * 32,
      2 * (4 * 7 * 32 * 32 + 2 * 7 * 7 * 32) + 2 * (2 * 7 * 32 * 32 + 2 * 10 * 32 * 32 + 2 * 7 * 10 * 32)
      + 2 * 2 * 7 * 32 * 64, (1, 7, 32), (1, 10, 32))  # fmt: skip
class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 1)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.decoder(x, memory)


@case(0, 2 * 2 * 4 * 10 * 10 * (8 + 8), (2, 4, 10, 8))
class Causal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)


def repeated(x: Tensor, times: int) -> Tensor:
    """Each head so often, as models with fewer heads in key and value do it."""
    b, h, t, d = x.shape
    return x[:, :, None].expand(b, h, times, t, d).reshape(b, h * times, t, d)


@case(
    32 * 32 + 2 * 32 * 16 + 32 * 32,
    2 * 10 * (32 * 32 + 2 * 32 * 16 + 32 * 32) + 2 * 4 * 10 * 10 * 16,
    (1, 10, 32),
)
class GroupedQueries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(32, 32, bias=False)
        self.kv = nn.Linear(32, 32, bias=False)
        self.out = nn.Linear(32, 32, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(1, 10, 4, 8).transpose(1, 2)
        k, v = self.kv(x).view(1, 10, 2, 2, 8).permute(2, 0, 3, 1, 4)
        k, v = repeated(k, 2), repeated(v, 2)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 10, 32))


# --- products


@case(0, 2 * 2 * 5 * 7 * 6, (2, 5, 6), (2, 6, 7))
class Bmm(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y)


@case(6 * 7, 2 * 2 * 5 * 6 * 7, (2, 5, 6))
class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 7))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bti,io->bto", x, self.weight)


@case(5 * 6 + 6, 2 * 5 * 6 + 2 * 6, (5,))
class MatrixVectorDot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 5))
        self.readout = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.dot(torch.mv(self.weight, x), self.readout)


@case(6 * 4, 2 * 3 * 4, (6, 1))
class SparseProduct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.tensor([[0, 1, 2], [0, 3, 5]])
        matrix = torch.sparse_coo_tensor(places, torch.ones(3), (5, 6))
        return torch.sparse.mm(matrix, self.weight) + x.sum()


@case(8 * 4 + 4, 2 * 2 * 3 * 5 * 8 * 4, (2, 3, 5, 8))
class LinearOn4d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


@case(4 * 8 * 2, 2 * 3 * 4 * 8, (3, 8))
class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.fft(x) @ torch.view_as_complex(self.weight).T)


# --- parameters in every place


@case(8 * 8 + 8, 3 * 2 * 4 * 8 * 8, (4, 8))
class CalledThreeTimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.fc(self.fc(x)))


@case(8 * 8 + 8, 2 * 2 * 4 * 8 * 8, (4, 8))
class SharedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@case(10 * 8 + 8, 3 * 2 * 8 * 8 + 2 * 8, (1, 8))
class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.out = nn.Linear(8, 1, bias=False)
        self.extra = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return self(self.fc(x) * self.extra, depth - 1) if depth else self.out(x)


@case(3 * 4 * 4 + 2 * 4, 3 * 2 * 2 * 4 * 4, (2, 4))
class ListsAndDicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.eye(4) for _ in range(3)])
        self.scales = nn.ParameterDict({"a": torch.ones(4), "b": torch.ones(4)})

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = x @ weight
        return x * self.scales["a"] + self.scales["b"]


@case(8 * 8 + 8 + 8 * 2 + 2, 2 * 3 * (8 * 8 + 8 * 2), (3, 8))
class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8).requires_grad_(requires_grad=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


@case(4 + 4 * 8 + 4, 2 * 3 * 8 * 4, (3, 8))
class Parametrized(nn.Module):
    """The rows of a weight, each scaled by a number that is learned too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        parametrize.register_parametrization(self.fc, "weight", Scaled())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


@case(0, 0, (2, 3))
class NoParameters(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).sum(1)


@case(8 * 8 + 8, 2 * 3 * 8 * 8, (3, 8))
class DirectForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.forward(x)


# --- what comes out, what goes in


@dataclass
class Answer:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    loss: Tensor | None = None


@case(8 * 4 + 4, 2 * 3 * 8 * 4, (3, 8))
class Dataclass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Answer:
        return Answer(self.fc(x), (x,))


@case(8 * 4 + 4, 2 * 3 * 8 * 4, (3, 8))
class DictAndNone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"logits": self.fc(x), "cache": [None, (x, x)], "text": "none"}


@case(50 * 8 + 8 * 50 + 50, 2 * 2 * 6 * 8 * 50, ids=ids(2, 6), mask=(2, 6))
class KeywordsOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50)

    def forward(self, *, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.embed(ids)
        return self.head(hidden if mask is None else hidden * mask[..., None])


@case(8 * 4 + 4, 2 * 3 * 8 * 4, lambda: torch.zeros(3, 8, dtype=torch.bfloat16))
class HalfPrecision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


# --- what shapes alone do not tell


@case(4 * 8 + 3 * (8 * 8 + 8), 2 * 5 * 8 * 4 + 2 * 5 * 8 * 8, (5, 8), needs_values=True)
class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4, bias=False)
        self.experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.router(x).argmax(1) % 3
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = torch.where(chosen == number)[0]
            if rows.numel():
                result[rows] = expert(x[rows])
        return result


@case(8 * 8, 3 * 2 * 2 * 8 * 8, (2, 8), needs_values=True)
class WhileLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.zeros(())
        while steps < 3:
            x = x @ self.weight
            steps = steps + 1
        return x


@case(
    4 * 2 + 2, 2 * 3 * 4 * 2, lambda: torch.tensor([[1.0] * 4, [-1.0] * 4] * 3), needs_values=True
)
class BooleanMask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x[x[:, 0] > 0])


@case(4 * 4 + 4, 2 * 4 * 4 * 4, lambda: torch.ones(4, 4), needs_values=True)
class ReadsItem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)[: int(x.sum().item()) // 8]


@case(4 * 4 + 4, 2 * 3 * 4 * 4, (3, 4), needs_values=True)
class ThroughNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.fc(x).detach().numpy() + 1)


@case(9 * 8 + 8 + 8 * 4 + 4, 2 * 3 * (9 * 8 + 8 * 4), (3, 9), needs_values=True)
class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.LazyLinear(8)
        self.fc2 = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


@case(6 * 8 + 8, 2 * 3 * 6 * 8, (3, 6), needs_values=True)
class BuiltByTheFirstForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.fc is None:
            self.fc = nn.Linear(x.shape[1], 8)
        return self.fc(x)


@case(8 * 4 + 4, 2 * 3 * 8 * 4 + 2 * 3 * 8 * 4, (3, 8))
class InnerGradient(nn.Module):
    """Forward, and the gradient with respect to the input: one more product of the same size."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.fc(x).tanh().sum()
            return torch.autograd.grad(energy, x)[0]


@case(8 * 4 + 4, 2 * 3 * 8 * 4, (3, 8), needs_values=True)
def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))


@case(8 * 16 + 16 + 16 * 4 + 4, 2 * 3 * (8 * 16 + 16 * 4), (3, 8), needs_values=True)
def quantised() -> nn.Module:
    plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    return torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)


# --- well known, in a few lines


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + skip)


@case(25_557_032, 2 * 4_089_184_256, (1, 3, 224, 224))
class Resnet50(nn.Module):
    """25,557,032 parameters and 4.09 GMACs, as published with torchvision's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs, stages = 64, []
        for number, blocks in enumerate((3, 4, 6, 3)):
            width, stage = 64 << number, []
            for block in range(blocks):
                stage.append(Bottleneck(inputs, width, 2 if number and not block else 1))
                inputs = 4 * width
            stages.append(nn.Sequential(*stage))
        self.layers = nn.Sequential(*stages)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class ViTBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


VIT_MACS = 196 * 768 * 768 + 12 * (12 * 197 * 768 * 768 + 2 * 197 * 197 * 768) + 768 * 1000


@case(86_567_656, 2 * VIT_MACS, (1, 3, 224, 224))
class VitB16(nn.Module):
    """86,567,656 parameters as published with torchvision's weights; 17.56 GMACs."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 768))
        self.positions = nn.Parameter(torch.randn(1, 197, 768) * 0.02)
        self.blocks = nn.Sequential(*(ViTBlock(768, 12) for _ in range(12)))
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class GPTBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.attn(self.ln_1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.proj(y.transpose(1, 2).reshape(b, t, c)))
        return x + self.drop(self.down(F.gelu(self.up(self.ln_2(x)))))


GPT2_MACS = 12 * (12 * 1024 * 768 * 768 + 2 * 1024 * 1024 * 768) + 1024 * 768 * 50257


@case(124_439_808, 2 * GPT2_MACS, ids(1, 1024))
class Gpt2(nn.Module):
    """124,439,808 parameters, as published for the smallest GPT-2; its head is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.h = nn.ModuleList([GPTBlock(768, 12) for _ in range(12)])
        self.ln_f = nn.LayerNorm(768)
        self.lm_head = nn.Linear(768, 50257, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class LlamaBlock(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.norm_1, self.norm_2 = RMSNorm(width), RMSNorm(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, _ = x.shape
        y = self.norm_1(x)
        q = _turned(self.q_proj(y).view(b, t, self.heads, self.size).transpose(1, 2), cos, sin)
        k = _turned(self.k_proj(y).view(b, t, self.kv_heads, self.size).transpose(1, 2), cos, sin)
        v = self.v_proj(y).view(b, t, self.kv_heads, self.size).transpose(1, 2)
        k, v = (repeated(it, self.heads // self.kv_heads) for it in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o_proj(y.transpose(1, 2).reshape(b, t, -1))
        y = self.norm_2(x)
        return x + self.down_proj(F.silu(self.gate_proj(y)) * self.up_proj(y))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Llama(nn.Module):
    def __init__(self, *, layers: int, width: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(32000, width)
        self.layers = nn.ModuleList(
            [LlamaBlock(width, heads, kv_heads, hidden) for _ in range(layers)]
        )
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, 32000, bias=False)
        frequencies = 1 / 10000 ** (torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        angles = torch.arange(ids.shape[1], device=ids.device)[:, None] * self.frequencies
        cos, sin = (torch.cat([it, it], -1) for it in (angles.cos(), angles.sin()))
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))


def llama_macs(t: int, layers: int, width: int, kv: int, hidden: int) -> int:
    """Of `kv` values in each key; attention counted dense, each head on its own keys."""
    block = t * (2 * width * width + 2 * width * kv + 3 * width * hidden) + 2 * t * t * width
    return layers * block + t * width * 32000


@case(68_976_648_192, 2 * llama_macs(128, 80, 8192, 1024, 28672), ids(1, 128))
def Llama70b() -> nn.Module:  # noqa: N802 - reads as a model's name
    """Shaped as Llama-2-70B: 68,976,648,192 parameters."""
    return Llama(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)


@case(2 * 32000 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64) + 64,
      2 * llama_macs(16, 2, 64, 32, 128), ids(1, 16))  # fmt: skip
def SmallLlama() -> nn.Module:  # noqa: N802 - same
    return Llama(layers=2, width=64, heads=4, kv_heads=2, hidden=128)


SMALL = [name for name in CASES if name not in ("Llama70b", "Gpt2", "VitB16", "Resnet50")]
assert math.isclose(VIT_MACS, 17.56e9, rel_tol=1e-3)
