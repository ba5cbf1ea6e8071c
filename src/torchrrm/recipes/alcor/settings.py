"""How much of the paper a run of the recipe does."""

from dataclasses import dataclass, field

from torchrrm.recipes.alcor.loops import LoopSettings
from torchrrm.recipes.alcor.unfolded import UnfoldedSettings
from torchrrm.recipes.augmented import AugmentedSettings

__all__ = ["SCALES", "AlcorSettings"]


@dataclass(frozen=True)
class AlcorSettings:
    """One scale of the recipe.

    Attributes:
        central_steps: of the centralised policies, by the number of links.
        local_links: number of links that the distributed ones are trained on.
        local_steps: of them.
        local_runs: on channels that change.
        network_steps: of the networks trained for demands, as a part of what they take at `quick`.
        network_draws: that these are scored on.
        unfolded: training of the unfolded policy.
        augmented: training of the state-augmented policy.
        augmented_sizes, trajectories, loop_slots: what it learns from.
        draws: of Table I.
        any_sizes, any_draws: numbers of links of one set of weights, and draws of each.
        loops: how loops are scored.
        reference: how the reference of many starts is scored.
        certified_slots: of the certified dual.
        program_draws, programs: of geometric programs.
        window_slots: of each window of the figures.
        infeasible_slots: of Fig. 4.
        front_sizes, front_draws: of the front of sum rate against latency.
        sizes: numbers of links of Tables II and III.
        table4: cases of Table IV that loops are scored on.
        processes: worker processes.
    """

    central_steps: dict[int, int] = field(default_factory=lambda: {5: 3000, 10: 4000, 20: 8000, 50: 3000})
    local_links: int = 20
    local_steps: int = 1200
    local_runs: int = 60
    network_steps: float = 1.0
    network_draws: int = 20_000
    unfolded: UnfoldedSettings = field(default_factory=UnfoldedSettings)
    augmented: AugmentedSettings = field(
        default_factory=lambda: AugmentedSettings(5000, 400, batch_size=128, switching=True)
    )
    augmented_sizes: tuple[int, ...] = (2, 3, 5, 7, 10, 14, 20, 32, 50, 100, 200)
    trajectories: int = 120
    loop_slots: int = 100
    draws: int = 4000
    any_sizes: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 200)
    any_draws: int = 200
    loops: LoopSettings = field(default_factory=LoopSettings)
    reference: LoopSettings = field(default_factory=lambda: LoopSettings(runs=4, slots=4000))
    certified_slots: int = 1000
    program_draws: int = 1_000_000
    programs: int = 50
    window_slots: int = 1500
    infeasible_slots: int = 10_000
    front_sizes: tuple[int, ...] = (10, 20, 50, 100, 200)
    front_draws: int = 100
    sizes: tuple[int, ...] = (10, 20, 50)
    table4: tuple[int, ...] = (1, 2, 3)
    processes: int = 2


SCALES: dict[str, AlcorSettings] = {
    "smoke": AlcorSettings(
        central_steps=dict.fromkeys((5, 10, 20, 50), 4),
        local_steps=4,
        local_runs=2,
        network_steps=0.002,
        network_draws=1000,
        unfolded=UnfoldedSettings(((5, 8),), steps=3, batch_size=4),
        augmented=AugmentedSettings(3, 3, switching=True),
        augmented_sizes=(2, 5),
        trajectories=4,
        loop_slots=12,
        draws=20,
        any_sizes=(2, 5),
        any_draws=4,
        loops=LoopSettings(runs=2, settle=25, slots=275, chunk=100, timed=5),
        reference=LoopSettings(runs=1, settle=25, slots=275, chunk=100, timed=5),
        certified_slots=4,
        program_draws=50,
        programs=1,
        window_slots=275,
        infeasible_slots=300,
        front_sizes=(5,),
        front_draws=2,
        sizes=(10,),
        table4=(2,),
        processes=0,
    ),
    "quick": AlcorSettings(),
    "full": AlcorSettings(
        central_steps={5: 20_000, 10: 40_000, 20: 80_000, 50: 40_000},
        local_steps=10_000,
        network_steps=5.0,
        network_draws=100_000,
        unfolded=UnfoldedSettings(steps=20_000),
        augmented=AugmentedSettings(20_000, 2000, switching=True),
        trajectories=1000,
        loop_slots=400,
        draws=20_000,
        any_draws=2000,
        loops=LoopSettings(runs=64, settle=2000, slots=10_000, timed=2000),
        reference=LoopSettings(runs=32, settle=2000, slots=10_000, timed=2000),
        certified_slots=1000,
        program_draws=10_000_000,
        programs=500,
        front_draws=1000,
    ),
}
