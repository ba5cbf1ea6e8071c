"""Learning to share a budget: draws of the toy problem, a policy and its loss."""

from dataclasses import dataclass

import torch
from tests.testing.sharing import LogSharing, Pie, Shares
from torch import nn

from torchrrm.learning import PolicyLoss, Unsupervised
from torchrrm.nn import MLP
from torchrrm.problems.base import Task


@dataclass(frozen=True)
class Draw:
    users: int = 4
    strength: float = 1.0
    dtype: torch.dtype = torch.float32

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> Pie:
        gain = self.strength * torch.rand(batch_size, self.users, generator=generator, dtype=self.dtype)
        budget = torch.full((batch_size,), 2.0, dtype=self.dtype)
        return Pie(gain=gain, budget=budget, active=torch.ones(batch_size, self.users, dtype=torch.bool))


class SharePolicy(nn.Module):
    def __init__(self, width: int = 8, seed: int = 0, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.arguments = {"width": width}
        tanh = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
        self.net = MLP((2, width, 1), batch_norm=True) if batch_norm else tanh
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)

    def forward(self, instance: Pie) -> Shares:
        budget = instance.budget.unsqueeze(-1)
        features = torch.stack([instance.gain, budget.expand_as(instance.gain)], dim=-1)
        score = self.net(features).squeeze(-1).masked_fill(~instance.active, -torch.inf)
        return Shares(share=torch.softmax(score, dim=-1) * budget)


def toy_loss(dtype: torch.dtype = torch.float32, seed: int = 0, *, batch_norm: bool = False) -> PolicyLoss:
    policy = SharePolicy(seed=seed, batch_norm=batch_norm).to(dtype)
    return PolicyLoss(policy, Unsupervised(scale=lambda instance: instance.budget))


def toy_tasks(count: int = 6, dtype: torch.dtype = torch.float32) -> list[Task[Pie, Shares]]:
    """Tasks of different user counts and strengths."""
    return [
        Task(problem=LogSharing(), sample=Draw(users=3 + i, strength=1.0 + 2.0 * i, dtype=dtype))
        for i in range(count)
    ]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
