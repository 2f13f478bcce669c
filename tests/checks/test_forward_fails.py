"""Truth: what torch itself raises for these layers and inputs; the cure is tried on torch."""

from __future__ import annotations

import ast

import pytest

from torchkit.checks.forward_fails import FailedForward, judge
from torchkit.report import WOULD_FAIL_WITH, Status


def failed(**changes: object) -> FailedForward:
    given: dict[str, object] = {
        "error": "RuntimeError",
        "message": "mat1 and mat2 shapes cannot be multiplied (20x64 and 60x2)",
        "model": "Net",
        "module": "head",
        "type": "Linear",
        "sizes": (("in_features", 60), ("out_features", 2)),
        "parameters": ("weight [2, 60] float32",),
        "given": ("[20, 64] float32",),
        "given_shapes": ((20, 64),),
    }
    return FailedForward(**(given | changes))  # type: ignore[arg-type]  # checked by the tests


def test_a_linear_layer_of_another_width_is_named_with_its_cure() -> None:
    verdict = judge(failed())

    evidence = {item.name: item.value for item in verdict.evidence}
    assert verdict.status is Status.FAIL
    assert verdict.brief.startswith("head (Linear) fails: mat1 and mat2")
    assert evidence[WOULD_FAIL_WITH].startswith("RuntimeError: mat1 and mat2")
    assert evidence["given"] == "[20, 64] float32"
    assert evidence["cause"] == "its input has 64 features, it was built for 60"
    assert verdict.fix == ("Linear(64, 2)",)


def test_a_convolution_with_other_channels_is_named_with_its_cure() -> None:
    verdict = judge(
        failed(
            type="Conv2d",
            sizes=(("in_channels", 3), ("out_channels", 8)),
            given_shapes=((1, 1, 32, 32),),
        )
    )

    assert verdict.fix == ("Conv2d(1, 8, …)",)


def test_a_convolution_without_a_dimension_is_told_which_it_takes() -> None:
    verdict = judge(failed(type="Conv2d", sizes=(("in_channels", 1),), given_shapes=((28, 28),)))

    assert "takes 4: batch, channels and 2 more" in verdict.evidence[-1].value


def test_where_the_sizes_agree_no_cause_is_claimed() -> None:
    verdict = judge(failed(given_shapes=((20, 60),), message="something else"))

    assert verdict.fix == ()
    assert all(item.name != "cause" for item in verdict.evidence)


def test_an_error_of_the_model_itself_names_the_model() -> None:
    verdict = judge(
        failed(
            module="", type="Net", sizes=(), parameters=(), given_shapes=(), given=(), message="no"
        )
    )

    assert verdict.message == "Net raises RuntimeError: no"


@pytest.mark.torch
@pytest.mark.parametrize(
    ("layer", "shape", "cure"),
    [
        ("Linear(60, 2)", (20, 64), "Linear(64, 2)"),
        ("Conv2d(3, 8, 3)", (1, 1, 9, 9), "Conv2d(1, 8, …)"),
        ("BatchNorm2d(4)", (2, 3, 5, 5), "BatchNorm2d(3)"),
        ("LSTM(8, 16)", (5, 2, 7), "LSTM(7, 16)"),
    ],
)
def test_the_cure_cures_a_real_layer(layer: str, shape: tuple[int, ...], cure: str) -> None:
    torch = pytest.importorskip("torch")
    from torchkit.commands.summary import failed_forward
    from torchkit.model.recorder import record

    def made(text: str) -> object:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        return getattr(torch.nn, call.func.id)(*map(ast.literal_eval, call.args))

    broken = torch.nn.Sequential(made(layer))

    verdict = judge(failed_forward(record(broken, (torch.zeros(shape),))))

    assert verdict.fix == (cure,)
    cured = torch.nn.Sequential(made(cure.replace(", …", ", 3")))
    assert record(cured, (torch.zeros(shape),)).failure is None
