"""Environments of Gymnasium, for agents that learn slot by slot; needs the extra `gym`.

Importing this room registers `torchrrm/Demands-v0` with Gymnasium:

    import gymnasium, torchrrm.environments
    env = gymnasium.make("torchrrm/Demands-v0", settings=torchrrm.environments.DemandsSettings(slots=500))
"""

try:
    import gymnasium
except ModuleNotFoundError as error:
    raise ImportError(
        "gymnasium: must be installed, received no such package; pip install 'torchrrm[gym]'"
    ) from error

from torchrrm.environments.agents import AllocatorAgent, ControllerAgent, links_of
from torchrrm.environments.demands import DemandsEnv, DemandsSettings

__all__ = ["AllocatorAgent", "ControllerAgent", "DemandsEnv", "DemandsSettings", "links_of"]

DEMANDS_ENV = "torchrrm/Demands-v0"

if DEMANDS_ENV not in gymnasium.registry:
    gymnasium.register(DEMANDS_ENV, entry_point="torchrrm.environments.demands:DemandsEnv")
