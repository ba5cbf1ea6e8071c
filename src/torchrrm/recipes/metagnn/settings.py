"""How much of the paper a run of the recipe does."""

from dataclasses import dataclass

__all__ = ["SCALES", "MetaSettings"]


@dataclass(frozen=True)
class MetaSettings:
    """One scale of the recipe; what is not named here is as in Table I of [Huang2024].

    Attributes:
        outer_loops: of meta-training (`N_O`; the paper's is 400).
        tasks: of an outer loop (`N_b`; 32), all of one random number of links.
        inner_epochs: on each of them (`N_I`).
        adapt_epochs: of adaptation; the paper's tables take 20.
        scratch_epochs: of learning from scratch; 500 in the paper.
        scratch_sizes: numbers of links in the square for which that is done.
        long_epochs: of both in Fig. 10.
        train_slots, test_slots: samples of a configuration for learning and for scores.
        sizes: numbers of links of Fig. 8.
        configurations: unseen ones of each size.
        watched: configurations that Fig. 6 adapts to during meta-training.
        watch_every: outer loops between two of its points.
        few_sizes, samples, few_configurations: of Fig. 9.
        city_sizes: numbers of links of the Munich table.
        trajectories: configurations of each size whose multipliers the state-augmented policy learns from.
        augmented_steps: of each of the two rounds of its training.
        loop_slots: of the loops that these multipliers come from.
        regression_steps: of the regressor of first multipliers.
        certified_sizes, certified_configurations, certified_slots: of the certified dual bound.
        front_sizes, front_instances: of the front of quality against latency.
        latency_calls: runs that are timed for each row.
        processes: worker processes.
    """

    outer_loops: int = 100
    tasks: int = 8
    inner_epochs: int = 20
    adapt_epochs: int = 30
    scratch_epochs: int = 200
    scratch_sizes: tuple[int, ...] = (4, 8, 12, 20)
    long_epochs: int = 300
    train_slots: int = 2048
    test_slots: int = 256
    sizes: tuple[int, ...] = (4, 6, 8, 10, 12, 14, 16, 18, 20)
    configurations: int = 30
    watched: int = 10
    watch_every: int = 20
    few_sizes: tuple[int, ...] = (8, 12)
    samples: tuple[int, ...] = (256, 512, 1024, 2048)
    few_configurations: int = 8
    city_sizes: tuple[int, ...] = (4, 8, 12, 20)
    trajectories: int = 200
    augmented_steps: int = 3000
    loop_slots: int = 120
    regression_steps: int = 500
    certified_sizes: tuple[int, ...] = (4, 6, 8, 10)
    certified_configurations: int = 6
    certified_slots: int = 100
    front_sizes: tuple[int, ...] = (10, 20, 50, 200)
    front_instances: int = 40
    latency_calls: int = 3
    processes: int = 2


SCALES: dict[str, MetaSettings] = {
    "smoke": MetaSettings(
        outer_loops=2,
        tasks=2,
        inner_epochs=2,
        adapt_epochs=2,
        scratch_epochs=2,
        scratch_sizes=(4,),
        long_epochs=2,
        train_slots=64,
        test_slots=12,
        sizes=(4, 6),
        configurations=3,
        watched=2,
        watch_every=1,
        few_sizes=(4,),
        samples=(16, 32),
        few_configurations=2,
        city_sizes=(4,),
        trajectories=8,
        augmented_steps=3,
        loop_slots=6,
        regression_steps=3,
        certified_sizes=(4,),
        certified_configurations=2,
        certified_slots=12,
        front_sizes=(5,),
        front_instances=2,
        latency_calls=1,
        processes=0,
    ),
    "quick": MetaSettings(),
    "full": MetaSettings(
        outer_loops=400,
        tasks=32,
        scratch_epochs=500,
        scratch_sizes=tuple(range(4, 21)),
        long_epochs=500,
        sizes=tuple(range(4, 21)),
        configurations=100,
        watched=30,
        few_configurations=30,
        trajectories=1000,
        augmented_steps=20000,
        certified_configurations=20,
        certified_slots=300,
        latency_calls=20,
    ),
}
