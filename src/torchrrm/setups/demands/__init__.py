"""Demands over slots, as `torchrrm run` serves them: schedules, channels, control loops, and how users stand."""

from torchrrm.setups.demands.channels import SlotStream
from torchrrm.setups.demands.history import Standing, Timetable
from torchrrm.setups.demands.loops import Control, DemandNames, control_loop
from torchrrm.setups.demands.report import excess_of, missed_demands, rows_of, traces_of
from torchrrm.setups.demands.run import DemandRun
from torchrrm.setups.demands.schedule import read_schedule
from torchrrm.setups.demands.setup import DemandSetup, demand_task
from torchrrm.setups.demands.view import Pace, rows_that_fit, standing_table

__all__ = [
    "Control",
    "DemandNames",
    "DemandRun",
    "DemandSetup",
    "Pace",
    "SlotStream",
    "Standing",
    "Timetable",
    "control_loop",
    "demand_task",
    "excess_of",
    "missed_demands",
    "read_schedule",
    "rows_of",
    "rows_that_fit",
    "standing_table",
    "traces_of",
]
