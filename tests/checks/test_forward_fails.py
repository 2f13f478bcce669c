"""What is said of a forward that raised; whether the cures cure is `tests/model/test_broken_models.py`."""

from __future__ import annotations

import pytest

from torchkit.advice.forward.facts import Given, Layer, Table, Tensor, Trouble
from torchkit.checks.forward_fails import FailedForward, judge
from torchkit.report import Status

HEAD = Layer(
    path="head",
    type="Linear",
    kinds=("Linear",),
    settings={"in_features": 60, "out_features": 2},
    parameters=(("weight", Tensor((2, 60), number=1)), ("bias", Tensor((2,), number=2))),
)

BEFORE = Tensor((20, 64), number=3, source="output of pool")

MISMATCH = Trouble(
    error="RuntimeError",
    message="mat1 and mat2 shapes cannot be\n multiplied (20x64 and 60x2)",
    model="Net",
    layer=HEAD,
    given=(Given("", "Tensor", (("", BEFORE),)),),
    operation="addmm",
    operands=(BEFORE,),
    code="return self.head(x)",
)


def judged(trouble: Trouble, **more: object) -> tuple[str, str, dict[str, str], tuple[str, ...]]:
    verdict = judge(FailedForward(trouble, place="net.py:7 in forward", **more))  # type: ignore[arg-type]  # fields of it
    assert verdict.status is Status.FAIL
    evidence = {item.name: item.value for item in verdict.evidence}
    return verdict.brief, verdict.message, evidence, verdict.fix


def test_the_layer_the_trouble_and_the_cure_are_named_and_the_exception_told_once() -> None:
    brief, message, evidence, fix = judged(MISMATCH)

    assert brief == "head (Linear) fails: it takes 60 features, and is given 64"
    assert message == (
        "head (Linear) raises RuntimeError: mat1 and mat2 shapes cannot be multiplied "
        "(20x64 and 60x2)"
    )
    assert evidence == {
        "at": "return self.head(x)",
        "given": "[20, 64] float32 (output of pool)",
        "has": "weight [2, 60] float32, bias [2] float32",
        "cause": "the last dimension of [20, 64] is 64, it was built for 60",
    }
    assert fix == ("self.head = nn.Linear(64, 2)",)


@pytest.mark.parametrize(
    "message", ["mat1 and mat2 shapes cannot be multiplied", "size mismatch, m1: [20 x 64]", ""]
)
def test_the_words_of_the_exception_do_not_matter(message: str) -> None:
    brief, _, _, fix = judged(MISMATCH._replace(message=message))

    assert brief == "head (Linear) fails: it takes 60 features, and is given 64"
    assert fix == ("self.head = nn.Linear(64, 2)",)


def test_where_the_sizes_agree_no_cause_is_claimed_and_the_first_line_has_the_exception() -> None:
    fits = Given("", "Tensor", (("", Tensor((20, 60), number=3)),))

    brief, _, evidence, fix = judged(MISMATCH._replace(given=(fits,), message="something else"))

    assert brief == "head (Linear) raises RuntimeError: something else"
    assert "cause" not in evidence
    assert fix == ()


def test_an_exception_without_a_message_is_named_with_its_class_and_line() -> None:
    own = Trouble(
        error="StopIteration",
        message="",
        model="Net",
        layer=Layer(type="Net"),
        code="raise StopIteration",
    )

    brief, message, evidence, _ = judged(own)

    assert brief == message == "Net raises StopIteration, which has no message"
    assert evidence["at"] == "raise StopIteration"


def test_an_exception_that_was_raised_from_another_one_names_it() -> None:
    own = Trouble(error="ValueError", message="wrapped", model="Net", layer=Layer(type="Net"))

    _, _, evidence, _ = judged(own, causes=(("RuntimeError", "sizes of\ntensors"),))

    assert evidence["raised from"] == "RuntimeError: sizes of tensors"


def test_in_the_code_of_an_installed_package_no_line_is_to_be_changed() -> None:
    unflattened = Given("", "Tensor", (("", Tensor((1, 60, 1, 1), number=3)),))
    trouble = MISMATCH._replace(given=(unflattened,))

    assert judged(trouble)[3] == ("return self.head(x.flatten(1))",)
    assert judged(trouble._replace(is_library=True))[3] == ()


def test_a_layer_that_has_worked_with_other_sizes_is_not_to_be_built_anew() -> None:
    _, _, _, fix = judged(MISMATCH._replace(layer=HEAD._replace(has_worked=True)))

    assert fix == ()


def test_a_layer_whose_class_is_the_users_own_is_told_in_words() -> None:
    own = HEAD._replace(type="MyLinear")

    assert judged(MISMATCH._replace(layer=own))[3] == ("build head with in_features=64",)


@pytest.mark.parametrize(
    ("table", "operands", "fix"),
    [
        (Table("wpe", 512, 512), ((1, 512),), ("--input ids=512:int64",)),
        (Table("wpe", 514, 512), ((1, 514), (1, 600)), ("--input ids=512:int64",)),
        (Table("wpe", 512, 512), ((1, 7),), ()),
        (Table("wpe", 1024, 1024), ((1, 1024),), ()),
    ],
)
def test_a_sequence_longer_than_the_table_of_positions_is_told(
    table: Table, operands: tuple[tuple[int, ...], ...], fix: tuple[str, ...]
) -> None:
    ids = Tensor((1, 600), "int64", number=1)
    trouble = Trouble(
        "RuntimeError",
        "",
        "Bert",
        Layer("embeddings", "Embeddings", tables=(Table("kinds", 1, 1), table)),
        inputs=(Given("ids", "Tensor", (("", ids),)),),
        operation="gather",
        operands=tuple(Tensor(shape, "int64") for shape in operands),
    )

    _, _, evidence, fixes = judged(trouble)

    assert fixes == fix
    assert ("600 long" in evidence.get("cause", "")) == bool(fix)


def test_what_is_no_proof_is_a_warning_that_names_no_cure_for_the_model() -> None:
    verdict = judge(FailedForward(MISMATCH, doubt="torch has no rule", weights="2 GiB"))

    assert verdict.status is Status.WARN
    assert "on shapes alone, which is not confirmed" in verdict.message
    assert verdict.fix == ("--run builds the model in memory, 2 GiB, and runs it",)
