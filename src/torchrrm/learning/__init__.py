"""Learning: objectives, training, meta-learning and fine-tuning of policies, with exact resume."""

from torchrrm.learning.adaptation import (
    FirstOrderSettings,
    MetaSettings,
    adapt,
    draw_episode,
    first_order_train,
    meta_gradient,
    meta_train,
)
from torchrrm.learning.association import (
    AssociationLoss,
    AssociationTrainee,
    LabelledCells,
    LabelledSource,
    SoftAssociation,
)
from torchrrm.learning.checkpoint import CheckpointError
from torchrrm.learning.duals import NetRates, PrimalDual, PrimalDualSettings
from torchrrm.learning.fine_tuning import FineTuned, FineTuneSettings, fine_tune, fine_tune_many
from torchrrm.learning.history import History
from torchrrm.learning.layerwise import LayerHistory, LayerwiseSettings, multitask_loss, train_layers
from torchrrm.learning.learned_step import LearnedStep, Retrained, RetrainSettings, retrain
from torchrrm.learning.loop import RunSettings, adopt, buffers_of, descend, parameters_of
from torchrrm.learning.multipliers import (
    RegressionSettings,
    Trajectories,
    collect,
    mean_weight,
    regress_first,
    weighted_task,
)
from torchrrm.learning.objectives import (
    CertifiedGap,
    Measuring,
    Objective,
    Parameters,
    PolicyLoss,
    Unsupervised,
    slice_bandwidth,
)
from torchrrm.learning.optimisers import DescentSettings, adam, ascent
from torchrrm.learning.penalty import DEMAND_PENALTY, OverSlots, PenalisedRates, penalised_reward
from torchrrm.learning.specialisation import Specialisation, Specialised, SpecialiseSettings, specialise
from torchrrm.learning.switching import Switching, switching_gain
from torchrrm.learning.trainer import TrainerSettings, train
from torchrrm.learning.windowed_decay import WindowedDecay

__all__ = [
    "DEMAND_PENALTY",
    "AssociationLoss",
    "AssociationTrainee",
    "CertifiedGap",
    "CheckpointError",
    "DescentSettings",
    "FineTuneSettings",
    "FineTuned",
    "FirstOrderSettings",
    "History",
    "LabelledCells",
    "LabelledSource",
    "LayerHistory",
    "LayerwiseSettings",
    "LearnedStep",
    "Measuring",
    "MetaSettings",
    "NetRates",
    "Objective",
    "OverSlots",
    "Parameters",
    "PenalisedRates",
    "PolicyLoss",
    "PrimalDual",
    "PrimalDualSettings",
    "RegressionSettings",
    "RetrainSettings",
    "Retrained",
    "RunSettings",
    "SoftAssociation",
    "Specialisation",
    "SpecialiseSettings",
    "Specialised",
    "Switching",
    "TrainerSettings",
    "Trajectories",
    "Unsupervised",
    "WindowedDecay",
    "adam",
    "adapt",
    "adopt",
    "ascent",
    "buffers_of",
    "collect",
    "descend",
    "draw_episode",
    "fine_tune",
    "fine_tune_many",
    "first_order_train",
    "mean_weight",
    "meta_gradient",
    "meta_train",
    "multitask_loss",
    "parameters_of",
    "penalised_reward",
    "regress_first",
    "retrain",
    "slice_bandwidth",
    "specialise",
    "switching_gain",
    "train",
    "train_layers",
    "weighted_task",
]
