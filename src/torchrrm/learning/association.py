"""Learning to associate: supervised by labels, unsupervised by the relaxed rate, or by both [Zhang2022HBGNN]."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from torchrrm.policies.hbgnn import AssociationScores, temperature_of
from torchrrm.policies.hbgnn.decisions import Head, log_probability, relaxed
from torchrrm.problems.association import (
    AssociationAction,
    CellInstance,
    RelaxedAssociation,
    harden,
    in_reach,
    one_hot,
    reachable,
)
from torchrrm.problems.base import Problem
from torchrrm.records import index, tensor_record

__all__ = [
    "AssociationLoss",
    "AssociationTrainee",
    "LabelledCells",
    "LabelledSource",
    "SoftAssociation",
    "association_entropy",
    "label_entropy",
    "served_scale",
    "share_error",
]


@tensor_record
class LabelledCells:
    """A `CellInstance`, field by field, with an action that somebody found for it, for supervised learning.

    Attributes:
        station: label of each user, see `AssociationAction`.
        power_w: label of each station.
    """

    gain: Float[Tensor, "*batch user bs"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch bs"]
    bandwidth_hz: Float[Tensor, "*batch"]
    active_user: Bool[Tensor, "*batch user"]
    active_bs: Bool[Tensor, "*batch bs"]
    station: Int[Tensor, "*batch user"]
    power_w: Float[Tensor, "*batch bs"]

    @classmethod
    def of(cls, cells: CellInstance, label: AssociationAction) -> Self:
        """The instance with the label."""
        return cls(**vars(cells), **vars(label))

    @property
    def cells(self) -> CellInstance:
        """The instance."""
        names = ("gain", "noise_power_w", "max_power_w", "bandwidth_hz", "active_user", "active_bs")
        return CellInstance(**{name: getattr(self, name) for name in names})

    @property
    def label(self) -> AssociationAction:
        """The label."""
        return AssociationAction(station=self.station, power_w=self.power_w)


@dataclass(frozen=True)
class LabelledSource:
    """Samples of a set of labelled networks, drawn with replacement: what a `Task` of labels samples from."""

    labelled: LabelledCells

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> LabelledCells:
        count = self.labelled.gain.shape[0]
        return index(self.labelled, torch.randint(count, (batch_size,), generator=generator))


@dataclass(frozen=True)
class SoftAssociation:
    """What a policy says in training.

    Attributes:
        relaxed: probabilities at the temperature, and powers in W.
        log_probability: logarithms of the probabilities without a temperature; 0 out of reach.
        temperature: of the softmax.
    """

    relaxed: RelaxedAssociation
    log_probability: Float[Tensor, "*batch user bs"]
    temperature: Float[Tensor, ""]


class AssociationTrainee(nn.Module):
    """A policy as it is trained: it answers with probabilities, at a temperature that follows Theorem 5.

    The temperature is a buffer, so that it is carried from step to step and kept in checkpoints. In training mode each
    call sets it by `temperature_of` the largest probability that the policy gave, before any temperature, in the
    average user. Deviation: the theorem takes the largest of all users and stations, which among thousands is 1 from
    the first steps on, and the temperature at its least.

    Args:
        policy: scores stations; its parameters are found under `policy.`. One whose attribute `head` is `gumbel`
            decides straight through instead.
        only: what is learned: both parts; the association alone, at full power; the powers alone, for the label's
            association. Figs. 6 to 8 of [Zhang2022HBGNN] show the three.
        temperature: of the first step.
        generator: of a Gumbel head's noise: that of the training, so that resumed runs are exact. Without, a Gumbel
            head does not explore.
    """

    temperature: Tensor

    def __init__(
        self,
        policy: nn.Module,
        *,
        only: Literal["both", "association", "power"] = "both",
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if only not in ("both", "association", "power"):
            raise ValueError(f"only: must be both, association or power, received {only!r}")
        self.policy, self.only, self.generator = policy, only, generator
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the policy and what is learned, which tell runs apart."""
        return {**dict(getattr(self.policy, "arguments", {})), "only": self.only}

    def forward(self, instance: CellInstance | LabelledCells) -> SoftAssociation:
        """Probabilities and powers of an instance, or of a labelled one, whose label is used where it is given."""
        cells = instance.cells if isinstance(instance, LabelledCells) else instance
        policy: Any = self.policy
        scores: AssociationScores = policy.score(cells)
        level = log_probability(scores, cells)
        # A copy: the buffer moves within this step, and its gradient does not pass through it.
        temperature = self.temperature.clone()
        head: Head = getattr(policy, "head", "softmax")
        soft = relaxed(scores, cells, head, temperature=temperature, generator=self.generator)
        if self.training:
            self._cool(level, cells)
        return SoftAssociation(self._restrict(soft, instance, cells), level, temperature)

    @torch.no_grad()
    def _cool(self, level: Float[Tensor, "*batch user bs"], cells: CellInstance) -> None:
        heard = in_reach(cells)
        surest = torch.where(reachable(cells), level, -torch.inf).amax(-1)[heard]
        if surest.numel():
            self.temperature.copy_(temperature_of(torch.exp(surest).mean()))

    def _restrict(
        self, soft: RelaxedAssociation, instance: CellInstance | LabelledCells, cells: CellInstance
    ) -> RelaxedAssociation:
        if self.only == "association":
            return RelaxedAssociation(probability=soft.probability, power_w=cells.max_power_w)
        if self.only == "power":
            if not isinstance(instance, LabelledCells):
                raise ValueError("only: must be both or association without labels, received power")
            chosen = one_hot(instance.station, cells.gain.shape[-1], dtype=cells.gain.dtype)
            return RelaxedAssociation(probability=chosen, power_w=soft.power_w)
        return soft


def served_scale(cells: CellInstance) -> Float[Tensor, "*batch"]:
    """How many users are in reach, at least 1: the sum of rates over it is a mean rate."""
    return in_reach(cells).sum(-1).clamp_min(1).to(cells.gain.dtype)


def label_entropy(
    log_probability: Float[Tensor, "*batch user bs"], labelled: LabelledCells
) -> Float[Tensor, "*batch"]:
    """Cross-entropy of the labels, `-sum_i ln x_i,s(i)` over the users in reach, by how many they are.

    The first term of Eq. (7) of [Zhang2022HBGNN].
    """
    cells = labelled.cells
    known = reachable(cells) & one_hot(labelled.station, cells.gain.shape[-1]).bool()
    return -torch.where(known, log_probability, 0.0).sum((-2, -1)) / served_scale(cells)


def share_error(power_w: Float[Tensor, "*batch bs"], labelled: LabelledCells) -> Float[Tensor, "*batch"]:
    """Mean squared error of the stations' shares of their limits: the second term of Eq. (7) of [Zhang2022HBGNN]."""
    here = labelled.active_bs
    limit = torch.where(here, labelled.max_power_w, 1.0)
    square = torch.where(here, ((power_w - labelled.power_w) / limit).square(), 0.0)
    return square.sum(-1) / here.sum(-1).clamp_min(1)


def association_entropy(
    log_probability: Float[Tensor, "*batch user bs"], cells: CellInstance
) -> Float[Tensor, "*batch"]:
    """Entropy `-sum_j e_ij ln e_ij` of the users' probabilities, in nats, in the mean over those in reach.

    `L_entropy` of [Zhang2022HBGNN], there a sum. As printed its `e` is normalised over a set of another index than the
    one summed; here over stations, as the probabilities of Eq. (10) are.
    """
    level = torch.where(reachable(cells), log_probability, 0.0)
    chance = torch.where(reachable(cells), torch.exp(level), 0.0)
    return -(chance * level).sum((-2, -1)) / served_scale(cells)


@dataclass(frozen=True)
class AssociationLoss:
    """`w_s (cross-entropy + squared error) - w_r R - w_e H`: the losses of GRL and of SRL of [Zhang2022HBGNN].

    GRL, offline, is `L = w_s L_s - w_r R` with weights 10 and 1, the defaults. SRL, online, is
    `L_SRL = -w_r R - w_e H`: `AssociationLoss.specialising()`. Its entropy `H` is positive and is subtracted, so that
    descent raises it, against associations that are too sure too early.

    R is `problem.relaxed` at the temperature of the trainee, for any problem that has one; labels and entropy are
    judged without a temperature, where logarithms have slopes everywhere. The paper writes sums over users. Here all
    but the squared error, a mean in the paper too, are divided by how many users are in reach, so that networks of all
    sizes weigh the same at one learning rate. R is divided by `scale`: for the sum rate that same number.

    Attributes:
        supervised: `w_s`; 0 needs no labels.
        rate: `w_r`, per bit/s/Hz.
        entropy: `w_e`.
        scale: what R is divided by; for `ProportionalFairAssociation`, a mean by itself, one that is 1.
    """

    supervised: float = 10.0
    rate: float = 1.0
    entropy: float = 0.0
    scale: Callable[[CellInstance], Float[Tensor, "*batch"]] = served_scale

    def __post_init__(self) -> None:
        for name in ("supervised", "rate", "entropy"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be at least 0 and finite, received {getattr(self, name)}")

    @classmethod
    def specialising(cls, entropy: float = 1e-2) -> Self:
        """The loss of SRL: no labels, and the paper's weight of the entropy."""
        return cls(supervised=0.0, entropy=entropy)

    def __call__(
        self,
        problem: Problem[Any, Any],
        instance: CellInstance | LabelledCells,
        action: SoftAssociation,
        /,
    ) -> Float[Tensor, ""]:
        cells = _cells(instance)
        value: Any = problem
        total = -self.rate * value.relaxed(cells, action.relaxed) / self.scale(cells)
        if self.entropy:
            total = total - self.entropy * association_entropy(action.log_probability, cells)
        if self.supervised:
            if not isinstance(instance, LabelledCells):
                raise ValueError(f"supervised: must be 0 without labels, received {self.supervised}")
            error = label_entropy(action.log_probability, instance)
            total = total + self.supervised * (error + share_error(action.relaxed.power_w, instance))
        return total.mean()

    def measures(
        self,
        problem: Problem[Any, Any],
        instance: CellInstance | LabelledCells,
        action: SoftAssociation,
        /,
    ) -> Mapping[str, Float[Tensor, ""]]:
        """Of the batch: objectives relaxed and hard, what relaxing errs by, temperature, and where labels are, theirs.

        `relaxation_error` is the mean of `(relaxed - hard) / hard`, hard being `problem.evaluate` of the likeliest
        stations; `best_objective` is the highest hard one in the batch.
        """
        cells = _cells(instance)
        value: Any = problem
        soft = value.relaxed(cells, action.relaxed)
        hard = problem.evaluate(cells, harden(action.relaxed)).objective
        error = (soft - hard) / torch.where(hard > 0, hard, 1.0)
        found = {
            "relaxed_objective": soft.mean(),
            "objective": hard.mean(),
            "best_objective": hard.amax(),
            "relaxation_error": error.mean(),
            "temperature": action.temperature,
        }
        if isinstance(instance, LabelledCells):
            found["label_objective"] = problem.evaluate(cells, instance.label).objective.mean()
        return found


def _cells(instance: CellInstance | LabelledCells) -> CellInstance:
    return instance.cells if isinstance(instance, LabelledCells) else instance
