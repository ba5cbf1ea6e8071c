"""The MetaGNN recipe at its smallest scale."""

import json

import pytest
import torch

from torchrrm.bench import Results
from torchrrm.policies import MetaGNN, PowerGNN, StateAugmented, load_policy
from torchrrm.recipes import RECIPES
from torchrrm.recipes.metagnn.tables import epochs_to_reach, gain_over, penalised, together

FIGURES = ("fig06", "fig07", "fig08", "cdf", "fig09", "fig10", "munich", "front")


@pytest.mark.slow
def test_smoke_makes_every_exhibit_and_goes_on_where_it_was(tmp_path):
    results = RECIPES["metagnn"](scale="smoke", out=tmp_path, seed=0, command="test")
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in FIGURES)
    data = json.loads((tmp_path / "exhibits.json").read_text())
    assert set(data) == {*FIGURES, "certified"}
    kept = Results.from_json(tmp_path / "results.json")
    assert {row.problem for row in kept.rows} == {"sum-rate", "ergodic-power"}
    assert {row.kind for row in kept.rows} == {"policy", "solver", "trivial"}
    for name, kind in (("metagnn", MetaGNN), ("state-augmented", StateAugmented), ("power-gnn", PowerGNN)):
        assert isinstance(load_policy(str(tmp_path / "weights" / f"{name}.safetensors")), kind)
    again = RECIPES["metagnn"](scale="smoke", out=tmp_path, seed=0, command="test")
    assert [row.objective for row in again.rows] == [row.objective for row in results.rows]


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
