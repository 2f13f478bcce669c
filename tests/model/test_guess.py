"""Inputs worked out from the first layers run, are told, and leave the model as it was."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - after torch is known to be there

from torchkit.errors import BadInput  # noqa: E402
from torchkit.model.guess import channels_of, guess_inputs, guesses, no_guess  # noqa: E402
from torchkit.model.inputs import make_inputs, parse  # noqa: E402

pytestmark = pytest.mark.torch


def convolutional(last: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(last, 10),
    )  # fmt: skip


class HeadFirst(nn.Module):
    """Registered in another order than run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 2)
        self.body = nn.Conv2d(3, 8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x).mean((2, 3)))


class Attention(nn.Module):
    """Wants [N, T, C] and says so only by failing."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(12, 36)

    def forward(self, x: Any) -> Any:
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, c).unbind(2)
        return (q @ k.transpose(1, 2)).softmax(-1) @ v


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = nn.Embedding(50, 8)
        self.image_encoder = nn.Conv2d(3, 8, 4)

    def forward(self, image: Any, text: Any) -> Any:
        return self.image_encoder(image).mean((2, 3)) @ self.text_encoder(text).mean(1).T


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.steps = nn.Embedding(1000, 4)

    def forward(self, x: Any, t: Any) -> Any:
        return self.conv(x) + self.steps(t)[:, :, None, None]


@pytest.mark.parametrize(
    ("model", "texts", "how"),
    [
        (nn.Conv2d(3, 4, 3), ["[2, 3, 224, 224] float32"], "the size 224 is a guess"),
        (convolutional(400), ["[2, 1, 32, 32] float32"], "the size 32 by 7"),
        (convolutional(256), ["[2, 1, 28, 28] float32"], "the size 28 by 7"),
        (nn.Sequential(nn.Conv1d(2, 4, 9, stride=4), nn.Flatten(), nn.Linear(4 * 100, 1)),
         ["[2, 2, 405] float32"], "by 2"),
        (nn.Conv3d(1, 2, 3), ["[2, 1, 32, 32, 32] float32"], "Conv3d"),
        (nn.ConvTranspose2d(100, 8, 4), ["[2, 100, 1, 1] float32"], "100 channels"),
        (nn.Sequential(nn.BatchNorm2d(5)), ["[2, 5, 224, 224] float32"], "BatchNorm2d"),
        (nn.Sequential(nn.Linear(10, 3)), ["[2, 10] float32"], "0 (Linear) takes 10 features"),
        (nn.Sequential(nn.Unflatten(1, (4,)), nn.Linear(4, 3)), ["[2, 4] float32"], "1 (Linear)"),
        (Attention(), ["[2, 16, 12] float32"], "the length 16 is a guess"),
        (nn.Embedding(30, 4), ["[2, 16] int64"], "ids below 30"),
        (nn.LSTM(6, 4, batch_first=True), ["[2, 16, 6] float32"], "6 features"),
        (nn.GRU(6, 4), ["[16, 2, 6] float32"], "6 features"),
        (nn.LSTMCell(6, 4), ["[2, 6] float32"], "6 features"),
        (nn.TransformerEncoderLayer(8, 2, batch_first=True), ["[2, 16, 8] float32"], "8 features"),
        (nn.Transformer(8, 2, 1, 1, 8, batch_first=True),
         ["src=[2, 16, 8] float32", "tgt=[2, 16, 8] float32"], "d_model 8"),
        (nn.Bilinear(3, 4, 5), ["input1=[2, 3] float32", "input2=[2, 4] float32"], "in2_features"),
        (HeadFirst(), ["[2, 3, 224, 224] float32"], "body (Conv2d)"),
        (Towers(), ["image=[2, 3, 224, 224] float32", "text=[2, 16] int64"], "image_encoder"),
        (Denoiser(), ["x=[2, 4, 224, 224] float32", "t=[2] int64"], "a time step, by its name"),
        (nn.Sequential(nn.Linear(4, 4)).double(), ["[2, 4] float64"], "Linear"),
        (nn.Sequential(nn.Linear(4, 4)).to(torch.bfloat16), ["[2, 4] bfloat16"], "Linear"),
    ],
)  # fmt: skip
def test_the_input_is_worked_out_runs_and_is_told(
    model: nn.Module, texts: list[str], how: str
) -> None:
    inputs = guess_inputs(model, batch_size=2)

    assert list(inputs.texts) == texts
    assert how in inputs.guessed
    model.eval()(*inputs.args, **inputs.kwargs)  # raises where the guess is wrong


def test_parameters_without_memory_are_enough() -> None:
    with torch.device("meta"):
        model = convolutional(400)

    inputs = next(guesses(model, device="meta"))

    assert inputs.texts == ("[1, 1, 32, 32] float32",)
    assert inputs.args[0].is_meta


def test_the_authors_own_example_goes_before_all() -> None:
    model = nn.Linear(4, 4)
    model.example_input_array = torch.zeros(3, 7, 4)

    assert guess_inputs(model).texts == ("[3, 7, 4] float32",)


def test_the_size_of_timms_configuration_is_taken() -> None:
    model = nn.Conv2d(3, 4, 3)
    model.default_cfg = {"input_size": (3, 299, 299)}

    assert guess_inputs(model).texts == ("[1, 3, 299, 299] float32",)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("bert", ["input_ids=[1, 16] int64"]),
        ("t5", ["input_ids=[1, 16] int64", "decoder_input_ids=[1, 16] int64"]),
        ("vit", ["pixel_values=[1, 3, 32, 32] float32"]),
        ("clip", ["pixel_values=[1, 3, 32, 32] float32", "input_ids=[1, 16] int64"]),
        ("whisper", ["input_features=[1, 80, 3000] float32", "decoder_input_ids=[1, 16] int64"]),
    ],
)
def test_transformers_models_say_it_by_their_configuration(name: str, texts: list[str]) -> None:
    transformers = pytest.importorskip("transformers")
    small: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    model: Any
    if name == "bert":
        model = transformers.BertModel(transformers.BertConfig(vocab_size=40, **small))
    elif name == "t5":
        model = transformers.T5Model(
            transformers.T5Config(
                vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2
            )
        )
    elif name == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(image_size=32, **small))
    elif name == "clip":
        vision, text = {"image_size": 32, "patch_size": 16, **small}, {"vocab_size": 40, **small}
        model = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision)
        )
    else:
        model = transformers.WhisperModel(
            transformers.WhisperConfig(
                vocab_size=60000,
                d_model=16,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
            )
        )

    inputs = guess_inputs(model)

    assert list(inputs.texts) == texts
    model.eval()(**inputs.kwargs)


class Takes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 3)


class TakesLengths(Takes):
    def forward(self, x: Any, lengths: Any) -> Any:
        return self.line(x) / lengths


class TakesDict(Takes):
    def forward(self, batch: dict[str, Any]) -> Any:
        return self.line(batch["x"])


class NoLayers(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1


@pytest.mark.parametrize("model", [TakesLengths(), TakesDict(), NoLayers()])
def test_what_cannot_be_worked_out_is_refused_with_the_advice(model: nn.Module) -> None:
    with pytest.raises(BadInput, match="cannot be worked out") as raised:
        guess_inputs(model)

    assert "forward takes (" in raised.value.message
    assert "--input" in raised.value.hint


def test_a_model_that_no_guess_runs_in_is_refused_with_what_was_tried() -> None:
    with pytest.raises(BadInput) as raised:
        guess_inputs(convolutional(1601))

    assert "[1, 1, 224, 224] float32 (mat1 and mat2" in raised.value.message
    assert "--input 1,224,224" in raised.value.hint


def test_a_linear_behind_a_convolution_is_no_entrance() -> None:
    """A batch of its features would run as a picture without a batch."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(1600, 10)
    )

    assert all(it.args[0].ndim == 4 for it in guesses(model))


def test_trying_leaves_model_and_random_numbers_as_they_were() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.Dropout(), nn.AdaptiveAvgPool2d(1)
    )
    model[1].eval()
    flags = [it.training for it in model.modules()]
    state = {name: it.clone() for name, it in model.state_dict().items()}
    torch.manual_seed(3)
    before = torch.random.get_rng_state()

    guess_inputs(model)

    assert [it.training for it in model.modules()] == flags
    assert all(torch.equal(it, state[name]) for name, it in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_lazy_model_stays_lazy() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))

    inputs = guess_inputs(model)

    assert inputs.texts == ("[1, 3, 224, 224] float32",)
    assert isinstance(model[0], nn.LazyConv2d)


def test_the_only_input_may_be_one_that_has_a_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(3, 3)

        def forward(self, *, silent: Any) -> Any:
            return self.line(silent)

    assert guess_inputs(Named()).texts == ("silent=[1, 3] float32",)


def test_without_batch_and_with_a_dtype() -> None:
    inputs = guess_inputs(nn.Linear(4, 2).half(), no_batch=True, dtype="float16")

    assert inputs.texts == ("[4] float16",)


def test_what_forward_prints_while_tried_is_not_on_stdout(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = convolutional(400)
    model.register_forward_pre_hook(lambda *_: print("tried"))  # noqa: T201 - as users do

    guess_inputs(model)

    assert capfd.readouterr().out == ""


def test_the_channels_of_a_picture_are_read_off_the_first_convolution() -> None:
    assert channels_of(convolutional(400)) == 1
    assert channels_of(HeadFirst()) == 3
    assert channels_of(nn.Linear(3, 3)) is None


def test_the_advice_names_every_input_that_is_needed() -> None:
    assert "--input x=SHAPE:DTYPE --input lengths=SHAPE:DTYPE" in no_guess(TakesLengths()).hint


class Said(nn.Module):
    """Says what picture it takes; runs on others too."""

    def __init__(self, **said: Any) -> None:
        super().__init__()
        self.__dict__.update(said)
        self.lstm = nn.LSTM(50, 50)
        self.conv = nn.Conv2d(3, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.pool(self.conv(x)).flatten(1))


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        ({"image_size": 48}, (48, 48)),
        ({"img_size": (48, 96)}, (48, 96)),
        ({"input_size": [3, 48, 96]}, (48, 96)),
        ({"input_size": 2}, (224, 224)),
        ({"image_size": "large"}, (224, 224)),
        ({}, (224, 224)),
    ],
)
def test_the_size_that_a_model_says_is_taken(said: dict[str, Any], sizes: tuple[int, int]) -> None:
    found = guess_inputs(Said(**said))

    assert found.args[0].shape == (1, 3, *sizes)
    assert ("the model has" in found.guessed) == (sizes != (224, 224))


def test_what_the_layers_ask_for_goes_before_what_a_model_says() -> None:
    model = convolutional(16 * 5 * 5)
    model.image_size = 90

    assert guess_inputs(model).args[0].shape == (1, 1, 32, 32)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: list[torch.Tensor], targets: Any = None) -> Any:
        assert targets is None
        return [{"boxes": self.conv(image[None])} for image in images]


def test_a_list_of_pictures_is_guessed_by_its_annotation() -> None:
    found = guess_inputs(Detector(), batch_size=2)

    assert [it.shape for it in found.kwargs["images"]] == [(3, 224, 224)] * 2
    assert 0 <= found.kwargs["images"][0].min() <= found.kwargs["images"][0].max() <= 1


def test_the_advice_on_a_list_of_pictures_is_one_that_works(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = no_guess(Detector()).hint
    torch.save([torch.rand(3, 224, 224)], "list.pt")
    assert "torch.save([torch.rand(3, 224, 224)], 'list.pt')" in hint

    given = make_inputs([parse(hint.rpartition("--input ")[2])])

    assert len(Detector()(*given.args, **given.kwargs)) == 1
