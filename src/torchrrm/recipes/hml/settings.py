"""How much of the paper a run of the recipe does."""

from dataclasses import dataclass

__all__ = ["SCALES", "HmlSettings"]


@dataclass(frozen=True)
class HmlSettings:
    """One scale of the recipe.

    The paper's learning rate of 1e-4 is one of plain gradient ascent on a reward in bit/s. Here the reward is
    in bit/s/Hz and the outer loop and the fine-tuning use Adam; the rates below were chosen on drops of other
    seeds than those of the tables.

    Attributes:
        seeds: runs of each method, for intervals.
        features: of the paper's policy, `raw` as printed and `log`.
        meta_steps: of HML, MAML and multi-task training (M).
        meta_learning_rate: of their Adam.
        inner_learning_rate: of the inner loop's plain ascent.
        epochs: of fine-tuning (N).
        fine_learning_rate: of its Adam.
        evaluation: slices of the evaluation set; the paper's is 1000.
        scratch_epochs: of Fig. 3.
        users, rates_mbps, bandwidths_mhz: points of Figs. 3 and 10, 8, and 9.
        few_epochs: fine-tuning shown in Figs. 8 to 10 beside zero-shot.
        left_out_steps: training of the marginal policy with one kind left out, about a minute at `quick`.
        marginal_steps: training of the marginal policy on all kinds.
        pool: batches of each kind that the marginal policies are trained on.
        latency_calls: single-instance calls of each allocator that are timed.
        processes: worker processes.
    """

    seeds: int = 5
    features: tuple[str, ...] = ("raw", "log")
    meta_steps: int = 200
    meta_learning_rate: float = 3e-3
    inner_learning_rate: float = 1e-2
    epochs: int = 60
    fine_learning_rate: float = 1e-2
    evaluation: int = 300
    scratch_epochs: int = 150
    users: tuple[int, ...] = (5, 10, 20, 30, 40, 50)
    rates_mbps: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    bandwidths_mhz: tuple[float, ...] = (10.0, 25.0, 50.0, 75.0, 100.0)
    few_epochs: int = 10
    left_out_steps: int = 1200
    marginal_steps: int = 6000
    pool: int = 100
    latency_calls: int = 500
    processes: int = 2


SCALES: dict[str, HmlSettings] = {
    "smoke": HmlSettings(
        seeds=2,
        features=("raw",),
        meta_steps=2,
        epochs=2,
        evaluation=8,
        scratch_epochs=3,
        users=(5, 10),
        rates_mbps=(1.0, 10.0),
        bandwidths_mhz=(10.0, 100.0),
        few_epochs=2,
        left_out_steps=3,
        marginal_steps=3,
        pool=1,
        latency_calls=5,
        processes=0,
    ),
    "quick": HmlSettings(),
    "full": HmlSettings(
        meta_steps=3000,
        epochs=200,
        evaluation=1000,
        scratch_epochs=500,
        users=tuple(range(5, 55, 5)),
        rates_mbps=tuple(float(rate) for rate in range(1, 11)),
        bandwidths_mhz=tuple(float(width) for width in range(10, 110, 10)),
        left_out_steps=1500,
        marginal_steps=20000,
        pool=200,
    ),
}
