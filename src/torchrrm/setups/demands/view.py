"""A run on the screen: each user's demand and what it gets."""

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchrrm.setups.demands.history import Standing

__all__ = ["Pace", "rows_that_fit", "standing_table"]

_FRAME_LINES = 9  # of the table, besides its rows, and of the screen around it


@dataclass(frozen=True)
class Pace:
    """How far a run is.

    Attributes:
        windows: of the schedule.
        slots: of the schedule.
        slots_per_s: so far.
    """

    windows: int
    slots: int
    slots_per_s: float

    def headline(self, standing: Standing) -> str:
        """One line: window, slots, pace and time left."""
        parts = [
            f"window {standing.window + 1} of {self.windows}",
            f"slot {standing.slot:,} of {self.slots:,}",
            f"{self.slots_per_s:,.0f} slots/s",
        ]
        left = self.slots - standing.slot
        if left and self.slots_per_s > 0:
            minutes, seconds = divmod(round(left / self.slots_per_s), 60)
            parts.append(f"{minutes}:{seconds:02d} left")
        return ", ".join(parts)


def standing_table(standing: Standing, pace: Pace, rows: int | None = None) -> Table:
    """Users by number from 1: what they ask for, what they get, and whether the moving average is within 5 % of it.

    Args:
        standing: after some slots.
        pace: of the run.
        rows: at most; where there are more users, those who miss most of their demand are shown.
    """
    table = Table(title=pace.headline(standing), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    headings = ("user", "demand", "moving\naverage", "mean since\nthe change", "on / %", "power / %")
    for heading in (*headings, "multiplier", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = _shown(standing, rows)
    for user in shown:
        table.add_row(*_cells(standing, user))
    left = len(standing.demand_bps_hz) - len(shown)
    units = "rates in bit/s/Hz, average over 250 slots, power of the limit"
    table.caption = f"and {left} more users, who miss less\n{units}" if left else units
    table.caption_justify = "left"
    return table


def rows_that_fit(console: Console) -> int:
    """Users that a screen has room for."""
    return max(1, console.height - _FRAME_LINES)


def _shown(standing: Standing, rows: int | None) -> list[int]:
    users = len(standing.demand_bps_hz)
    if rows is None or users <= rows:
        return list(range(users))
    part = standing.moving_bps_hz / standing.demand_bps_hz.clamp_min(1e-9)
    return sorted(part.argsort(stable=True)[:rows].tolist())


def _cells(standing: Standing, user: int) -> list[Text]:
    demand, multiplier = standing.demand_bps_hz[user].item(), standing.multiplier[user].item()
    met = bool(standing.met[user])
    mark = Text("–", style="dim") if not demand else Text("yes", "green") if met else Text("no", "bold red")
    words = (
        str(user + 1),
        f"{demand:.2f}" if demand else "–",
        f"{standing.moving_bps_hz[user].item():.2f}",
        f"{standing.mean_bps_hz[user].item():.2f}",
        f"{100 * standing.on[user].item():.0f}",
        f"{100 * standing.power_share[user].item():.0f}",
        f"{multiplier:.2f}",
    )
    return [*map(Text, words), mark]
