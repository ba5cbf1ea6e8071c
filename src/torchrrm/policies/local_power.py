"""Distributed power control: every user runs the same small network on what it measures or is told."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from torchrrm.nn import MLP
from torchrrm.policies.base import Policy
from torchrrm.problems.base import Reads
from torchrrm.problems.links import (
    ErgodicInstance,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
    relative_gain,
)
from torchrrm.records import tensor_record

__all__ = ["NEIGHBOURS", "LocalMemory", "LocalPower"]

NEIGHBOURS = 5
"""Most interferers, and most affected links, that a link listens to."""
_MEASUREMENTS = 41
_WEIGHTS = 1 + 2 * NEIGHBOURS
_HEARD = slice(4, 15)
_LEVEL = 5.0  # log2(1 + SNR) at 15 dB: levels and rates are then of order 1
_LEAST_WEIGHT = 1e-3


@tensor_record
class LocalMemory:
    """What each link keeps of the last slot; ratios are to the noise, numbers of links to index with.

    A link names fewer than five neighbours by its own number in their place.

    Attributes:
        share: its power over its limit.
        rate_bps_hz: its rate.
        snr: its SNR at full power, the direct channel.
        disturbance: interference plus noise at its receiver, over the noise.
        interferer: the links that it heard strongest, of those above the threshold: `I`.
        affected: the links that heard it strongest, of those above the threshold, in the last slot in which
            there were any: `O`.
        sent: what these received from it in that slot, over the noise.
        heard: what it measured of interference in that slot: columns 4 to 14 of the measurements.
    """

    share: Float[Tensor, "*batch tx"]
    rate_bps_hz: Float[Tensor, "*batch tx"]
    snr: Float[Tensor, "*batch tx"]
    disturbance: Float[Tensor, "*batch tx"]
    interferer: Int[Tensor, "*batch tx neighbour"]
    affected: Int[Tensor, "*batch tx neighbour"]
    sent: Float[Tensor, "*batch tx neighbour"]
    heard: Float[Tensor, "*batch tx heard"]


class LocalPower(Policy):
    """Distributed policy of Section IV of [Behmandpoor2024], after [Nasir2019]: 41 local measurements a link.

    At the beginning of slot `t` the links still send with the powers of slot `t - 1` over the channels of slot
    `t`; each measures, is told some numbers by its neighbours, and sets its power by the network that all links
    share. `I` and `O` are the (at most five) links that disturb it, or that it disturbs, by more than
    `threshold` times the noise. Measurements of link `i`:

    ======== ================================================================================ ======
    columns  what                                                                             from
    ======== ================================================================================ ======
    0        own power `p_i^{t-1}` over its limit                                             own
    1        own rate `R_i^{t-1}`                                                             own
    2, 3     direct channel `g_ii^t`, `g_ii^{t-1}` at full power                              own
    4        interference and noise `sum_j g_ij^t p_j^{t-1} + n`                              own
    5 to 9   its strongest parts `g_ij^t p_j^{t-1}`, `j` in `I_i^{t-1}`                       own
    10 to 14 rates `R_j^{t-1}` of these                                                       told
    15 to 25 columns 4 to 14 of slot `t - 1`                                                  memory
    26 to 30 its part `g_ji^{t'} p_i^{t'}` of the interference and noise at `j` in slot `t-1` told
    31 to 35 direct channels `g_jj^{t-1}` of these `j` in `O_i^{t'}`                          told
    36 to 40 rates `R_j^{t-1}` of these                                                       told
    41       own weight (`weighted`)                                                          own
    42 to 46 weights of `I` over its own (`weighted`)                                         told
    47 to 51 weights of `O` over its own (`weighted`)                                         told
    ======== ================================================================================ ======

    Powers are over the noise and enter as `log2(1 + x) / 5`, rates over 5 bit/s/Hz, shares `x` of interference as
    `log2(1 + x)`, weights by their natural logarithm; neighbours that are missing, or not active, count as 0.

    Deviations: the paper prints `|h_ij^{t-1}|^2` as the direct channel of an affected neighbour, which is
    `|h_jj|^2` in [Nasir2019]; `t'`, "the last time when user i was active", is the last slot in which anybody
    heard it, since a sigmoid never sends with no power at all.

    As an allocator of single slots it holds the channel for `rounds` slots, after one slot at full power: in each
    round everybody measures and decides anew, and the powers of the last round are the action.

    Args:
        rounds: slots for which a channel is held.
        weighted: read the weights of the links, so that a control loop can move them.
        threshold: `eta`, least ratio of a neighbour's interference to the noise.
        widths: of the hidden layers.
    """

    def __init__(
        self,
        *,
        rounds: int = 6,
        weighted: bool = False,
        threshold: float = 1.0,
        widths: Sequence[int] = (100, 50),
    ):
        super().__init__()
        if rounds < 1:
            raise ValueError(f"rounds: must be at least 1, received {rounds}")
        if not 0 <= threshold < float("inf"):
            raise ValueError(f"threshold: must be at least 0 and finite, received {threshold}")
        self.rounds, self.weighted, self.threshold = rounds, weighted, float(threshold)
        self.widths = tuple(widths)
        inputs = _MEASUREMENTS + (_WEIGHTS if weighted else 0)
        self.score = MLP([inputs, *self.widths, 1], batch_norm=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "rounds": self.rounds,
            "weighted": self.weighted,
            "threshold": self.threshold,
            "widths": list(self.widths),
        }

    @property
    def reads(self) -> Reads:
        """Return what the network reads besides channels."""
        return "weight" if self.weighted else "nothing"

    @property
    def problem(self) -> WeightedSumRate:
        """What the policy serves."""
        return WeightedSumRate()

    @property
    def most_messages(self) -> int:
        """Upper limit of the scalars that a link is told in a slot; see `messages`."""
        return NEIGHBOURS * (6 if self.weighted else 4)

    def forward(self, instance: LinkInstance) -> PowerAction:
        """Powers of the last round, in W."""
        return PowerAction(power_w=self.rollout(instance)[..., -1, :])

    @property
    def core(self) -> Callable[..., PowerAction]:
        """Return what `torchrrm.deploy` exports: all rounds, with or without an input for weights."""
        return self._of_weights if self.weighted else self._of_channels

    def _of_channels(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        return self._of_weights(relative_gain, torch.ones_like(max_power_w), max_power_w, active)

    def _of_weights(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],  # the weights
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        """Return the powers of the last round in W, decided with limits and noise of 1."""
        one = torch.ones_like(max_power_w)
        links = LinkInstance(
            gain=relative_gain, noise_power_w=one[..., 0], max_power_w=one, weight=condition, active=active
        )
        return PowerAction(power_w=self.forward(links).power_w * max_power_w)

    @property
    def core_sizes(self) -> dict[str, int | str]:
        """Axes of `core` that are not free: there are as many receivers as transmitters."""
        return {"rx": "tx"}

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.links`."""
        condition = "weight" if self.weighted else None
        return {"service": "links", "kind": "sum-rate", "condition": condition}

    def rollout(self, links: LinkInstance, rounds: int | None = None) -> Float[Tensor, "*batch round tx"]:
        """Powers of every round in W, on a channel that is held; the slot at full power before is not among them."""
        memory, powers = self.start(links), []
        for _ in range(rounds or self.rounds):
            power, memory = self._turn(links, memory)
            powers.append(power)
        return torch.stack(powers, dim=-2)

    def run(
        self, instance: ErgodicInstance, memory: LocalMemory | None = None
    ) -> tuple[Float[Tensor, "*batch slot tx"], LocalMemory]:
        """Powers of all slots in W, decided in the order of time, one slot of delay each, and the last memory.

        Without a memory the first slot is one at full power.
        """
        powers = []
        if memory is None:
            first = instance.slot(0)
            powers, memory = [first.max_power_w * first.active], self.start(first)
        for slot in range(len(powers), instance.gain.shape[-3]):
            power, memory = self._turn(instance.slot(slot), memory)
            powers.append(power)
        return torch.stack(powers, dim=-2), memory

    def start(self, instance: LinkInstance) -> LocalMemory:
        """Memory after a slot at full power, with nothing before it."""
        return self.observe(instance, instance.max_power_w, _silence(instance))

    def decide(self, links: LinkInstance, memory: LocalMemory) -> PowerAction:
        """The powers of a slot, from its measurements."""
        return PowerAction(power_w=self._power(links, self.measure(links, memory)))

    def observe(
        self, links: LinkInstance, power_w: Float[Tensor, "*batch tx"], memory: LocalMemory
    ) -> LocalMemory:
        """The memory after a slot in which these powers were sent."""
        return self._remember(links, power_w, memory, self.measure(links, memory))

    def measure(self, links: LinkInstance, memory: LocalMemory) -> Float[Tensor, "*batch tx measurement"]:
        """Measurements at the beginning of a slot, see `LocalPower`; 0 for links that are not active."""
        ratio = relative_gain(links)
        snr = ratio.diagonal(dim1=-2, dim2=-1)
        heard = _without_own(ratio * memory.share.unsqueeze(-2))  # [*batch rx tx]
        listens, told = _present(memory.interferer, links.active), _present(memory.affected, links.active)
        rate = memory.rate_bps_hz / _LEVEL
        parts = memory.sent / _at(memory.disturbance, memory.affected)
        columns = [
            torch.stack([memory.share, rate, _level(snr), _level(memory.snr)], dim=-1),
            _level(heard.sum(-1, keepdim=True)),
            _level(heard.gather(-1, memory.interferer)),
            _at(rate, memory.interferer) * listens,
            memory.heard,
            torch.log2(1.0 + parts) * told,
            _level(_at(memory.snr, memory.affected)) * told,
            _at(rate, memory.affected) * told,
        ]
        if self.weighted:
            weight = torch.log(torch.clamp(links.weight, min=_LEAST_WEIGHT))
            columns.append(weight[..., None])
            for neighbour, present in ((memory.interferer, listens), (memory.affected, told)):
                columns.append((_at(weight, neighbour) - weight[..., None]) * present)
        return torch.where(links.active[..., None], torch.cat(columns, dim=-1), 0.0)

    def messages(self, links: LinkInstance, memory: LocalMemory) -> Int[Tensor, "*batch tx"]:
        """Scalars that each link is told by its neighbours before it decides.

        One of each interferer (rate), three of each affected link (its share of the interference there, direct
        channel, rate), and one more of each (weight) if `weighted`.
        """
        own, more = links.active.to(torch.int64), int(self.weighted)
        listens = _present(memory.interferer, links.active).sum(-1)
        told = _present(memory.affected, links.active).sum(-1)
        return own * ((1 + more) * listens + (3 + more) * told)

    def _turn(self, links: LinkInstance, memory: LocalMemory) -> tuple[Tensor, LocalMemory]:
        """The powers of a slot in W and the memory after it, measuring once for both."""
        measured = self.measure(links, memory)
        power = self._power(links, measured)
        return power, self._remember(links, power, memory, measured)

    def _power(self, links: LinkInstance, measured: Tensor) -> Tensor:
        if self.training:
            # Statistics of the batch are those of the links that take part.
            score = measured.new_zeros(links.active.shape)
            score = score.masked_scatter(links.active, self.score(measured[links.active])[..., 0])
        else:
            score = self.score(measured)[..., 0]
        return torch.where(links.active, torch.sigmoid(score) * links.max_power_w, 0.0)

    def _remember(
        self, links: LinkInstance, power_w: Tensor, memory: LocalMemory, measured: Tensor
    ) -> LocalMemory:
        ratio = relative_gain(links)
        share = _share(links, power_w)
        received = ratio * share.unsqueeze(-2)
        heard = _without_own(received)  # [*batch rx tx]
        disturbance = 1.0 + heard.sum(-1)
        sinr = received.diagonal(dim1=-2, dim2=-1) / disturbance
        affected, sent = self._strongest(heard.transpose(-2, -1))
        anybody = (sent > 0).any(-1, keepdim=True)
        return LocalMemory(
            share=share,
            rate_bps_hz=torch.log1p(sinr) / math.log(2),
            snr=ratio.diagonal(dim1=-2, dim2=-1),
            disturbance=disturbance,
            interferer=self._strongest(heard)[0],
            affected=torch.where(anybody, affected, memory.affected),
            sent=torch.where(anybody, sent, memory.sent),
            heard=measured[..., _HEARD],
        )

    def _strongest(self, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the strongest entries above the threshold of each row, and these; else its own and 0."""
        above = torch.where(heard > self.threshold, heard, 0.0)
        # Columns of zeros make them enough, in a graph for any number of links; their numbers are not used.
        missing = NEIGHBOURS if torch.compiler.is_exporting() else max(0, NEIGHBOURS - heard.shape[-1])
        value, index = nn.functional.pad(above, (0, missing)).topk(NEIGHBOURS, dim=-1)
        return torch.where(value > 0, index, _own(heard)[:, None]), value


def _silence(links: LinkInstance) -> LocalMemory:
    """Nothing sent and nothing heard."""
    nothing = torch.zeros_like(links.max_power_w)
    nobody = _own(nothing)[:, None].expand(*nothing.shape, NEIGHBOURS)
    return LocalMemory(
        share=nothing,
        rate_bps_hz=nothing,
        snr=nothing,
        disturbance=nothing + 1.0,
        interferer=nobody,
        affected=nobody,
        sent=nothing.new_zeros(nobody.shape),
        heard=nothing.new_zeros(*nothing.shape, _HEARD.stop - _HEARD.start),
    )


def _share(links: LinkInstance, power_w: Tensor) -> Tensor:
    """Powers over their limits; 0 where inactive."""
    limit = torch.where(links.active, links.max_power_w, 1.0)
    return torch.where(links.active, power_w / limit, 0.0)


def _own(like: Tensor) -> Int[Tensor, "tx"]:
    return torch.arange(like.shape[-1], device=like.device)


def _without_own(received: Float[Tensor, "*batch rx tx"]) -> Float[Tensor, "*batch rx tx"]:
    own = torch.eye(received.shape[-1], dtype=torch.bool, device=received.device)
    return received.masked_fill(own, 0.0)


def _at(value: Float[Tensor, "*batch tx"], index: Int[Tensor, "*batch tx neighbour"]) -> Tensor:
    """The value of each neighbour, `[*batch tx neighbour]`."""
    return value.gather(-1, index.flatten(-2)).unflatten(-1, index.shape[-2:])


def _present(index: Int[Tensor, "*batch tx neighbour"], active: Bool[Tensor, "*batch tx"]) -> Tensor:
    """Where there is a neighbour, and it is active."""
    return (index != _own(active)[:, None]) & _at(active, index)


def _level(ratio: Tensor) -> Tensor:
    """`log2(1 + x) / 5` of a ratio to the noise."""
    return torch.log2(1.0 + ratio) / _LEVEL
