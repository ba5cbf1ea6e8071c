"""Solvers: allocators that are algorithms.

`SOLVERS` maps the name of a problem and of a solver to its class, for the command line and the conformance tests.
"""

from torchrrm.solvers.association_baselines import MaxGainAssociation, MaxSignalAssociation
from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.beam_baselines import EqualPowerMMSE, ZeroForcing
from torchrrm.solvers.beam_bound import BeamformingBound, interference_free_bound
from torchrrm.solvers.branch_and_bound import BranchAndBound
from torchrrm.solvers.demand_reach import certify_out_of_reach
from torchrrm.solvers.effective_rate import ControlledEffectiveRate, EffectiveRateAssociation
from torchrrm.solvers.ergodic_dual_bound import ErgodicBound, ErgodicDualBound
from torchrrm.solvers.exact_slicing import ExactSlicing
from torchrrm.solvers.exhaustive_association import ExhaustiveAssociation
from torchrrm.solvers.fractional_programming import FPLinQ, FractionalProgramming
from torchrrm.solvers.geometric_program import GeometricProgram
from torchrrm.solvers.gram_ascent import GramAscent
from torchrrm.solvers.greedy_blocks import GreedyResourceBlocks
from torchrrm.solvers.greedy_links import GreedyLinks
from torchrrm.solvers.he_bf import HeBF
from torchrrm.solvers.hungarian_wmmse import HungarianWMMSE, matched_association
from torchrrm.solvers.itlinq import ITLinQ
from torchrrm.solvers.link_baselines import MaxPower, StrongestLink
from torchrrm.solvers.max_sum_utility import ControlledMaxSumUtility, MaxSumUtility
from torchrrm.solvers.minimum_power import MinimumPower, RaisedPower, is_feasible, spectral_radius
from torchrrm.solvers.minimum_power_beamforming import (
    MinimumPowerBeamforming,
    least_power_w,
    restored_power,
)
from torchrrm.solvers.qos_bound import QosBound
from torchrrm.solvers.qos_wmmse import QosWMMSE
from torchrrm.solvers.slice_baselines import EqualSurplus, OneWinner
from torchrrm.solvers.sparse_wmmse import SparseWMMSE
from torchrrm.solvers.wmmse import WMMSE

__all__ = [
    "SOLVERS",
    "WMMSE",
    "BeamformingBound",
    "BranchAndBound",
    "ControlledEffectiveRate",
    "ControlledMaxSumUtility",
    "EffectiveRateAssociation",
    "EqualPowerMMSE",
    "EqualSurplus",
    "ErgodicBound",
    "ErgodicDualBound",
    "ExactSlicing",
    "ExhaustiveAssociation",
    "FPLinQ",
    "FractionalProgramming",
    "GeometricProgram",
    "GramAscent",
    "GreedyLinks",
    "GreedyResourceBlocks",
    "HeBF",
    "HungarianWMMSE",
    "ITLinQ",
    "IterativeSolver",
    "MaxGainAssociation",
    "MaxPower",
    "MaxSignalAssociation",
    "MaxSumUtility",
    "MinimumPower",
    "MinimumPowerBeamforming",
    "OneWinner",
    "QosBound",
    "QosWMMSE",
    "RaisedPower",
    "Solution",
    "SparseWMMSE",
    "StrongestLink",
    "ZeroForcing",
    "certify_out_of_reach",
    "interference_free_bound",
    "is_feasible",
    "least_power_w",
    "matched_association",
    "restored_power",
    "spectral_radius",
]

SOLVERS: dict[str, dict[str, type]] = {
    "slicing": {
        "exact": ExactSlicing,
        "greedy-blocks": GreedyResourceBlocks,
        "equal-surplus": EqualSurplus,
        "one-winner": OneWinner,
    },
    "sum-rate": {
        "max-power": MaxPower,
        "one-winner": StrongestLink,
        "branch-and-bound": BranchAndBound,
        "wmmse": WMMSE,
        "itlinq": ITLinQ,
        "greedy-links": GreedyLinks,
        "fractional-programming": FractionalProgramming,
        "fplinq": FPLinQ,
    },
    "qos-sum-rate": {
        "minimum-power": MinimumPower,
        "raised-power": RaisedPower,
        "branch-and-bound": QosBound,
        "geometric-program": GeometricProgram,
        "qos-wmmse": QosWMMSE,
    },
    "ergodic-power": {
        "dual-bound": ErgodicDualBound,
    },
    "urllc": {
        "minimum-power": MinimumPowerBeamforming,
        "gram-ascent": GramAscent,
        "beamforming-bound": BeamformingBound,
        "equal-power": EqualPowerMMSE,
        "zero-forcing": ZeroForcing,
        "he-bf": HeBF,
    },
    "association": {
        "max-signal": MaxSignalAssociation,
        "max-gain": MaxGainAssociation,
        "exhaustive": ExhaustiveAssociation,
        "hungarian-wmmse": HungarianWMMSE,
        "max-sum-utility": MaxSumUtility,
        "max-sum-utility-power": ControlledMaxSumUtility,
        "effective-rate": EffectiveRateAssociation,
        "effective-rate-power": ControlledEffectiveRate,
    },
    "fair-association": {
        "max-signal": MaxSignalAssociation,
        "max-gain": MaxGainAssociation,
        "max-sum-utility": MaxSumUtility,
        "max-sum-utility-power": ControlledMaxSumUtility,
    },
}
