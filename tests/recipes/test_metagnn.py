"""The MetaGNN recipe: its tables."""

import torch

from torchrrm.recipes.metagnn.tables import epochs_to_reach, gain_over, penalised, together


def test_tables_count_what_they_say():
    rates = [torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0, 4.0]])]
    pooled = together(rates)
    assert pooled.shape == (2, 3)
    assert pooled.nanmean(-1).tolist() == [3.0, 2.0]
    assert gain_over(2 * pooled, pooled).startswith("+100.00")
    assert penalised(torch.tensor([[0.5, 3.0]])).tolist() == [(0.5 - 2.0 * 0.25 + 3.0) / 2]
    points = torch.tensor([0, 10, 20])
    curve = torch.tensor([[[1.0]], [[2.0]], [[3.0]]])
    assert epochs_to_reach(points, curve, 2.0) == 10.0
    assert epochs_to_reach(points, curve, 9.0) is None
