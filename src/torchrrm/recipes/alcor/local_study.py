"""The distributed policy by rounds, by how fast channels change, and what is left when they are new in every slot."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.bench import figures
from torchrrm.problems import WeightedSumRate
from torchrrm.recipes.alcor.cases import REPORT, generator_of, rayleigh
from torchrrm.recipes.alcor.local import LocalTraining, fading_links, held_rates, own_gain_rule, slot_rates
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.jobs import Start
from torchrrm.setups.links import draw_configurations, draw_links

__all__ = ["LocalStudy", "local_exhibit"]

_STREAM = 71
_LINKS = 20
_DOPPLER = (0.001, 0.005, 0.02, 0.1, 0.2, float("inf"))
_OWN_SHARE = 0.107
_WARM = 20


@dataclass(frozen=True)
class LocalStudy:
    """Sum rates of the distributed policy at 20 links: the job of a worker.

    Attributes:
        start: its parameters.
        draws: channels that are held.
        runs, slots: of channels that change.
        rounds: of held channels, at most.
    """

    start: Start
    draws: int = 2000
    runs: int = 60
    slots: int = 60
    rounds: int = 12

    @property
    def name(self) -> str:
        return "local-study"

    def __call__(self) -> dict[str, Tensor]:
        """`rounds` and `messages` by round, `fading` by Doppler shift, `own gain` of the rule of the own channel."""
        policy = LocalTraining(_LINKS, diverse=True, seed=0).trained(self.start.parameters)
        generator = generator_of(REPORT, _STREAM)
        drawn = draw_links(rayleigh(_LINKS), self.draws, generator=generator)
        with torch.no_grad():
            rates, messages = held_rates(policy, drawn, self.rounds)
            fading = []
            for doppler in _DOPPLER:
                source = fading_links(_LINKS, doppler)
                slots = draw_configurations(source, self.runs, slots=self.slots, generator=generator)
                fading.append(slot_rates(policy, slots)[min(_WARM, self.slots // 2) :].mean())
            own = WeightedSumRate().evaluate(drawn, own_gain_rule(drawn, _OWN_SHARE)).objective
        return {
            "rounds": rates,
            "messages": messages,
            "fading": torch.stack(fading),
            "own gain": own.mean(),
        }


def local_exhibit(found: dict[str, Tensor]) -> Exhibit:
    """Sum rate by rounds, with the scalars that are told, and on channels that change."""
    rows = [
        [
            f"held channel, {'full power' if i == 0 else f'round {i}'}",
            f"{float(rate):.2f}",
            f"{float(told):.1f}",
        ]
        for i, (rate, told) in enumerate(zip(found["rounds"], found["messages"], strict=True))
    ]
    for doppler, rate in zip(_DOPPLER, found["fading"], strict=True):
        what = (
            "new channel every slot" if doppler == float("inf") else f"Doppler shift times slot {doppler:g}"
        )
        rows.append([what, f"{float(rate):.2f}", ""])
    rows.append(
        ["new channel every slot, best rule of the own channel", f"{float(found['own gain']):.2f}", "0"]
    )
    return Exhibit(
        name="local",
        title="The distributed policy: rounds, messages, and channels that change",
        note="20 links, all on, sum rate in bit/s/Hz; scalars told to a user in a slot. The printed 6.66 is reached "
        "after three rounds on a channel that is held. On channels that are new in every slot, which is what the paper "
        "says, the best that was found for any rule of local measurements is 5.02: what neighbours tell is of channels "
        "that are gone.",
        figure=figures.curves(
            {"held channel": found["rounds"]},
            x_label="round (0: full power)",
            y_label="sum rate / (bit/s/Hz)",
            reference={"printed 6.66": 6.66, "best own-channel rule": float(found["own gain"])},
        ),
        header=["", "sum rate / (bit/s/Hz)", "scalars told"],
        rows=rows,
        data=found,
    )
