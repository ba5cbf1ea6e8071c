"""The networks that [Zhang2022HBGNN] compares with HBGNN: fully connected, and convolutional."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchrrm.policies.hbgnn.fixed_size import FixedSizeAssociation

__all__ = ["CnnAssociation", "FcnnAssociation"]


class FcnnAssociation(FixedSizeAssociation):
    """Fully connected network on all gains as one vector: four hidden layers of 2048, the FCNN of [Zhang2022HBGNN].

    Its outputs are a score for each pair of user and station, and each station's power: 6.4e7 parameters at 120 users
    and 105 stations, as Table II prints. Activations are ReLUs; the scale of gains is that of `level_of`.

    Args:
        users, stations: that it serves.
        width: neurons of a hidden layer.
        layers: hidden ones.
    """

    def __init__(self, users: int = 120, stations: int = 105, *, width: int = 2048, layers: int = 4):
        super().__init__(users, stations)
        self.width, self.depth = width, layers
        pairs = users * stations
        sizes = [pairs, *[width] * layers]
        hidden = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
        self.net = nn.Sequential(*hidden, nn.Linear(sizes[-1], pairs + stations))

    @property
    def arguments(self) -> dict[str, int]:
        """What rebuilds the policy, as JSON."""
        return {**super().arguments, "width": self.width, "layers": self.depth}

    def logits(
        self, level: Float[Tensor, "*batch user bs"], ratio: Float[Tensor, "*batch user bs"]
    ) -> tuple[Float[Tensor, "*batch user bs"], Float[Tensor, "*batch bs"]]:
        """Scores of stations and of powers."""
        del ratio
        score, loudness = self.net(level.flatten(-2)).split([self.users * self.stations, self.stations], -1)
        return score.unflatten(-1, (self.users, self.stations)), loudness


class CnnAssociation(FixedSizeAssociation):
    """Convolutional network on the matrix of gains: four layers of 64 kernels of 3 x 3, the CNN of [Zhang2022HBGNN].

    Each layer reads the outputs of all layers before it and the gains ("all kernels' output will be concatenated for
    the next layer"). What follows the four layers is not told, nor what "the kernels produce three channels" means:
    here a dense layer reads all channels at a pair of user and station and scores it, another their means over users
    and gives the station's power; 512 neurons in each make 4.9e5 parameters, 5.0e5 as Table II prints. A convolution
    depends on which users and stations have neighbouring numbers, which mean nothing. Activations are ReLUs; the scale
    of gains is that of `level_of`.

    Args:
        users, stations: that it serves.
        kernels: of a layer.
        layers: of kernels.
        width: neurons of the dense layers.
    """

    def __init__(
        self,
        users: int = 120,
        stations: int = 105,
        *,
        kernels: int = 64,
        layers: int = 4,
        width: int = 512,
    ):
        super().__init__(users, stations)
        self.kernels, self.depth, self.width = kernels, layers, width
        channels = [1 + kernels * number for number in range(layers + 1)]
        self.layers = nn.ModuleList(nn.Conv2d(size, kernels, 3, padding=1) for size in channels[:-1])
        self.choice = nn.Sequential(nn.Linear(channels[-1], width), nn.ReLU(), nn.Linear(width, 1))
        self.loudness = nn.Sequential(nn.Linear(channels[-1], width), nn.ReLU(), nn.Linear(width, 1))

    @property
    def arguments(self) -> dict[str, int]:
        """What rebuilds the policy, as JSON."""
        sizes = {"kernels": self.kernels, "layers": self.depth, "width": self.width}
        return {**super().arguments, **sizes}

    def logits(
        self, level: Float[Tensor, "*batch user bs"], ratio: Float[Tensor, "*batch user bs"]
    ) -> tuple[Float[Tensor, "*batch user bs"], Float[Tensor, "*batch bs"]]:
        """Scores of stations and of powers."""
        del ratio
        batch = level.shape[:-2]
        planes = level.reshape(-1, 1, self.users, self.stations)
        for layer in self.layers:
            planes = torch.cat([planes, torch.relu(layer(planes))], 1)
        features = planes.movedim(1, -1)  # [batch user bs channel]
        score = self.choice(features)[..., 0]
        loudness = self.loudness(features.mean(-3))[..., 0]
        return score.reshape(*batch, self.users, self.stations), loudness.reshape(*batch, self.stations)
