"""Fixes that are the failing expression written otherwise."""

from __future__ import annotations

import pytest

from torchkit.tracing.rewriting import (
    called_otherwise,
    function_of,
    in_place_as_new,
    owner_of,
    rewritten,
    text_in,
    with_argument,
)


@pytest.mark.parametrize(
    ("expression", "part", "template", "wanted"),
    [
        ("net(x)", "x", "{}.float()", "net(x.float())"),
        ("F.linear(x, w)", "w", "{}.t()", "F.linear(x, w.t())"),
        ("a * 2 @ b", "a * 2", "{}.float()", "(a * 2).float() @ b"),
        ("(x * 2).numpy()", "x * 2", "{}.detach()", "(x * 2).detach().numpy()"),
        ("net(x + 1)", "x + 1", "{}.float()", "net((x + 1).float())"),
        ("table[order]", "order", "{}.long()", "table[order.long()]"),
        ("m ^= y.byte()", "y.byte()", "{}.bool()", "m ^= y.byte().bool()"),
        ("größe + ß", "ß", "{}.long()", "größe + ß.long()"),
        ("f(a['k'])", "a['k']", "{}.long()", "f(a['k'].long())"),
        ("net(x)", "y", "{}.float()", ""),
        ("net(x", "x", "{}.float()", ""),
        ("w", "w", "{}.mean()", "w.mean()"),
    ],
)
def test_one_part_is_put_into_a_template(
    expression: str, part: str, template: str, wanted: str
) -> None:
    assert rewritten(expression, part, template) == wanted


def test_a_method_is_called_otherwise() -> None:
    assert called_otherwise("q.view(2, -1)", "view", "reshape") == "q.reshape(2, -1)"
    assert called_otherwise("x.view(2).view(3)", "view", "reshape") == "x.view(2).reshape(3)"
    assert called_otherwise("view(2)", "view", "reshape") == ""


def test_a_call_gets_one_argument_more() -> None:
    assert with_argument("torch.cat(rows)", "dim=1") == "torch.cat(rows, dim=1)"
    assert with_argument("torch.cat(rows,)", "dim=1") == "torch.cat(rows, dim=1)"
    assert with_argument("f()", "dim=1") == "f(dim=1)"
    assert with_argument("a + b", "dim=1") == ""


def test_what_is_called_is_named() -> None:
    assert function_of("F.linear(x, w)") == "linear"
    assert function_of("a @ b") == ""
    assert owner_of("x.t().view(2)") == "x.t()"
    assert owner_of("f(x)") == ""
    assert text_in("torch.einsum('ij,jk->ik', a, b)") == "ij,jk->ik"


def test_an_augmented_assignment_becomes_a_plain_one() -> None:
    assert in_place_as_new("counts *= 0.5") == "counts = counts * 0.5"
    assert in_place_as_new("a[1] += b") == "a[1] = a[1] + b"
    assert in_place_as_new("a + b") == ""
