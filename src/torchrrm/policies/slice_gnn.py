"""Learned bandwidth allocation within a slice: feasible by construction, for any number of users."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.kernels import slice_features
from torchrrm.nn import MLP, masked_max, masked_mean, masked_softmax
from torchrrm.policies.base import Policy
from torchrrm.problems.slicing import KINDS, QoS, SliceAction, SliceBandwidth, SliceInstance, SliceSchedule
from torchrrm.problems.slicing.schedule import arrays, is_compilable
from torchrrm.records import tensor_record, to

__all__ = ["FEATURES", "PreparedSlice", "SliceGNN"]

_WIDTHS = {"raw": (32, 64, 64, 32), "log": (32, 64, 64, 32), "marginal": (32, 32, 32)}


@tensor_record
class PreparedSlice(SliceSchedule):
    """A scheduled slice with the features of each user that a policy reads."""

    features: Float[Tensor, "*batch user feature"]


def raw_features(problem: SliceBandwidth, schedule: SliceSchedule) -> Float[Tensor, "*batch user 2"]:
    """Minimum bandwidth and surplus as parts of the slice, the features of Eq. (12) of [Hao2024]."""
    least = schedule.minimum_bandwidth_hz / schedule.bandwidth_hz[..., None]
    surplus = schedule.surplus_hz / schedule.bandwidth_hz
    return torch.stack([least, surplus[..., None].expand_as(least)], dim=-1)


def log_features(problem: SliceBandwidth, schedule: SliceSchedule) -> Float[Tensor, "*batch user 2"]:
    """The same in natural logarithm, which tells good channels apart that differ by orders of magnitude."""
    return torch.log(torch.clamp(raw_features(problem, schedule), min=1e-6))


def marginal_features(problem: SliceBandwidth, schedule: SliceSchedule) -> Float[Tensor, "*batch user 13"]:
    """What more bandwidth is worth to each user, in the units of its slice; nothing names the kind of service.

    At each of the points `w_min + f` with `f` a thousandth, a quarter, one and four times the equal share of the
    surplus `S / K`, and all of it: the mean slope from `w_min` to there in bit/s/Hz, as its logarithm and as its
    logarithm less that of the best user. Besides, whether the user would outbid one that has it all: the
    logarithm of its first slope less that of the best mean slope over the whole surplus; `ln(w_min K / S)`; and
    `ln K`. In double precision, since the first slope is a small difference of rates; compiled on a CPU when no
    gradient is asked for.
    """
    dtype = schedule.cn0_hz.dtype
    if is_compilable(schedule):
        return _compiled_marginal_features(problem, schedule).to(dtype)
    return _marginal_features(problem, to(schedule, dtype=torch.float64)).to(dtype)


def _compiled_marginal_features(problem: SliceBandwidth, schedule: SliceSchedule) -> Tensor:
    cn0, eavesdropper, _, limit, served, law = arrays(problem, schedule)
    least = schedule.minimum_bandwidth_hz.detach().double().reshape(cn0.shape).contiguous().numpy()
    surplus = schedule.surplus_hz.detach().double().reshape(limit.shape).contiguous().numpy()
    features = slice_features.marginal(cn0, eavesdropper, limit, served, least, surplus, law)
    return torch.from_numpy(features).reshape(*schedule.cn0_hz.shape, features.shape[-1])


def _marginal_features(problem: SliceBandwidth, schedule: SliceSchedule) -> Tensor:
    """The torch form of `torchrrm.kernels.slice_features.marginal`."""
    active, least = schedule.active, schedule.minimum_bandwidth_hz
    users = torch.clamp(active.sum(-1, keepdim=True), min=1)
    surplus = torch.clamp(schedule.surplus_hz, min=1e-9 * schedule.bandwidth_hz)[..., None]
    width = torch.maximum(least, 1e-6 * schedule.bandwidth_hz[..., None])
    base = problem.utility(schedule, width)
    columns = []
    for share in slice_features.SHARES:
        extra = torch.minimum(share * surplus / users, surplus)
        gain = (problem.utility(schedule, width + extra) - base) / extra
        columns.append(torch.log(torch.clamp(gain, min=1e-4)))
    own = torch.where(active[..., None], torch.stack(columns, dim=-1), 0.0)  # [*batch, user, 5]
    best = masked_max(own, active)[..., None, :]
    contest = own[..., 0] - best[..., -1]
    context = [torch.log(width * users / surplus), torch.log(users.to(own)).expand_as(width)]
    return torch.cat([own, own - best, torch.stack([contest, *context], dim=-1)], dim=-1)


FEATURES: dict[str, tuple[int, Callable[[SliceBandwidth, SliceSchedule], Tensor]]] = {
    "raw": (2, raw_features),
    "log": (2, log_features),
    "marginal": (13, marginal_features),
}


class SliceGNN(Policy):
    """Graph network of scheduled users: message passing, softmax, readout (Algorithm 2 of [Hao2024]).

    Each user's score `x_k` is a network of its features; `y = softmax(x)` over the scheduled users; `w_k =
    w_min,k + y_k S` with the surplus `S`, so that the slice is spent and every scheduled user has its minimum
    rate, whatever the weights.

    With the features of the paper (`raw`, or `log` beside it) users meet only in the softmax. With `marginal`
    features, which say what bandwidth is worth and not under which kind of service, one set of weights serves
    all six kinds; each user's network then also reads the mean and the largest of a first embedding over all
    users.

    Args:
        problem: the kind of slice, or its name in `KINDS`.
        features: `raw`, `log` or `marginal`.
        widths: hidden layers of the scoring network. By default the paper's 32, 64, 64, 32, and 32, 32, 32
            for `marginal`.
    """

    any_precision = True

    def __init__(
        self, problem: SliceBandwidth | str, features: str = "raw", widths: Sequence[int] | None = None
    ):
        super().__init__()
        if features not in FEATURES:
            raise ValueError(f"features: must be one of {sorted(FEATURES)}, received {features!r}")
        if isinstance(problem, str) and problem not in KINDS:
            raise ValueError(f"problem: must be one of {sorted(KINDS)}, received {problem!r}")
        self.problem = KINDS[problem] if isinstance(problem, str) else problem
        self.features = features
        self.widths = tuple(widths or _WIDTHS[features])
        inputs = FEATURES[features][0]
        self.embedding = MLP((inputs, *self.widths[:2])) if features == "marginal" else None
        self.score = MLP((inputs if self.embedding is None else inputs + 2 * self.widths[1], *self.widths, 1))

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {"problem": self.problem.name, "features": self.features, "widths": list(self.widths)}

    def serving(self, problem: SliceBandwidth) -> "SliceGNN":
        """The same network, its parameters shared, for another kind of slice."""
        other = copy.copy(self)
        other.problem = problem
        return other

    def prepare(self, instance: SliceInstance) -> PreparedSlice:
        """Schedule the instance and compute what the network reads; a prepared one is returned as it is."""
        if isinstance(instance, PreparedSlice):
            return instance
        schedule = self.problem.schedule(instance)
        return PreparedSlice(**vars(schedule), features=FEATURES[self.features][1](self.problem, schedule))

    def split(
        self, features: Float[Tensor, "*batch user feature"], active: Bool[Tensor, "*batch user"]
    ) -> Float[Tensor, "*batch user"]:
        """Share of the surplus of each user; sums to 1 over active users.

        The network computes in the precision of its parameters, all around it in that of the instance: schedules of
        rounded slices may differ.
        """
        given = features.dtype
        features = features.to(self.precision)
        if self.embedding is not None:
            embedded = self.embedding(features)
            pooled = torch.cat([masked_mean(embedded, active), masked_max(embedded, active)], dim=-1)
            pooled = pooled[..., None, :].expand(*features.shape[:-1], pooled.shape[-1])
            features = torch.cat([features, pooled], dim=-1)
        return masked_softmax(self.score(features)[..., 0].to(given), active)

    def forward(self, instance: SliceInstance) -> SliceAction:
        prepared = self.prepare(instance)
        return self.core(
            prepared.features, prepared.minimum_bandwidth_hz, prepared.surplus_hz, prepared.active
        )

    def core(
        self,
        features: Float[Tensor, "*batch user feature"],
        minimum_bandwidth_hz: Float[Tensor, "*batch user"],
        surplus_hz: Float[Tensor, "*batch"],
        active: Bool[Tensor, "*batch user"],
    ) -> SliceAction:
        """The network and its readout: what `torchrrm.deploy` exports."""
        width = minimum_bandwidth_hz + self.split(features, active) * surplus_hz[..., None]
        return SliceAction(bandwidth_hz=torch.where(active, width, torch.zeros_like(width)))

    @property
    def core_sizes(self) -> dict[str, int]:
        """Sizes of the axes of `core` that are fixed."""
        return {"feature": FEATURES[self.features][0]}

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.slicing`."""
        exponent, loss, leakage, gain, weight = self.problem.law
        return {
            "service": "slicing",
            "kind": self.problem.name,
            "secrecy": self.problem.qos is QoS.SECRECY,
            "law": [exponent, loss, leakage, gain.tolist(), weight.tolist()],
            "features": self.features,
        }
