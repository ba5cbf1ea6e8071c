"""The interior-point method on programs whose solutions are known."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import optimize
from torch import Tensor

from torchrrm.records import tensor_record
from torchrrm.solvers.interior_point import minimise


@tensor_record
class Linear:
    """`min c x` in `A x <= b`."""

    cost: Float[Tensor, "*batch n"]
    matrix: Float[Tensor, "*batch m n"]
    limit: Float[Tensor, "*batch m"]

    @property
    def constraints(self) -> int:
        return self.limit.shape[-1]

    def _spare(self, point: Tensor) -> Tensor:
        return self.limit - (self.matrix @ point[..., None])[..., 0]

    def value(self, point: Tensor, sharpness: Tensor) -> Tensor:
        return sharpness * (self.cost * point).sum(-1) - torch.log(self._spare(point)).sum(-1)

    def derivatives(self, point: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
        price = 1 / self._spare(point)
        gradient = sharpness[..., None] * self.cost + (price[..., None, :] @ self.matrix)[..., 0, :]
        return gradient, self.matrix.mT @ (price.square()[..., None] * self.matrix)


def programs(count: int) -> Linear:
    """Random half spaces around the origin, in a box."""
    rng = np.random.default_rng(0)
    box = np.broadcast_to(np.concatenate([np.eye(3), -np.eye(3)]), (count, 6, 3))
    matrix = np.concatenate([rng.normal(size=(count, 5, 3)), box], axis=1)
    limit = rng.uniform(0.1, 1.0, (count, 11))
    cost = rng.normal(size=(count, 3))
    return Linear(cost=torch.tensor(cost), matrix=torch.tensor(matrix), limit=torch.tensor(limit))


def test_against_linear_programming():
    task = programs(30)
    point = minimise(task, torch.zeros(30, 3, dtype=torch.float64), torch.ones(30, dtype=torch.float64))
    for i in range(30):
        cost, matrix, limit = (value[i].numpy() for value in (task.cost, task.matrix, task.limit))
        wanted = optimize.linprog(cost, matrix, limit, bounds=(None, None)).fun
        found = cost @ point[i].numpy()
        assert (matrix @ point[i].numpy() < limit).all()
        assert wanted - 1e-12 <= found <= wanted + 2e-8


def test_scale_of_the_variables_does_not_matter():
    task, unit = programs(10), torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)
    scaled = Linear(cost=task.cost / unit, matrix=task.matrix / unit, limit=task.limit)
    start, scale = torch.zeros(10, 3, dtype=torch.float64), torch.ones(10, dtype=torch.float64)
    wanted = (task.cost * minimise(task, start, scale)).sum(-1)
    torch.testing.assert_close((scaled.cost * minimise(scaled, start, scale)).sum(-1), wanted)


def test_no_instance():
    none = torch.zeros(0, 3, dtype=torch.float64)
    task = Linear(cost=none, matrix=none[:, None, :].expand(0, 2, 3), limit=none[:, :2])
    assert minimise(task, none, none[:, 0]).shape == (0, 3)
