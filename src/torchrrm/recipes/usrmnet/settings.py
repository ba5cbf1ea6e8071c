"""How much of the paper a run of the recipe does."""

from dataclasses import dataclass

from torchrrm.recipes.usrmnet.published import Regime
from torchrrm.recipes.usrmnet.training import TRAININGS, TrainingSettings

__all__ = ["SCALES", "LiteralSettings", "UsrmnetSettings"]


@dataclass(frozen=True)
class LiteralSettings:
    """Training of the paper's network, layer by layer; what is not named here is as in the paper.

    Attributes:
        samples: drawn once and gone through in each epoch; the paper's are 10 000.
        epochs: of each layer; 50.
        watched: draws that objective and violation are watched on.
    """

    samples: int = 10_000
    epochs: int = 20
    watched: int = 500


@dataclass(frozen=True)
class UsrmnetSettings:
    """One scale of the recipe; what is not named here is as in Section IV of [He2022USRMNet].

    Attributes:
        training: of the default network.
        literal: of the paper's network.
        figure_layers, figure_scales: layers and starts of the loss's scales in Figs. 5 and 6.
        cells: of Table I that the paper's network is trained for, besides those of Table II.
        cell_layers: trained there; the tables use the first two.
        draws: of each case, for what is compiled or learned.
        hebf_draws, hard_hebf_draws: the first of them, for `HeBF`, in Tables I and II and in hard regimes.
        bound_draws, large_bound_draws: the first of them, for certified bounds of up to 6 and of 8 users.
        users: of Table I.
        ring_users: of Table II.
        wide_users: in wide rings.
        munich_users: of the snapshot.
        map_users, map_antennas, map_draws: of the map of one set of weights; cells of Table I keep their draws.
        front_users: of the front of quality against latency.
        latency_calls, latency_budget_s: how single calls are timed.
        processes: worker processes.
    """

    training: TrainingSettings
    literal: LiteralSettings = LiteralSettings()
    figure_layers: int = 5
    figure_scales: tuple[float, ...] = (2.0, 1.0, 0.0)
    cells: tuple[tuple[Regime, int], ...] = (
        ((15, 64, 128), 4),
        ((15, 64, 128), 8),
        ((15, 64, 128), 10),
        ((20, 32, 128), 6),
        ((20, 32, 256), 6),
    )
    cell_layers: int = 3
    draws: int = 400
    hebf_draws: int = 30
    hard_hebf_draws: int = 20
    bound_draws: int = 400
    large_bound_draws: int = 40
    users: tuple[int, ...] = (4, 6, 8, 10)
    ring_users: tuple[int, ...] = (4, 6)
    wide_users: tuple[int, ...] = (4, 6, 8)
    munich_users: tuple[int, ...] = (4, 6, 8, 10, 12)
    map_users: tuple[int, ...] = (4, 6, 8, 10, 12, 14, 16)
    map_antennas: tuple[int, ...] = (16, 32, 64)
    map_draws: int = 200
    front_users: tuple[int, ...] = (6, 16)
    latency_calls: int = 300
    latency_budget_s: float = 0.3
    processes: int = 2


SCALES: dict[str, UsrmnetSettings] = {
    "smoke": UsrmnetSettings(
        training=TRAININGS["smoke"],
        literal=LiteralSettings(samples=20, epochs=2, watched=10),
        figure_layers=2,
        figure_scales=(1.0, 0.0),
        cells=(),
        cell_layers=2,
        draws=6,
        hebf_draws=1,
        hard_hebf_draws=0,
        bound_draws=6,
        large_bound_draws=1,
        users=(4,),
        ring_users=(4,),
        wide_users=(4,),
        munich_users=(4,),
        map_users=(4, 8),
        map_antennas=(16, 32),
        map_draws=4,
        front_users=(6,),
        latency_calls=2,
        latency_budget_s=0.05,
        processes=0,
    ),
    "quick": UsrmnetSettings(training=TRAININGS["quick"]),
    "full": UsrmnetSettings(
        training=TRAININGS["full"],
        literal=LiteralSettings(samples=10_000, epochs=50, watched=5_000),
        cells=tuple(
            (regime, users)
            for regime in ((15, 32, 256), (15, 64, 128), (20, 32, 128), (20, 32, 256))
            for users in (4, 6, 8, 10)
        ),
        cell_layers=5,
        draws=5_000,
        hebf_draws=500,
        hard_hebf_draws=200,
        bound_draws=5_000,
        large_bound_draws=200,
        map_draws=1_000,
        latency_calls=1_000,
        latency_budget_s=2.0,
    ),
}
