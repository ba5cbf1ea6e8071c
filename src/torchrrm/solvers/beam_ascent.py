"""Ascent of the weighted sum rate of short packets over shares of power: the torch form of the kernels.

`torchrrm.kernels.beam_ascent` has the mathematics and the names. Everything is batched and float64.
"""

from typing import Any

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from torchrrm.kernels.beam_ascent import AT_BOUND, HALVINGS, PIVOT, RISE, SHIFTS
from torchrrm.problems.beamforming import mmse_error, power_slope
from torchrrm.records import tensor_record
from torchrrm.solvers.beam_power import least_share, restored_share

__all__ = ["BeamUplink", "ascend_share", "sharpened_share", "start_shares", "weighted_rate"]


@tensor_record
class BeamUplink:
    """Relative Gram matrix, weights and least SINRs, 0 for users that are not active or have no channel."""

    gram: Complex[Tensor, "*batch user user"]
    weight: Float[Tensor, "*batch user"]
    target: Float[Tensor, "*batch user"]
    back_off: Float[Tensor, "*batch 1"]


@tensor_record
class _Model:
    """Derivatives by the levels: `a R'`, `a R''`, `lambda`, Hessian of `P`; `J^-1`; who is at its least SINR."""

    gain: Float[Tensor, "*batch user"]
    curvature: Float[Tensor, "*batch user"]
    price: Float[Tensor, "*batch user"]
    hessian: Float[Tensor, "*batch user user"]
    back: Float[Tensor, "*batch user user"]
    bound: Bool[Tensor, "*batch user"]


def weighted_rate(uplink: BeamUplink, share: Float[Tensor, "*batch user"]) -> Float[Tensor, "*batch"]:
    """Weighted sum rate in nats."""
    error = mmse_error(uplink.gram, share)
    root = torch.sqrt(((1 - error) * (1 + error)).clamp(min=0.0))
    return (uplink.weight * (-torch.log(error) - uplink.back_off * root)).sum(-1)


def start_shares(uplink: BeamUplink, start: int, table: Float[Tensor, "user start"]) -> Tensor:
    """Shares of one start, before restoration; see `GramAscent` for their order."""
    heard = _own(uplink.gram) > 0
    if start == 0:
        return heard.to(table.dtype)
    least, _ = least_share(uplink.gram, uplink.target)
    fits = torch.isfinite(least).all(-1, keepdim=True)
    price = _slope(uplink.gram, torch.where(fits, least, 0.0))[2]
    price = torch.where(heard, price, torch.inf)
    place = price.argsort(dim=-1, descending=True, stable=True).argsort(-1)  # the last is the cheapest
    if start == 2:
        return torch.where(heard, (price.amin(-1, keepdim=True) / price) ** 4, 0.0)
    if start == 3:
        return torch.where(fits, least, 0.0)
    users, leader = heard.sum(-1, keepdim=True), 0 if start == 1 else start - 3
    silent = price.shape[-1] - users
    alone = torch.where(place - silent == users - 1 - leader, 1.0, 1e-3).to(price.dtype)
    drawn = table[:, start][(place - silent).clamp(min=0)]
    return torch.where(heard, torch.where(leader < users, alone, drawn), 0.0)


def ascend_share(
    uplink: BeamUplink, share: Float[Tensor, "*batch user"], steps: int, tol: float
) -> tuple[Tensor, Bool[Tensor, "*batch"], Int[Tensor, "*batch"]]:
    """Shares uphill from `share`, which must keep every minimum at full power, if they converged, and the steps."""
    now = weighted_rate(uplink, share)
    running = torch.ones_like(now, dtype=torch.bool)
    converged, taken = ~running, torch.zeros_like(running, dtype=torch.int64)
    for _ in range(steps):
        model = _describe(uplink, share)
        free, change, rise, promised = _head(model)
        done = promised <= tol * now.abs()
        converged, running = converged | (running & done), running & ~done
        if not bool(running.any()):
            break
        share, new = _advance(uplink, share, change, free, (running, now, rise))
        running = running & (new > -torch.inf)
        now, taken = torch.where(running, new, now), taken + running
    return share, converged, taken


def sharpened_share(uplink: BeamUplink, share: Float[Tensor, "*batch user"]) -> Float[Tensor, "*batch user"]:
    """One more of Newton's steps from a local optimum found without gradients: its derivatives are the optimum's.

    That is exact where the Hessian needed no shift: a step does not depend on where it starts, to first order.
    """
    error = mmse_error(uplink.gram, share)
    bound = 1 - error <= uplink.target * error * (1 + AT_BOUND)
    aim = torch.where(bound.all(-1, keepdim=True) | ~bound, share, 0.0)
    share = restored_share(uplink.gram, aim, uplink.target)[0]
    free, change, _, _ = _head(_describe(uplink, share))
    aim = torch.where(free, (share + change).clamp(min=0.0), 0.0)
    some = aim.sum(-1, keepdim=True) > 0
    return restored_share(uplink.gram, torch.where(some, aim, share), uplink.target)[0]


def _own(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).real


def _slope(gram: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`J`, `J^-1` and `lambda`; users without a channel have a level that costs 1 and do not mix with others."""
    slope = power_slope(gram, share)
    slope = slope + torch.diag_embed((~(_own(gram) > 0)).to(slope.dtype))
    back = torch.linalg.inv(slope)
    return slope, back, back.sum(-2)


def _describe(uplink: BeamUplink, share: Tensor) -> _Model:
    """The model at a point."""
    one = torch.eye(share.shape[-1], dtype=uplink.gram.dtype, device=share.device)
    matrix = torch.linalg.solve_ex(one + uplink.gram * share[..., None, :], uplink.gram)[0]
    error, power = mmse_error(uplink.gram, share), matrix.real.square() + matrix.imag.square()
    _, back, price = _slope(uplink.gram, share)
    inner = (matrix * (price * share / error)[..., None, :]) @ matrix
    both = matrix.real * inner.real + matrix.imag * inner.imag
    each = price / error
    middle = (each[..., :, None] + each[..., None, :]) * power - 2 * both
    hessian = back.mT @ middle @ back - torch.diag_embed(price)
    heard, missing = share * _own(matrix), error.square()
    some = heard > 0
    root = torch.sqrt(torch.where(some, heard * (1 + error), 1.0))  # of 0 there is no derivative
    gain = uplink.weight * (1 - uplink.back_off * missing / root)
    curvature = uplink.weight * uplink.back_off * missing * (2 - missing) / root**3
    return _Model(
        gain=torch.where(some, gain, -torch.inf),
        curvature=torch.where(some, curvature, 0.0),
        price=price,
        hessian=hessian,
        back=back,
        bound=heard <= uplink.target * error * (1 + AT_BOUND),
    )


def _release(model: _Model) -> tuple[Bool[Tensor, "*batch user"], Float[Tensor, "*batch"]]:
    """Users that are to move, and the price of power among them."""
    worth, free = model.gain / model.price, ~model.bound
    for _ in range(free.shape[-1]):
        level, some = _level(model, free)
        best, leader = worth.masked_fill(free, -torch.inf).max(-1)
        joins = best > torch.where(some, level + 1e-9 * level.abs(), -torch.inf)
        if not bool(joins.any()):
            break
        leads = torch.nn.functional.one_hot(leader, free.shape[-1]).bool()
        free = free | (leads & joins[..., None])
    level, some = _level(model, free)
    most = torch.where(free, worth, 0.0).abs().amax(-1)
    return free, torch.where(some, torch.maximum(level, 1e-3 * most), 0.0)


def _level(model: _Model, free: Tensor) -> tuple[Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """Gain for power of the free users as a whole, and whether there are any."""
    spent, some = torch.where(free, model.price, 0.0).sum(-1), free.any(-1)
    gained = torch.where(free, model.gain, 0.0).sum(-1)
    return gained / torch.where(some, spent, 1.0), some


def _shifted(model: _Model, level: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factor of the negative Hessian of the free users, shifted until there is one; the shift."""
    both = free[..., :, None] & free[..., None, :]
    costs = model.price[..., :, None] * model.price[..., None, :]
    matrix = level[..., None, None] * (model.hessian + costs) - torch.diag_embed(model.curvature)
    size = level[..., None] * model.price + model.curvature
    one = torch.eye(free.shape[-1], dtype=size.dtype, device=size.device)
    shift = torch.zeros_like(level)
    factor, found = matrix, torch.zeros_like(level, dtype=torch.bool)
    for attempt in range(SHIFTS):
        shifted = matrix + torch.diag_embed(shift[..., None] * size)
        trial, info = torch.linalg.cholesky_ex(torch.where(both, shifted, one))
        pivots = trial.diagonal(dim1=-2, dim2=-1).square()
        fits = (info == 0) & ((pivots > PIVOT * size) | ~free).all(-1)
        factor = torch.where((fits & ~found)[..., None, None], trial, factor)
        found = found | fits
        if bool(found.all()):
            break
        shift = torch.where(found, shift, 0.25 if attempt == 0 else 3 * shift)
    factor = torch.where(found[..., None, None], factor, one)
    return factor, torch.where(found, shift, -1.0)


def _head(model: _Model) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Who is to move, the step of the shares, the rise that it promises, and that of an unshifted step about."""
    free, level = _release(model)
    move = rise = shift = torch.zeros_like(level)
    for _ in range(free.shape[-1]):
        factor, shift = _shifted(model, level, free)
        sides = torch.stack((model.gain, model.price), -1).masked_fill(~free[..., None], 0.0)
        first, second = torch.cholesky_solve(sides, factor).unbind(-1)
        across = (model.price * second).sum(-1, keepdim=True)
        along = (model.price * first).sum(-1, keepdim=True)
        move = torch.where(free, first - along / torch.where(across > 0, across, 1.0) * second, 0.0)
        rise = torch.where(free, model.gain * move, 0.0).sum(-1)
        back = model.bound & free & (move < 0)
        if not bool(back.any()):
            break
        free = free & ~back
    rise = torch.where(shift < 0, 0.0, rise)
    change = (model.back @ move[..., None])[..., 0]
    return free, change, rise, rise * (1 + shift)


def _advance(
    uplink: BeamUplink, share: Tensor, change: Tensor, free: Tensor, state: tuple[Any, Any, Any]
) -> tuple[Tensor, Tensor]:
    """Shares along `change` where running, and the objective there; minus infinity where nothing rises."""
    running, now, rise = state
    length, waiting = torch.ones_like(now), running
    best, reached = share, torch.where(running, -torch.inf, now)
    for _ in range(HALVINGS):
        moved = (share + length[..., None] * change).clamp(min=0.0)
        aim = torch.where(free, moved, 0.0)
        some = aim.sum(-1) > 0
        trial, within = restored_share(uplink.gram, torch.where(some[..., None], aim, share), uplink.target)
        new = weighted_rate(uplink, trial)
        fits = waiting & some & within & (new >= now + RISE * length * rise)
        best = torch.where(fits[..., None], trial, best)
        reached = torch.where(fits, new, reached)
        waiting = waiting & ~fits
        if not bool(waiting.any()):
            break
        length = 0.5 * length
    return best, reached
