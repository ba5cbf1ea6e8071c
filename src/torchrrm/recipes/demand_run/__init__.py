"""Demands over slots, as `torchrrm run` serves them: schedules, channels, control loops, and how users stand."""

from torchrrm.recipes.demand_run.channels import SlotStream
from torchrrm.recipes.demand_run.history import Standing, Timetable
from torchrrm.recipes.demand_run.loops import Control, DemandNames, control_loop
from torchrrm.recipes.demand_run.report import excess_of, missed_demands, rows_of, traces_of
from torchrrm.recipes.demand_run.run import DemandRun
from torchrrm.recipes.demand_run.schedule import read_schedule
from torchrrm.recipes.demand_run.view import Pace, rows_that_fit, standing_table

__all__ = [
    "Control",
    "DemandNames",
    "DemandRun",
    "Pace",
    "SlotStream",
    "Standing",
    "Timetable",
    "control_loop",
    "excess_of",
    "missed_demands",
    "read_schedule",
    "rows_of",
    "rows_that_fit",
    "standing_table",
    "traces_of",
]
