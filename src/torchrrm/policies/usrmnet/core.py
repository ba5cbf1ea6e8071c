"""The layers of `USRMNet` in the Gram form: pure functions of shares of the power limit, without antennas.

With `G`, `q` and `e` as in `torchrrm.problems.beamforming` and `A = G (I + Q G)^-1`, `q_l d ln(1 + SINR_k) / d q_l`
is `1 - e_k` for `l = k` and else `-T_kl`, `T_kl = q_k q_l |A_kl|^2 / e_k`: the coupling by which users send messages.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.policies.unrolled import ConstrainedProgram
from torchrrm.problems.beamforming import MisoInstance, least_sinr, relative_gram
from torchrrm.rates import packet_back_off
from torchrrm.records import tensor_record, to
from torchrrm.solvers.beam_power import restored_share

__all__ = [
    "FEATURES",
    "MESSAGES",
    "Outlook",
    "Response",
    "Uplink",
    "Wish",
    "growth",
    "layer_program",
    "messages",
    "outlook",
    "response",
    "settled",
    "uplink",
]

FEATURES = (
    "share",
    "change",
    "direction",
    "rate",
    "error",
    "slack",
    "slope",
    "charged",
    "heard",
    "weight",
    "loss",
    "held",
)
"""Features of a user, in the order of the columns; see `outlook`."""
MESSAGES = ("change", "direction", "error", "slack", "held")
"""Those of them that users send each other."""

_SENT = [FEATURES.index(name) for name in MESSAGES]
_TINY = 1e-9
_FAR = 3.0  # largest relative change of a share that networks see, and largest fall that a step aims at
_LEAP = 1e6  # largest relative rise that a step aims at
_HARM = (
    1.0  # largest rise of what others hear, relative to all they hear, that a rise beyond `_FAR` may bring
)
_LEAST_SLOPE = 0.02  # of a rate by ln(1 + SINR): below, it would be worth more to send nothing
_FALL = 2.5
_LEAST_LEFT = (
    0.1  # of the limit, for users above their minimum rates, before minimum rates are restored exactly
)
_PASSES = 4

Response = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""`(gram, share) -> A_kk [*batch user], |A_kl|^2 [*batch user user], e_k [*batch user]`, see `response`."""


@tensor_record
class Uplink:
    """The dual uplink of instances, relative to noise and limit, in float64.

    Attributes:
        gram: `G`, complex; zero rows and columns for users that are not served. Only `response` reads it.
        gain: `G_kk`.
        target: least SINR.
        back_off: `theta` of the rates.
        weight: of the rates, relative to the mean of those served; 0 of the others.
        served: active users that have a channel.
        start: shares that the first layer begins with: equal ones, restored to the minimum rates (`restored_power`).
            Equal shares alone would not do where users are nearly parallel: there the rates are far from concave, and
            what a weak user loses is seen only where the strong one has little.
    """

    gram: Tensor
    gain: Float[Tensor, "*batch user"]
    target: Float[Tensor, "*batch user"]
    back_off: Float[Tensor, "*batch 1"]
    weight: Float[Tensor, "*batch user"]
    served: Bool[Tensor, "*batch user"]
    start: Float[Tensor, "*batch user"]


@tensor_record
class Outlook:
    """What is known at some shares, on which a layer decides.

    Attributes:
        node: features of each user.
        coupled: `T`, without its diagonal.
        slope: of the Lagrangian by the relative change of each share: the power spent times `mu - price_k`.
        scale: step size of each user at which a layer is one of Newton's method for this user alone.
        needed: least shares with the present beams, `nu_k I_k(q)`.
    """

    node: Float[Tensor, "*batch user feature"]
    coupled: Float[Tensor, "*batch user user"]
    slope: Float[Tensor, "*batch user"]
    scale: Float[Tensor, "*batch user"]
    needed: Float[Tensor, "*batch user"]


@tensor_record
class Wish:
    """What passes from layer to layer.

    Attributes:
        wanted: proportions in which users are to get what is left of the power by those at their minimum rates.
        share: `wanted` with minimum rates kept, under the beams of the last layer; of total 1.
    """

    wanted: Float[Tensor, "*batch user"]
    share: Float[Tensor, "*batch user"]


def uplink(instance: MisoInstance) -> Uplink:
    """What the layers see of instances."""
    gram = relative_gram(to(instance, dtype=torch.float64))
    gain = gram.diagonal(dim1=-2, dim2=-1).real
    served = instance.active & (gain > 0)
    weight = torch.where(served, instance.weight.double(), torch.zeros_like(gain))
    mean = weight.sum(-1, keepdim=True) / served.sum(-1, keepdim=True).clamp_min(1)
    target = least_sinr(instance)
    target = torch.where(served, target, torch.zeros_like(target))
    with torch.no_grad():
        start, _ = restored_share(gram, served.double(), target)
    back_off = packet_back_off(instance.error_probability.double(), instance.blocklength.double())
    return Uplink(
        gram=gram,
        gain=gain,
        target=target,
        back_off=back_off[..., None],
        weight=weight / torch.where(mean > 0, mean, torch.ones_like(mean)),
        served=served,
        start=start,
    )


def response(
    gram: Tensor, share: Float[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user"], Float[Tensor, "*batch user user"], Float[Tensor, "*batch user"]]:
    """`A_kk`, `|A_kl|^2` and `e_k`: the only place where a matrix is inverted."""
    one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
    matrix = torch.linalg.solve(one + gram * share[..., None, :], gram)
    own = matrix.diagonal(dim1=-2, dim2=-1).real
    return own, matrix.real.square() + matrix.imag.square(), 1 - share * own


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """The quotient, 0 where the divisor is not positive."""
    some = below > 0
    return torch.where(
        some, above / torch.where(some, below, torch.ones_like(below)), torch.zeros_like(above)
    )


def _log(value: Tensor, least: float, most: float) -> Tensor:
    """Logarithm, clipped; its lower end where the value is not positive."""
    return torch.log(value.clamp_min(_TINY**2)).clamp(least, most)


def outlook(links: Uplink, share: Float[Tensor, "*batch user"], respond: Response = response) -> Outlook:
    """Features and first-order model at the shares.

    With more power for a user, users above their minimum rates lose rate, and those at them are to be given power. At
    an optimum, what it brings is the same for all users above their minimum rates, per unit of power spent,

        price_k = (a_k R'_k (1 - e_k) - sum_(l free) T_lk a_l R'_l) / (q_k + sum_(l held) T_lk q_l / (1 - e_l)),

    where what users at their minimum rates do to each other is left out. With its mean `mu` over the users above, the
    relative change that a Newton step for one user alone asks for is `change_k = (price_k / mu - 1) / (1 - e_k)`.
    A step aims at no more than 3 or, should that be more, at what at most doubles what the others hear: where gains
    differ by orders of magnitude, so do the shares of users who harm others and of those who do not.
    Features, in the order of `FEATURES`: `ln(q_k K) / 2`, `change / 2`, `4 change / (1 + 4 |change|)`,
    `ln(1 + SINR) / 3`, `e`, `ln(q / needed)` up to 3, `R' - 1`, the part of the price that a user pays for the others,
    `sum_l T_kl`, `ln(a / mean a) / 2`, half the logarithm of the gain that its beam gives up to avoid the others,
    whether its share is below what it needs.
    """
    own, power, error = respond(links.gram, share)
    served, count = links.served, links.served.sum(-1, keepdim=True).to(share.dtype)
    error = error.clamp(_TINY, 1.0)
    coupled = power * share[..., :, None] * share[..., None, :] / error[..., :, None]
    coupled = coupled - torch.diag_embed(coupled.diagonal(dim1=-2, dim2=-1))
    missing = error.square()
    steep = links.back_off * missing / torch.sqrt((1 - missing).clamp_min(_TINY))
    slope = (1 - steep).clamp_min(_LEAST_SLOPE)
    needed = links.target * (_ratio(torch.ones_like(own), own) - share).clamp_min(0)
    held = (
        needed - share >= -_TINY * share
    )  # written so that constants of single precision, as ONNX has, serve
    zero = torch.zeros_like(share)
    worth = links.weight * slope
    given = torch.maximum(share, needed) / (1 - error).clamp_min(_TINY)  # per relative rise of an SINR
    charge = torch.stack([torch.where(held, zero, worth), torch.where(held, given, zero)], dim=-1)
    lost, raised = (coupled.mT @ charge).unbind(-1)
    gained, cost = worth * (1 - error), share + raised
    level = _price(gained - lost, cost, served & ~held, served)
    raw = _ratio(gained - lost, level * cost) - 1
    most = (_HARM / coupled.sum(-2).clamp_min(_TINY)).clamp(_FAR, _LEAP)
    aim = torch.minimum((raw / (1 - error).clamp_min(_TINY)).clamp_min(-_FAR), most)
    change = aim.clamp(max=_FAR)
    columns = (
        _log(share * count, -4.0, 4.0) / 2,
        change / 2,
        4 * change / (1 + 4 * change.abs()),
        -torch.log(error) / 3,
        error,
        _log(_ratio(share, needed) + (needed <= 0) * 1e9, 0.0, 3.0),
        slope - 1,
        1 - (_ratio(gained - lost, gained) * _ratio(share, cost)).clamp_min(-1.0),
        coupled.sum(-1),
        _log(links.weight, -3.0, 3.0) / 2,
        _log(_ratio(links.gain * error, own), 0.0, 4.0) / 2,
        held.to(share.dtype),
    )
    node = torch.where(served[..., None], torch.stack(columns, dim=-1), zero[..., None])
    slope = torch.where(served, -level * cost * raw, zero)
    scale = torch.where(slope != 0, -aim / torch.where(slope != 0, slope, torch.ones_like(slope)), zero)
    return Outlook(node=node, coupled=coupled, slope=slope, scale=scale, needed=needed)


def messages(
    node: Float[Tensor, "*batch user feature"],
    coupled: Float[Tensor, "*batch user user"],
    served: Bool[Tensor, "*batch user"],
) -> Float[Tensor, "*batch user input"]:
    """A user's features, their mean over the users served, `T m` and `T^T m` of the features sent."""
    count = served.sum(-1).to(node.dtype).clamp_min(1)
    mean = (node.sum(-2) / count[..., None])[..., None, :].expand_as(node)
    sent = node[..., _SENT]
    return torch.cat([node, mean, coupled @ sent, coupled.mT @ sent], dim=-1)


def _price(worth: Tensor, cost: Tensor, free: Tensor, served: Tensor) -> Float[Tensor, "*batch 1"]:
    """`mu`: mean price of power over the users whose minimum rate does not bind; over all if there are none."""
    among = (free | (served & ~free.any(-1, keepdim=True))).to(cost.dtype)
    mean = (worth * among).sum(-1, keepdim=True) / (cost * among).sum(-1, keepdim=True).clamp_min(_TINY)
    return mean.clamp_min(_TINY)


def growth(x: Tensor) -> Tensor:
    """What a share is multiplied with at a relative change `x`: `1 + x`, below 0 `exp(x + 2 x^3)`.

    That is within 0.05 of `1 + x` down to -1, and positive. It falls no further from -2.5 on.
    """
    fall = x.clamp(-_FALL, 0.0)
    return torch.where(x > 0, 1 + x, torch.exp(fall + 2 * fall**3))


def settled(
    wanted: Float[Tensor, "*batch user"],
    needed: Float[Tensor, "*batch user"],
    served: Bool[Tensor, "*batch user"],
) -> Float[Tensor, "*batch user"]:
    """Shares near `max(s wanted, needed)`, of total 1: the users above what they need keep a tenth in any case."""
    wanted = torch.where(served, wanted, torch.zeros_like(wanted))
    wanted = wanted / wanted.sum(-1, keepdim=True).clamp_min(1e-30)
    scale = torch.ones_like(wanted[..., :1])
    for _ in range(_PASSES):
        held = needed >= scale * wanted
        free = torch.where(held, torch.zeros_like(wanted), wanted).sum(-1, keepdim=True)
        left = 1 - torch.where(held, needed, torch.zeros_like(needed)).sum(-1, keepdim=True)
        scale = _ratio(left.clamp_min(_LEAST_LEFT), free)
    share = torch.maximum(scale * wanted, needed)
    return share / share.sum(-1, keepdim=True).clamp_min(1e-30)


def layer_program(links: Uplink, share: Float[Tensor, "*batch user"], known: Outlook) -> ConstrainedProgram:
    """What a layer of `UPGDNet` solves, with two variables of each user.

    The first is the relative change of its share (see `growth`). The objective is the Lagrangian of the weighted sum
    rate at the present price of power, to first order. Beams are held fixed: with them, minimum rates are bounds on
    the shares. The second is the share after the projection onto these bounds and the budget, `settled`: the next
    layer begins there, while `restored_power`, which knows the bounds exactly, takes what the first one says.
    """

    def project(x: Tensor) -> Tensor:
        change = x[..., 0]
        return torch.stack([change, settled(share * growth(change), known.needed, links.served)], dim=-1)

    zero = torch.zeros_like(share)
    slope = torch.stack([known.slope, zero], dim=-1)
    return ConstrainedProgram(
        start=torch.stack([zero, zero], dim=-1),
        objective=lambda x: (known.slope * x[..., 0]).sum(-1),
        projections=(project,),
        coupled=lambda x: {"min_rate": known.needed - share * growth(x[..., 0])},
        features=lambda _: (known.node, known.coupled, links.served, known.scale),
        active=links.served,
        slope=lambda _: slope,
    )
