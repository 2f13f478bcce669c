"""Truth: what torch.load with weights_only=True refuses, and what unpickling does with a call."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from torchkit.checks.dangerous_globals import MOST_EVIDENCE, MOST_NAMES, judge
from torchkit.model.files.harmless import is_harmless, sorted_out
from torchkit.report import Status


class Pickled(NamedTuple):
    """What a file's pickle would import."""

    globals: tuple[str, ...] = ()
    dangerous: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


def test_a_pickle_that_would_run_a_program_is_a_warning_that_names_it() -> None:
    names = ("torch._utils._rebuild_tensor_v2", "posix.system")

    verdict = judge(Pickled(names, dangerous=("posix.system",)))

    assert verdict.status is Status.WARN
    assert verdict.message == "unpickling this would run posix.system"
    assert [(it.name, it.value) for it in verdict.evidence] == [("would run", "posix.system")]
    assert "weights_only=True" in verdict.fix[0]


def test_a_model_that_was_saved_whole_needs_code_and_is_called_no_attack() -> None:
    verdict = judge(Pickled(("mymodels.Net",), code=("mymodels.Net",)))

    assert verdict.status is Status.WARN
    assert verdict.message == "unpickling this would import and run the code of mymodels.Net"
    assert verdict.fix[0].endswith("torch.save(model.state_dict(), file)")


def test_danger_comes_before_code() -> None:
    verdict = judge(Pickled(("a.B", "os.system"), dangerous=("os.system",), code=("a.B",)))

    assert verdict.message == "unpickling this would run os.system"


@pytest.mark.parametrize("names", [(), ("collections.OrderedDict", "torch.FloatStorage")])
def test_a_state_dict_and_a_file_without_a_pickle_are_fine(names: tuple[str, ...]) -> None:
    verdict = judge(Pickled(names))

    assert verdict.status is Status.OK


def test_one_more_name_than_a_line_holds_is_counted_and_still_evidence() -> None:
    names = tuple(f"lib.f{number}" for number in range(MOST_NAMES + 1))

    exactly, more = judge(Pickled(names, names[:-1])), judge(Pickled(names, names))

    assert exactly.message.endswith(f"lib.f{MOST_NAMES - 1}")
    assert more.message.endswith("and 1 more")
    assert len(more.evidence) == MOST_NAMES + 1


def test_a_thousand_names_do_not_flood_the_report() -> None:
    names = tuple(f"lib.f{number}" for number in range(1000))

    verdict = judge(Pickled(names, names))

    assert len(verdict.evidence) == MOST_EVIDENCE


@pytest.mark.parametrize(
    "name",
    [
        "torch.load", "torch._utils._import_dotted_name", "torch.hub.load", "torch.jit.load",
        "torch.serialization.os.system", "torch.nn.modules.linear.Linear.forward",
        "torch.nn.modules.module.Module.__init__.x", "builtins.getattr", "builtins.eval",
        "numpy.load", "numpy.core.multiarray._reconstruct.x", "functools.partial",
        "operator.attrgetter", "torch._C.import_ir_module", "torch.float32.x",
        "torch._utils._rebuild_tensor_v2.__globals__", "torch.utils.data.DataLoader",
    ],
)  # fmt: skip
def test_names_near_to_harmless_ones_are_not_harmless(name: str) -> None:
    assert not is_harmless(name)
    assert sorted_out([name], [name]) == ([name], [])


@pytest.mark.torch
def test_all_that_torch_allows_in_weights_is_harmless() -> None:
    """But for the functions that set a backend's memory up, of which a file has none."""
    unpickler = pytest.importorskip("torch._weights_only_unpickler")

    allowed = unpickler._get_allowed_globals()

    assert [name for name in allowed if not is_harmless(name)] == []
