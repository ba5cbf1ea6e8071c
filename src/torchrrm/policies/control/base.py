"""What a control loop is."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.base import Allocator, DeclaresReads, Reads
from torchrrm.problems.links import (
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_signs
from torchrrm.records import is_compilable, tensor_record

__all__ = [
    "Controller",
    "EachSlot",
    "LinkAllocator",
    "Track",
    "compiled_rule",
    "reads_of",
    "require_demands",
    "require_reads",
]

LinkAllocator = Allocator[LinkInstance, PowerAction]
S = TypeVar("S")
_SUM_RATE = WeightedSumRate()
_ERGODIC = ErgodicPower()


def reads_of(allocator: Any) -> Reads:
    """Return what an allocator of links reads besides channels.

    It is what the allocator declares (`DeclaresReads`). Without a declaration its signature decides: one with an
    argument `priority` reads priorities, the others weights.
    """
    if isinstance(allocator, DeclaresReads):
        return allocator.reads
    function = allocator.forward if isinstance(allocator, torch.nn.Module) else allocator
    return "priority" if "priority" in inspect.signature(function).parameters else "weight"


def require_reads(allocator: Any, allowed: Collection[Reads], loop: str) -> Reads:
    """Return what an allocator reads, if a control loop can work with it.

    Raises:
        ValueError: if the loop gives it nothing that it reads, or if it is a loop itself.
    """
    name = type(allocator).__name__
    if isinstance(allocator, Controller | EachSlot):
        raise ValueError(f"allocator: must decide one slot under {loop}, received {name}, which decides many")
    reads = reads_of(allocator)
    if reads not in allowed:
        raise ValueError(
            f"allocator: must read {' or '.join(allowed)} under {loop}, received {name}, which reads {reads}"
        )
    return reads


class EachSlot:
    """The same allocator in every slot by itself, all slots at once: no memory, no long-term aim."""

    def __init__(self, allocator: LinkAllocator):
        require_reads(allocator, ("nothing", "weight", "priority"), "EachSlot")
        self.allocator = allocator
        usual = "policy" if isinstance(allocator, torch.nn.Module) else "solver"
        self.kind = getattr(allocator, "kind", usual)

    def __call__(self, instance: ErgodicInstance) -> ErgodicAction:
        slots = require_signs(require_record(instance, ErgodicInstance)).slots()
        return _ERGODIC.least_slack(instance, self.allocator(slots).power_w)


@tensor_record
class Track:
    """What a loop did, slot by slot in the order of time.

    Attributes:
        power_w: transmit powers in W.
        rate_bps_hz: rates that they gave, in bit/s/Hz.
        multiplier: what the loop told the links apart by, after each slot (see `Controller.multiplier`).
    """

    power_w: Float[Tensor, "*batch slot tx"]
    rate_bps_hz: Float[Tensor, "*batch slot tx"]
    multiplier: Float[Tensor, "*batch slot tx"]


class Controller(ABC, Generic[S]):
    """A control loop: it decides one slot at a time, and carries a state from slot to slot.

    The state is a record, so that a loop can be stopped, saved and resumed. Called on an instance of many slots
    it runs through them in the order of time, batched over everything else. The slack that it reports is the
    least that its powers need.
    """

    kind = "solver"

    @abstractmethod
    def start(self, instance: ErgodicInstance) -> S:
        """State before the first slot."""

    @abstractmethod
    def decide(self, links: LinkInstance, state: S) -> PowerAction:
        """The powers of a slot."""

    @abstractmethod
    def observe(self, rate: Float[Tensor, "*batch tx"], state: S) -> S:
        """The state after a slot that gave these rates in bit/s/Hz."""

    @abstractmethod
    def multiplier(self, state: S) -> Float[Tensor, "*batch tx"]:
        """What the loop tells the links apart by."""

    @abstractmethod
    def retarget(self, state: S, instance: ErgodicInstance) -> S:
        """The state from which to go on when the minima have become those of the instance."""

    def track(self, instance: ErgodicInstance, state: S) -> tuple[Track, S]:
        """All slots, and the state after the last."""
        powers, rates, multipliers = [], [], []
        for slot in range(instance.gain.shape[-3]):
            links = instance.slot(slot)
            powers.append(self.decide(links, state).power_w)
            rates.append(_SUM_RATE.rate(links, powers[-1]))
            state = self.observe(rates[-1], state)
            multipliers.append(self.multiplier(state))
        seen = Track(
            power_w=torch.stack(powers, dim=-2),
            rate_bps_hz=torch.stack(rates, dim=-2),
            multiplier=torch.stack(multipliers, dim=-2),
        )
        return seen, state

    def run(self, instance: ErgodicInstance, state: S) -> tuple[Float[Tensor, "*batch slot tx"], S]:
        """Powers of all slots in W, and the state after the last."""
        seen, state = self.track(instance, state)
        return seen.power_w, state

    def __call__(self, instance: ErgodicInstance) -> ErgodicAction:
        require_signs(require_record(instance, ErgodicInstance))
        power, _ = self.run(instance, self.start(instance))
        return _ERGODIC.least_slack(instance, power)


def require_demands(
    demands: Tensor | float, instance: ErgodicInstance | LinkInstance
) -> Float[Tensor, "*batch tx"]:
    """Demands of each link of the instance in bit/s/Hz; 0 of links that are not active.

    Raises:
        ValueError: if a demand is negative or not finite, or if there are not as many as links.
    """
    shape = instance.active.shape
    asked = torch.as_tensor(demands, dtype=instance.gain.dtype, device=instance.gain.device)
    if asked.ndim and (asked.shape[-1] != shape[-1] or asked.ndim > len(shape)):
        received = f"{list(asked.shape)} for {shape[-1]} links"
        raise ValueError(f"demands: must be one a link, or one for all, received shape {received}")
    bad = (~torch.isfinite(asked) | (asked < 0)) & instance.active
    if bad.any():
        received = asked.expand(bad.shape)[bad][0].item()
        raise ValueError(f"demands: must be finite and not negative, received {received} bit/s/Hz")
    return torch.where(instance.active, asked, torch.zeros_like(asked)).expand(shape)


def compiled_rule(allocator: LinkAllocator, instance: ErgodicInstance) -> Any | None:
    """What a compiled loop calls in place of the allocator, if it has such a form and the instance allows it.

    Raises:
        ValueError: naming the field, the rule and what was received: kernels check no structure.
    """
    rule = getattr(allocator, "rule", None)
    if not is_compilable(require_record(instance, ErgodicInstance)) or rule is None:
        return None
    return rule(instance.gain.shape[-1])
