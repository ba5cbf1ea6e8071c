"""Least shares of a beamforming problem and shares restored to its minimum rates: the torch form of the kernels.

Shares `q` are powers in limits, Gram matrices are relative (`relative_gram`), and everything is batched and float64;
`torchrrm.kernels.beam_power` has the mathematics. A user whose Gram row is 0 has no channel.
"""

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from torchrrm.kernels.beam_power import CLOSE, MOST_LOSS, ROUNDING, STEPS, TOTALS, TRIES
from torchrrm.problems.beamforming import mmse_error

__all__ = ["balanced_share", "interference", "least_share", "received_share", "restored_share"]

_TINY = 1e-13  # what rounding may make of a share that is 0
_TURNS = 400  # products of a matrix and a vector to balance with one set of beams


def interference(
    gram: Complex[Tensor, "*batch user user"], share: Float[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user user"], Float[Tensor, "*batch user"]]:
    """`C` and `c` of the best beams at `share`: with them, `SINR_k = q_k / (c_k + sum_{l != k} C_kl q_l)`.

    0 for users without a channel.
    """
    one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
    matrix = torch.linalg.solve_ex(one + gram * share[..., None, :], gram)[0]  # A = (I + G Q)^-1 G
    own = matrix.diagonal(dim1=-2, dim2=-1).real
    heard = own > 0
    own = torch.where(heard, own, torch.ones_like(own))
    power = matrix.real.square() + matrix.imag.square()
    power = power.masked_fill(one.real.bool(), 0.0)
    coupled = power / own.square()[..., None]
    noise = mmse_error(gram, share) / own - (coupled @ share[..., None])[..., 0]
    return coupled, torch.where(heard, noise.clamp(min=0.0), torch.zeros_like(noise))


def balanced_share(
    gram: Complex[Tensor, "*batch user user"],
    target: Float[Tensor, "*batch user"],
    total: float = 1.0,
    tries: int = TRIES,
) -> Float[Tensor, "*batch user"]:
    """Shares of that total that maximise the least `SINR_k / nu_k`; 0 where nothing is asked for or heard."""
    own = gram.diagonal(dim1=-2, dim2=-1).real
    target = torch.where(own > 0, target, torch.zeros_like(target))
    share = _scaled(target / torch.where(own > 0, own, torch.ones_like(own)), total)
    for _ in range(tries):
        coupled, noise = interference(gram, share)
        before = share
        for _ in range(_TURNS):
            old = share
            share = _scaled(target * (noise + (coupled @ share[..., None])[..., 0]), total)
            if not bool(((share - old).abs() > CLOSE * share).any()):  # nor does what is no number move
                break
        if not bool(((share - before).abs() > 1e-12 * share).any()):
            break
    return share


def _scaled(share: Tensor, total: float) -> Tensor:
    added = share.sum(-1, keepdim=True)
    return share * (total / torch.where(added > 0, added, torch.ones_like(added)))


def least_share(
    gram: Complex[Tensor, "*batch user user"], target: Float[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user"], Int[Tensor, "*batch"]]:
    """Componentwise least shares of which every user has its least SINR, and the sets of beams taken.

    Their sum may exceed 1; where no power would do, shares of users who ask for something are infinite.
    """
    asked = target > 0
    own = gram.diagonal(dim1=-2, dim2=-1).real
    lost = (asked & ~(own > 0)).any(-1)
    done = lost | ~asked.any(-1)
    share = torch.zeros_like(target).masked_fill(asked & lost[..., None], torch.inf)
    steps = torch.zeros_like(done, dtype=torch.int64)
    for total in TOTALS:
        if bool(done.all()):
            break
        held = torch.where(done[..., None], torch.zeros_like(target), target)
        new = balanced_share(gram, held, total, 3 if total < TOTALS[-1] else TRIES)
        new, found, taken = _fall(gram, held, new)
        found = found & (new * own <= MOST_LOSS * target).all(-1)
        share = torch.where((found & ~done)[..., None], new, share)
        done, steps = done | found, steps + torch.where(done, torch.zeros_like(taken), taken)
    return share.masked_fill(asked & ~done[..., None], torch.inf), steps


def _fall(gram: Tensor, target: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Newton's method to the least shares, where the first beams allow it, and the steps."""
    one = torch.eye(share.shape[-1], dtype=share.dtype, device=share.device)
    found = torch.ones_like(share[..., 0], dtype=torch.bool)
    running, steps = found, torch.zeros_like(found, dtype=torch.int64)
    for _ in range(STEPS):
        coupled, noise = interference(gram, share)
        fixed = target * noise
        new = torch.linalg.solve_ex(one - target[..., None] * coupled, fixed)[0]
        steps = steps + running
        found = found & (new >= fixed * (1 - ROUNDING)).all(-1)  # NaN, of singular systems, is not
        change = ((new - share).abs() / torch.where(new > 0, new, torch.ones_like(new))).amax(-1)
        share = torch.where((running & found)[..., None], new, share)
        running = running & found & (change > CLOSE * share.shape[-1])
        if not bool(running.any()):
            break
    return share, found, steps


def received_share(
    coupled: Float[Tensor, "*batch user user"], target: Float[Tensor, "*batch user"]
) -> Float[Tensor, "*batch user"]:
    """Least shares of given beams, `C_kl = |g_k^H w_l|^2`; infinite where none would do."""
    asked, direct = target > 0, coupled.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(
        asked, target / torch.where(asked, direct, torch.ones_like(direct)), torch.zeros_like(target)
    )
    one = torch.eye(target.shape[-1], dtype=target.dtype, device=target.device)
    matrix = scale[..., None] * coupled.mT * (1 - one)
    share = torch.linalg.solve_ex(one - matrix, scale)[0]
    found = (share >= scale * (1 - ROUNDING)).all(-1, keepdim=True)
    return torch.where(found | ~asked, share, torch.full_like(share, torch.inf))


def restored_share(
    gram: Complex[Tensor, "*batch user user"],
    wanted: Float[Tensor, "*batch user"],
    target: Float[Tensor, "*batch user"],
) -> tuple[Float[Tensor, "*batch user"], Bool[Tensor, "*batch"]]:
    """`q = max(s wanted, nu I(q))` of total 1, and whether there is one; else balanced shares.

    Gradients are exact: the fixed point is found without them, and a last step of Newton's method carries them.
    """
    silent = ~(gram.diagonal(dim1=-2, dim2=-1).real > 0)
    lost = ((target > 0) & silent).any(-1)
    target = torch.where(silent, torch.zeros_like(target), target)
    aim = torch.where(silent, torch.zeros_like(wanted), wanted.clamp(min=0.0))
    added = aim.sum(-1, keepdim=True)
    equal = (~silent).to(aim.dtype)
    aim = torch.where(added > 0, aim, equal)
    added = torch.where(added > 0, added, equal.sum(-1, keepdim=True).clamp(min=1.0))
    aim = aim / added
    with torch.no_grad():
        share, held, found, exact = _restored(gram.detach(), aim.detach(), target.detach())
    last, good = _hold(*interference(gram, share), aim, target, held)
    share = torch.where((exact & good)[..., None], last, share)
    return share, found & ~lost


def _restored(gram: Tensor, aim: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fixed point, users held at their least SINR, whether it is feasible, and whether Newton's method came there."""
    share, held, done = _newton(gram, aim, aim, target)
    if bool(done.all()):
        return share, held, done, done
    least, _ = least_share(gram, target)
    needed = least.sum(-1)
    within = needed <= 1 + ROUNDING
    start = torch.where(within[..., None], least / torch.where(within, needed, 1.0)[..., None], aim)
    start = torch.where((within & (needed > 0))[..., None], start, aim)
    other, other_held, came = _newton(gram, start, aim, target)
    other = torch.where(came[..., None], other, start)
    if not bool((done | within).all()):
        other = torch.where(within[..., None], other, balanced_share(gram, target))
    share, held = torch.where(done[..., None], share, other), torch.where(done[..., None], held, other_held)
    return share, held, done | within, done | (within & came)


def _newton(gram: Tensor, share: Tensor, aim: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Newton's method from `share`: where it came, whom it holds, and whether it converged."""
    coupled, noise = interference(gram, share)
    held = target * (noise + (coupled @ share[..., None])[..., 0]) > share
    good = torch.ones_like(share[..., 0], dtype=torch.bool)
    running, change = good, torch.full_like(share[..., 0], torch.inf)
    for _ in range(STEPS):
        new, held_new, fine = _settle(coupled, noise, aim, target, held)
        good = good & (fine | ~running)
        moved = running & good
        relative = (new - share).abs() / torch.where(new > 0, new, torch.ones_like(new))
        change = torch.where(moved, relative.amax(-1), change)
        share = torch.where(moved[..., None], new, share)
        held = torch.where(moved[..., None], held_new, held)
        running = moved & (change > CLOSE * share.shape[-1])
        if not bool(running.any()):
            break
        coupled, noise = interference(gram, share)
    return share, held, good & (change < 1e-9)


def _settle(
    coupled: Tensor, noise: Tensor, aim: Tensor, target: Tensor, held: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares with the present beams, the users held, and whether there is a solution."""
    fine = torch.ones_like(held[..., 0])
    share = aim
    for _ in range(2 * held.shape[-1] + 2):
        share, solved = _hold(coupled, noise, aim, target, held)
        needed = target * (noise + (coupled @ share[..., None])[..., 0])
        slack = torch.where(held, -1e-14 * needed, 1e-14 * needed)
        scaled = torch.where(held, aim * _scale(share, aim, held)[..., None], share)
        now = torch.where(solved[..., None], needed > scaled + slack, held)
        fine = solved
        if bool((now == held).all()):
            break
        held = now
    return share, held, fine


def _scale(share: Tensor, aim: Tensor, held: Tensor) -> Tensor:
    """`s` of a solution, by the users that are not held."""
    free = torch.where(held, torch.zeros_like(aim), aim).sum(-1)
    taken = torch.where(held, torch.zeros_like(aim), share).sum(-1)
    return torch.where(free > 0, taken / torch.where(free > 0, free, torch.ones_like(free)), 0.0)


def _hold(
    coupled: Tensor, noise: Tensor, aim: Tensor, target: Tensor, held: Tensor
) -> tuple[Float[Tensor, "*batch user"], Bool[Tensor, "*batch"]]:
    """Shares of total 1 that hold exactly the users `held` at their least SINR, and whether there are any."""
    zero = torch.zeros_like(aim)
    row = torch.where(held, target, zero)
    one = torch.eye(aim.shape[-1], dtype=aim.dtype, device=aim.device)
    sides = torch.stack((row * noise, torch.where(held, zero, aim)), -1)
    solved = torch.linalg.solve_ex(one - row[..., None] * coupled, sides)[0]  # [*batch user 2]
    fixed, moved = solved.unbind(-1)
    total, grown = fixed.sum(-1), moved.sum(-1)
    some = grown > 0
    scale = torch.where(some, (1 - total) / torch.where(some, grown, 1.0), 0.0).clamp(min=0.0)
    # An M-matrix has an inverse without negative entries; NaN, of singular ones, is not above anything.
    good = (fixed >= row * noise * (1 - ROUNDING) - _TINY).all(-1) & (moved >= -_TINY).all(-1)
    good = good & (total <= 1 + ROUNDING)
    return fixed + scale[..., None] * moved, good
