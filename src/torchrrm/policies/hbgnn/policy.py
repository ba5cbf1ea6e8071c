"""HBGNN for any number of users and stations, with one set of weights: it scores edges."""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torchrrm.nn import BipartiteLayer, EdgeNet, edge_weight
from torchrrm.policies.hbgnn.core import (
    EDGE_FEATURES,
    NOT_REACHABLE,
    STATION_FEATURES,
    USER_FEATURES,
    AssociationScores,
    Radio,
    Stage,
    equal_reach,
    first_matching,
    outlook,
    power_steps,
    radio,
    settled,
    soft_matching,
)
from torchrrm.policies.hbgnn.decisions import Head
from torchrrm.policies.hbgnn.scored import ScoredAssociation
from torchrrm.problems.association import (
    ProportionalFairAssociation,
    SumRateAssociation,
)

__all__ = ["HBGNN"]

_PROBLEMS = {"association": SumRateAssociation, "fair-association": ProportionalFairAssociation}


class HBGNN(ScoredAssociation):
    """Heterogeneous bipartite graph network of [Zhang2022HBGNN] that scores edges: who serves whom, how loud.

    Two layers of first- and second-order aggregation (`torchrrm.nn.BipartiteLayer`). What enters and what they
    decide is relative, so that one set of weights serves networks of all sizes; the paper's network, whose inputs are
    rows of gains of fixed length, is `LiteralHBGNN`. Before each layer and after the last a small net scores each pair
    of user and station; the scores are balanced to a soft matching, under which powers take a few steps of WMMSE,
    from which the next layer sees rates, prices of interference and who is matched.

    Args:
        problem: what it is trained for, `association` or `fair-association`.
        width: of users' and stations' states.
        heads: weights of an edge in a layer.
        hidden: width of the nets of edges.
        layers: how many.
        steps: of powers after each matching.
        head: how `relax` makes probabilities, `softmax` or `gumbel`.
    """

    def __init__(
        self,
        problem: str = "association",
        *,
        width: int = 128,
        heads: int = 4,
        hidden: int = 12,
        layers: int = 2,
        steps: int = 4,
        head: Head = "softmax",
    ):
        super().__init__()
        if problem not in _PROBLEMS:
            raise ValueError(f"problem: must be one of {', '.join(_PROBLEMS)}, received {problem!r}")
        if head not in ("softmax", "gumbel"):
            raise ValueError(f"head: must be softmax or gumbel, received {head!r}")
        self._serves = problem
        self.width, self.heads, self.hidden, self.steps = width, heads, hidden, steps
        self.head: Head = head
        states = [0, *[width] * layers]
        sizes = [(s + USER_FEATURES, s + STATION_FEATURES) for s in states]
        self.layers = nn.ModuleList(BipartiteLayer(*s, width=width, heads=heads) for s in sizes[:-1])
        self.edges = nn.ModuleList(
            EdgeNet(EDGE_FEATURES, *s, hidden=hidden, outputs=1 + heads) for s in sizes[:-1]
        )
        self.edges.append(EdgeNet(EDGE_FEATURES, *sizes[-1], hidden=hidden))
        self.choice = EdgeNet(EDGE_FEATURES, *sizes[-1], hidden=hidden)
        self.loudness = nn.ModuleList(nn.Linear(s[1], 1) for s in sizes)
        self.greed = nn.Parameter(torch.full((layers + 1,), 4.0))
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.stride = nn.Parameter(torch.full((layers + 1, steps), 2.0))
        for net in self.loudness:
            nn.init.zeros_(cast(nn.Linear, net).weight)
            nn.init.zeros_(cast(nn.Linear, net).bias)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "problem": self._serves,
            "width": self.width,
            "heads": self.heads,
            "hidden": self.hidden,
            "layers": len(self.layers),
            "steps": self.steps,
            "head": self.head,
        }

    @property
    def last_stage(self) -> tuple[str, ...]:
        """How the names of the parameters behind the last layer begin: those that specialisation moves."""
        last = len(self.layers)
        return ("choice", f"edges.{last}", f"loudness.{last}", "greed", "sharpness", "stride")

    @property
    def problem(self) -> SumRateAssociation | ProportionalFairAssociation:
        """What the policy serves."""
        return _PROBLEMS[self._serves]()

    @property
    def core_sizes(self) -> dict[str, int | str]:
        """Axes of `core` that are not free: none."""
        return {}

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.association`."""
        return {"service": "association", "kind": self._serves}

    def core(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> AssociationScores:
        """The network: what `torchrrm.deploy` exports."""
        return self.unroll(relative_snr, active_user, active_bs)[0]

    def unroll(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> tuple[AssociationScores, list[Stage]]:
        """The scores, and what each stage ended with: for losses on all of them."""
        both = active_user[..., :, None] & active_bs[..., None, :]
        air = radio(torch.where(both, relative_snr, 0.0))
        start = equal_reach(air)
        stage = Stage(first_matching(air, start.log_share), start)
        user = torch.zeros_like(air.snr[..., :0])
        station = torch.zeros_like(air.snr.mT[..., :0])
        states, stages = (user, station), list[Stage]()
        for number, edges in enumerate(self.edges):
            seen = outlook(air, stage.powers, stage.matching)
            states = torch.cat([user, seen.user], -1), torch.cat([station, seen.station], -1)
            planes = edges(seen.edge, *states)  # [*batch 1 + head user bs]
            score = planes[..., 0, :, :] + self.greed[number] * (seen.rate - 1.0)
            stage = self._stage(number, air, stage, score, states[1])
            stages.append(stage)
            if number < len(self.layers):
                weight = edge_weight(planes[..., 1:, :, :], air.reach)
                user, station = self.layers[number](*states, weight)
        return self._choose(air, stage, states), stages

    def _stage(self, number: int, air: Radio, stage: Stage, score: Tensor, station: Tensor) -> Stage:
        matching = soft_matching(score, air.reach)
        log_share = stage.powers.log_share + self.loudness[number](station)[..., 0]
        return Stage(matching, power_steps(air, matching.weight, log_share, self.stride[number]))

    def _choose(self, air: Radio, stage: Stage, states: tuple[Tensor, Tensor]) -> AssociationScores:
        seen = outlook(air, stage.powers, stage.matching)
        score = self.choice(seen.edge, *states)[..., 0, :, :]
        score = score + self.sharpness * settled(air, stage.matching)
        share = torch.where(air.audible, torch.exp(stage.powers.log_share), 0.0)
        return AssociationScores(score=torch.where(air.reach, score, NOT_REACHABLE), share=share)
