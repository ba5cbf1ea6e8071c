"""Labels on disk: the solver's, made once, refused where they are damaged or of other settings."""

import dataclasses

import pytest
import torch

from torchrrm.channels import hudn_scenario
from torchrrm.policies.weights import read_tensors, write_tensors
from torchrrm.problems.association import SumRateAssociation
from torchrrm.recipes.hbgnn.cases import Case, generator_of
from torchrrm.recipes.hbgnn.labels import LabelError, LabelSettings, label_cells, label_set
from torchrrm.recipes.jobs import Workers
from torchrrm.setups.association import CellSource, draw_cells
from torchrrm.solvers import HungarianWMMSE

SMALL = LabelSettings(case=Case(users=10, stations=8), drops=5, chunk=2, restarts=3, stream=35_000_000)


@pytest.fixture
def workers(tmp_path):
    return Workers(tmp_path, 0, progress=False)


def files(workers):
    return sorted(workers.folder.glob("*.safetensors"))


def test_labels_are_the_solvers(workers):
    found = label_set(SMALL, workers)
    assert found.gain.shape == (5, 10, 8)
    source = CellSource(hudn_scenario(), users=10, stations=8, dtype=torch.float64)
    for part in range(3):
        drops = draw_cells(source, 2, generator=generator_of(35_000_000, 10, 8, 2, part))
        wanted = label_cells(drops, HungarianWMMSE(restarts=3))
        count = min(2, 5 - 2 * part)
        assert torch.equal(found.station[2 * part : 2 * part + 2], wanted.station[:count])
        torch.testing.assert_close(found.power_w[2 * part : 2 * part + 2].double(), wanted.power_w[:count])
        torch.testing.assert_close(found.gain[2 * part : 2 * part + 2].double(), wanted.gain[:count])
    problem = SumRateAssociation()
    again = problem.evaluate(found.cells, HungarianWMMSE(restarts=3)(found.cells)).objective
    torch.testing.assert_close(problem.evaluate(found.cells, found.label).objective, again, rtol=1e-3, atol=0)


def test_processes_make_the_same_labels(workers, tmp_path):
    two_files = dataclasses.replace(SMALL, drops=4)
    one = label_set(two_files, workers)
    two = label_set(two_files, Workers(tmp_path / "other", 1, progress=False))
    for name, value in vars(one).items():
        assert torch.equal(value, getattr(two, name))


def test_what_is_there_is_not_made_again_and_what_is_missing_is(workers):
    whole = label_set(SMALL, workers)
    first, second, third = files(workers)
    kept = [path.stat().st_mtime_ns for path in (first, third)]
    second.unlink()
    again = label_set(SMALL, workers)
    assert [path.stat().st_mtime_ns for path in (first, third)] == kept
    for name, value in vars(whole).items():
        assert torch.equal(value, getattr(again, name))


def test_fewer_drops_are_the_first_ones_and_other_settings_other_files(workers):
    whole = label_set(SMALL, workers)
    fewer = label_set(LabelSettings(SMALL.case, 3, SMALL.restarts, SMALL.chunk, SMALL.stream), workers)
    assert torch.equal(fewer.station, whole.station[:3])
    assert len(files(workers)) == 3
    label_set(LabelSettings(SMALL.case, 2, 0, SMALL.chunk, SMALL.stream), workers)
    assert len(files(workers)) == 4


def damage_bytes(path):
    path.write_bytes(path.read_bytes()[:100])


def damage_job(path):
    tensors, _ = read_tensors(path)
    write_tensors(path, tensors, {"job": "another"})


def damage_shape(path):
    tensors, header = read_tensors(path)
    write_tensors(path, {**tensors, "station": tensors["station"][:1]}, header)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (
            damage_bytes,
            r"^labels: must be a whole safetensors file, received .*; delete it to make them anew$",
        ),
        (damage_job, r"^labels: must be of .*, received .* of another; delete it to make them anew$"),
        (damage_shape, r"^labels: must be whole, received .*: station must have shape .*; delete it"),
    ],
)
def test_damaged_files_are_refused_in_one_line_and_left(workers, damage, line):
    label_set(SMALL, workers)
    damage(files(workers)[1])
    left = files(workers)[1].read_bytes()
    with pytest.raises(LabelError, match=line) as caught:
        label_set(SMALL, workers)
    assert "\n" not in str(caught.value)
    assert files(workers)[1].read_bytes() == left


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"drops": 0}, "drops: must be at least 1, received 0"),
        ({"restarts": -1}, "restarts: must be at least 0, received -1"),
        (
            {"case": Case("munich_hudn_200m")},
            "case: must be of the paper's square, .*, received munich_hudn_200m",
        ),
    ],
)
def test_bad_settings_are_refused(wrong, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        LabelSettings(**wrong)
