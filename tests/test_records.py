import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from torchrrm.problems import AssociationAction, cell_instance, link_instance
from torchrrm.records import (
    batch_shape,
    index,
    index_axes,
    map_tensors,
    pad,
    replace,
    stack,
    tensor_record,
    to,
    user_mask,
)


@tensor_record
class Cell:
    """Two axes of different names, one scalar a batch, one mask."""

    gain: Float[Tensor, "*batch rx tx"]
    limit: Float[Tensor, "*batch"]
    active: Bool[Tensor, "*batch tx"]


@tensor_record
class TallCell(Cell):
    """A record made from another."""

    height: Float[Tensor, "*batch rx"]


def cell(*shape: int, rx: int = 2, tx: int = 3) -> Cell:
    generator = torch.Generator().manual_seed(rx + 10 * tx)
    return Cell(
        gain=torch.rand(*shape, rx, tx, generator=generator),
        limit=torch.rand(shape, generator=generator),
        active=torch.rand(*shape, tx, generator=generator) < 0.5,
    )


def test_records_are_frozen_and_keyword_only():
    record = cell()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.limit = torch.zeros(())  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        Cell(record.gain, record.limit, record.active)  # pyright: ignore[reportCallIssue]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_stack_pads_and_index_takes_apart(sizes):
    records = [cell(rx=rx, tx=tx) for rx, tx in sizes]
    stacked = stack(records)
    widest = (max(rx for rx, _ in sizes), max(tx for _, tx in sizes))
    assert stacked.gain.shape == (len(sizes), *widest)
    assert batch_shape(stacked) == (len(sizes),)
    for i, (rx, tx) in enumerate(sizes):
        row = index(stacked, i)
        assert torch.equal(row.gain[:rx, :tx], records[i].gain)
        assert torch.equal(row.active[:tx], records[i].active)
        assert torch.equal(row.limit, records[i].limit)
        assert not row.gain[rx:].any()
        assert not row.gain[:, tx:].any()
        assert not row.active[tx:].any()


@given(st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(1, 3), max_size=2))
def test_pad_by_axis_name(more_rx, more_tx, shape):
    record = cell(*shape)
    padded = pad(record, rx=2 + more_rx, tx=3 + more_tx)
    assert padded.gain.shape == (*shape, 2 + more_rx, 3 + more_tx)
    assert padded.active.shape == (*shape, 3 + more_tx)
    assert padded.limit.shape == tuple(shape)
    assert padded.active.dtype == torch.bool
    assert torch.equal(padded.gain[..., :2, :3], record.gain)
    assert padded.gain.sum() == pytest.approx(record.gain.sum().item(), rel=1e-6)


def test_pad_of_one_axis_leaves_the_other():
    padded = pad(cell(), rx=5)
    assert padded.gain.shape == (5, 3)
    assert padded.active.shape == (3,)


def test_inherited_axes_are_known():
    record = TallCell(**vars(cell(4)), height=torch.ones(4, 2))
    padded = pad(record, rx=3)
    assert padded.height.shape == (4, 3)
    assert padded.gain.shape == (4, 3, 3)


def test_index_by_slice_mask_and_tensor():
    record = cell(4)
    assert index(record, slice(1, 3)).gain.shape == (2, 2, 3)
    assert index(record, torch.tensor([True, False, False, True])).limit.shape == (2,)
    picked = index(record, torch.tensor([3, 0]))
    assert torch.equal(picked.gain, record.gain[[3, 0]])


def test_to_moves_only_floating_point():
    moved = to(cell(2), dtype=torch.float64, device="cpu")
    assert moved.gain.dtype == moved.limit.dtype == torch.float64
    assert moved.active.dtype == torch.bool


@tensor_record
class Array(Cell):
    """A record with complex numbers."""

    channel: Complex[Tensor, "*batch tx ant"]


def array(*shape: int, tx: int = 3) -> Array:
    generator = torch.Generator().manual_seed(tx)
    channel = torch.randn(*shape, tx, 4, generator=generator, dtype=torch.complex64)
    return Array(**vars(cell(*shape, tx=tx)), channel=channel)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_to_gives_complex_numbers_the_precision_of_reals(dtype):
    record = array(2)
    moved = to(record, dtype=dtype)
    assert moved.gain.dtype == dtype
    assert moved.channel.dtype == dtype.to_complex()
    assert moved.active.dtype == torch.bool
    torch.testing.assert_close(moved.channel.to(torch.complex64), record.channel)
    assert to(record).channel.dtype == torch.complex64


def test_complex_numbers_are_padded_and_stacked():
    records = [array(tx=2), array(tx=3)]
    padded = pad(records[0], tx=4, ant=6)
    assert padded.channel.shape == (4, 6)
    assert torch.equal(padded.channel[:2, :4], records[0].channel)
    assert not padded.channel[2:].any()
    assert not padded.channel[:, 4:].any()
    stacked = stack(records)
    assert stacked.channel.shape == (2, 3, 4)
    assert stacked.channel.dtype == torch.complex64
    assert torch.equal(index(stacked, 1).channel, records[1].channel)


def test_map_and_replace():
    record = cell()
    assert torch.equal(map_tensors(torch.zeros_like, record).gain, torch.zeros(2, 3))
    assert replace(record, limit=torch.ones(())).limit == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad(cell(), tx=2), "tx: must be at least 3 to pad to, received 2"),
        (lambda: pad(cell(), user=9), "sizes: must name axes of Cell, received \\['user'\\]"),
        (lambda: stack([]), "records: must be one or more records of one type, received none"),
        (lambda: index(cell(), 0), "record: must have a batch axis"),
    ],
)
def test_misuse_gets_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_stack_refuses_mixed_types():
    with pytest.raises(ValueError, match="Cell"):
        stack([cell(), TallCell(**vars(cell()), height=torch.ones(2))])


def test_vmap_and_grad_see_records_as_pytrees():
    record = cell(5)

    def score(one: Cell) -> Tensor:
        return (one.gain.square().sum(-2) * one.active).sum() * one.limit

    assert torch.allclose(
        torch.func.vmap(score)(record), torch.stack([score(index(record, i)) for i in range(5)])
    )
    slope = torch.func.vmap(torch.func.grad(lambda gain, one: score(replace(one, gain=gain))))(
        record.gain, record
    )
    assert torch.allclose(slope, 2 * record.gain * record.active[:, None, :] * record.limit[:, None, None])


class Total(nn.Module):
    def forward(self, record: Cell) -> Cell:
        return replace(record, gain=record.gain * record.active[..., None, :])


def test_export_takes_and_gives_records():
    batch = torch.export.Dim("batch", min=2)
    shapes = {"record": [{0: batch}, {0: batch}, {0: batch}]}
    program = torch.export.export(Total(), (cell(2),), dynamic_shapes=shapes)
    record = cell(7)
    masked = program.module()(record)
    assert isinstance(masked, Cell)
    assert torch.equal(masked.gain, Total()(record).gain)


def test_users_have_a_mask_by_either_name() -> None:
    links, cells = link_instance(torch.rand(2, 3, 3)), cell_instance(torch.rand(2, 4, 3))
    assert user_mask(links) is links.active
    assert user_mask(cells) is cells.active_user


def test_padding_points_nowhere():
    action = AssociationAction(station=torch.tensor([1, -1]), power_w=torch.ones(2))
    padded = pad(action, user=4, bs=3)
    assert padded.station.tolist() == [1, -1, -1, -1]
    assert padded.power_w.tolist() == [1.0, 1.0, 0.0]
    assert index_axes(AssociationAction) == {"station": "bs"}
    assert index_axes(type(cell())) == {}
