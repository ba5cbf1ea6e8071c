"""What makes an instance takes numbers and tensors, and refuses the rest in one line."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchrrm.channels import Drop, umi_scenario
from torchrrm.problems import (
    cell_instance,
    ergodic_instance,
    link_instance,
    miso_instance,
    slice_instance,
    sparse_cells,
    sparse_links,
    sparsify,
    sparsify_cells,
)


@dataclass(frozen=True)
class Maker:
    """A maker, its first argument for a shape of batch, and shapes of the others behind the batch."""

    make: Callable[..., Any]
    first: str
    size: tuple[int, ...]
    others: dict[str, tuple[int, ...]]

    def value(self, *batch: int) -> Tensor:
        value = 0.5 + torch.rand(*batch, *self.size, generator=torch.Generator().manual_seed(0))
        return value.to(torch.complex64) if self.make is miso_instance else value


def _slice(gain: Tensor, **terms: Any) -> Any:
    return slice_instance(gain, 0.1 * gain, **terms)


MAKERS = {
    "links": Maker(link_instance, "gain", (4, 4), {"noise_power_w": (), "max_power_w": (4,), "weight": (4,)}),
    "ergodic": Maker(
        ergodic_instance,
        "gain",
        (3, 4, 4),
        {"noise_power_w": (), "max_power_w": (4,), "min_rate_bps_hz": (4,)},
    ),
    "cells": Maker(
        cell_instance, "gain", (5, 4), {"noise_power_w": (), "max_power_w": (4,), "bandwidth_hz": ()}
    ),
    "beams": Maker(
        miso_instance,
        "channel",
        (4, 8),
        {
            "noise_power_w": (4,),
            "max_power_w": (),
            "weight": (4,),
            "blocklength": (),
            "error_probability": (),
            "payload_bits": (4,),
        },
    ),
    "slice": Maker(_slice, "gain", (4,), {"min_rate_bps": (4,), "bandwidth_hz": ()}),
}
POSITIVE = {"noise_power_w", "max_power_w", "bandwidth_hz", "blocklength", "error_probability"}
TERMS = [(name, term) for name, maker in MAKERS.items() for term in maker.others]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("name", "term"), TERMS)
def test_terms_are_numbers_or_tensors(name, term):
    maker = MAKERS[name]
    own = 0.1 + 0.2 * torch.rand(3, *maker.others[term], generator=torch.Generator().manual_seed(1))
    value, each = maker.value(3), maker.make(maker.value(3), **{term: own})
    assert torch.equal(getattr(each, term), own)
    number = maker.make(value, **{term: 0.25})
    assert torch.equal(getattr(number, term), torch.full_like(own, 0.25))
    if maker.others[term]:  # of all instances of a batch
        same = maker.make(value, **{term: own[:1]})
        assert torch.equal(getattr(same, term), own[:1].expand(3, -1))
        assert torch.equal(getattr(maker.make(maker.value(), **{term: own[0]}), term), own[0])


BAD_TERMS: dict[str, tuple[Callable[[tuple[int, ...]], Any], str]] = {
    "shape": (lambda shape: torch.ones(*shape, 7), "must broadcast to"),
    "double": (
        lambda shape: torch.ones(shape).double(),
        "expected a number or a tensor of torch.float32, got torch.float64",
    ),
    "integers": (
        lambda shape: torch.ones(shape).long(),
        "expected a number or a tensor of torch.float32, got torch.int64",
    ),
    "negative": (lambda shape: -1.0, "must be {rule}, received -1.0"),
    "NaN": (lambda shape: torch.full(shape, math.nan), "must be {rule}, received nan"),
    "huge": (lambda shape: 10**400, "must be {rule}, received inf"),
    "list": (lambda shape: [1.0, 1.0, 1.0], "expected a number or a torch.Tensor, got list"),
    "array": (lambda shape: np.ones(shape), "expected a number or a torch.Tensor, got ndarray"),
    "complex": (lambda shape: 1j, "expected a number or a torch.Tensor, got complex"),
    "text": (lambda shape: "1", "expected a number or a torch.Tensor, got str"),
}
"""Values of a term by its shape, and what is said of them."""


@pytest.mark.parametrize(("value", "message"), BAD_TERMS.values(), ids=BAD_TERMS.keys())
@pytest.mark.parametrize(("name", "term"), TERMS)
def test_bad_terms_are_refused(name, term, value, message):
    maker = MAKERS[name]
    rule = "positive and finite" if term in POSITIVE else "finite and not negative"
    wrong = value((3, *maker.others[term]))
    told = refused(lambda: maker.make(maker.value(3), **{term: wrong}))
    assert told.startswith(f"{term}: {message.format(rule=rule)}")


@pytest.mark.parametrize(("name", "term"), [each for each in TERMS if each[1] in POSITIVE])
def test_terms_of_zero_are_refused(name, term):
    maker = MAKERS[name]
    told = refused(lambda: maker.make(maker.value(3), **{term: 0.0}))
    assert told.startswith(f"{term}: must be positive and finite, received 0.0")


@pytest.mark.parametrize("value", [[1.0], np.ones(3), 1j, None], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("term", ["power_w", "noise_psd_w_per_hz"])
def test_bad_powers_of_slices_are_refused(term, value):
    told = refused(lambda: _slice(torch.ones(4), **{term: value}))
    assert told == f"{term}: expected a number or a torch.Tensor, got {type(value).__name__}"


def test_a_slice_without_noise_is_refused():
    told = refused(lambda: _slice(torch.ones(4), noise_psd_w_per_hz=0))
    assert "noise_psd_w_per_hz: must be positive and finite, received 0.0" in told


OTHER_TYPES: dict[str, Callable[[Tensor], Tensor]] = {
    "half": lambda value: value.real.half(),
    "bfloat16": lambda value: value.real.bfloat16(),
    "integers": lambda value: value.real.long(),
    "mask": lambda value: value.real > 0,
    "complex": lambda value: value.real if value.is_complex() else value + 0j,
}


@pytest.mark.parametrize("change", OTHER_TYPES.values(), ids=OTHER_TYPES.keys())
@pytest.mark.parametrize("name", MAKERS)
def test_tensors_of_other_types_are_refused(name, change):
    maker = MAKERS[name]
    value = maker.value(3)
    kind = "torch.complex64 or torch.complex128" if value.is_complex() else "torch.float32 or torch.float64"
    wrong = change(value)
    assert refused(lambda: maker.make(wrong)) == f"{maker.first}: expected {kind}, got {wrong.dtype}"


@pytest.mark.parametrize("change", [Tensor.tolist, Tensor.numpy, lambda value: 1.0])
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_tensor_is_refused(name, change):
    maker = MAKERS[name]
    value = maker.value(3)
    make = (lambda wrong: slice_instance(wrong, value)) if name == "slice" else maker.make
    wrong = change(value)
    assert (
        refused(lambda: make(wrong)) == f"{maker.first}: expected a torch.Tensor, got {type(wrong).__name__}"
    )


@pytest.mark.parametrize("name", MAKERS)
def test_bad_values_are_refused(name):
    maker = MAKERS[name]
    value = maker.value(3)
    broken = value.clone()
    broken.view(-1)[5] = math.nan
    stored = "cn0_hz" if name == "slice" else maker.first
    assert refused(lambda: maker.make(broken)).startswith(f"{stored}: must be finite")
    if not value.is_complex():
        assert refused(lambda: maker.make(-value)).startswith(
            f"{stored}: must be finite and not negative, received -"
        )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("links", (5, 4), "gain: expected a square matrix [rx, tx], got [5, 4]"),
        ("links", (2, 5, 4), "gain: expected a square matrix [rx, tx], got [2, 5, 4]"),
        ("links", (4,), "gain: expected shape [*batch, rx, tx], got [4]"),
        ("links", (), "gain: expected shape [*batch, rx, tx], got []"),
        ("links", (0, 0), "gain: expected at least one rx, got shape [0, 0]"),
        ("ergodic", (4, 4), "gain: expected shape [*batch, slot, rx, tx], got [4, 4]"),
        ("ergodic", (3, 5, 4), "gain: expected a square matrix [rx, tx], got [3, 5, 4]"),
        ("ergodic", (0, 4, 4), "gain: expected at least one slot, got shape [0, 4, 4]"),
        ("cells", (4,), "gain: expected shape [*batch, user, bs], got [4]"),
        ("cells", (4, 0), "gain: expected at least one bs, got shape [4, 0]"),
        ("beams", (4,), "channel: expected shape [*batch, user, ant], got [4]"),
        ("beams", (4, 0), "channel: expected at least one ant, got shape [4, 0]"),
        ("beams", (0, 4), "channel: expected at least one user, got shape [0, 4]"),
        ("slice", (), "gain: expected shape [*batch, user], got []"),
        ("slice", (3, 0), "cn0_hz: expected at least one user, got shape [3, 0]"),
    ],
)
def test_bad_shapes_are_refused(name, shape, message):
    value = torch.ones(shape, dtype=torch.complex64 if name == "beams" else torch.float32)
    assert refused(lambda: MAKERS[name].make(value)) == message


def test_rates_of_slices_and_of_users():
    """The number of axes tells them apart, also where there are as many users as slices."""
    gain = torch.rand(3, 3)
    rate = torch.tensor([1e6, 2e6, 3e6])
    assert torch.equal(slice_instance(gain, gain, min_rate_bps=rate).min_rate_bps, rate[:, None].expand(3, 3))
    assert torch.equal(slice_instance(gain, gain, min_rate_bps=rate[None]).min_rate_bps, rate.expand(3, 3))
    assert torch.equal(slice_instance(gain[0], gain[0], min_rate_bps=rate).min_rate_bps, rate)
    louder = slice_instance(gain, gain, power_w=torch.tensor([0.1, 0.2, 0.4]), noise_psd_w_per_hz=1.0)
    torch.testing.assert_close(louder.cn0_hz, gain * torch.tensor([0.1, 0.2, 0.4])[:, None])


def test_limits_and_kinds_of_stations():
    with pytest.raises(ValueError, match=r"^macro: must be left out where max_power_w is given"):
        cell_instance(torch.ones(3, 2), max_power_w=1.0, macro=torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"^macro: expected bool, got torch\.int64"):
        cell_instance(torch.ones(3, 2), macro=torch.tensor([1, 0]))
    with pytest.raises(ValueError, match=r"^macro: must broadcast to \[2\], received shape \[3\]"):
        cell_instance(torch.ones(3, 2), macro=torch.tensor([True, False, True]))


def drop(nodes: int = 6) -> Drop:
    place = torch.rand(2, nodes, 3, generator=torch.Generator().manual_seed(0)) * 100
    return Drop(rx_position_m=place[0], tx_position_m=place[1])


@pytest.mark.parametrize("change", [lambda limit: limit[:5], Tensor.double, Tensor.neg])
def test_bad_limits_of_sparse_makers_are_refused(change):
    path_loss, wrong = umi_scenario().path_loss, change(0.1 + torch.rand(6))
    told = refused(lambda: sparse_links(drop(), path_loss, 3, max_power_w=wrong))
    assert told.startswith("max_power_w: ")
    assert refused(lambda: sparse_cells(drop(), path_loss, wrong, 3)).startswith("max_power_w: ")


def test_sparse_makers():
    path_loss = umi_scenario().path_loss
    limit = 0.1 + torch.rand(6)
    assert torch.equal(sparse_links(drop(), path_loss, 3, max_power_w=limit).max_power_w, limit)
    lost = Drop(rx_position_m=drop().rx_position_m * torch.nan, tx_position_m=drop().tx_position_m)
    message = "drop.rx_position_m: must be finite, received nan"
    assert refused(lambda: sparse_links(lost, path_loss, 3)) == message
    assert refused(lambda: sparse_cells(lost, path_loss, limit, 3, residual=False)) == message
    slot: Any = link_instance(torch.rand(4, 4))
    assert refused(lambda: sparsify_cells(slot, 2)).startswith("instance: expected CellInstance (users and")
    cells: Any = cell_instance(torch.rand(4, 4))
    assert refused(lambda: sparsify(cells, 2)).startswith("instance: expected LinkInstance (links in one")
