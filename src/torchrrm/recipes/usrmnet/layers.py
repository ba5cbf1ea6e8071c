"""Figs. 5 to 7 of [He2022USRMNet]: how the layers of the paper's network learn, and how many are worth it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.policies.unrolled import unroll
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.jobs import Start
from torchrrm.recipes.usrmnet import pictures
from torchrrm.recipes.usrmnet.cases import Case, draws_of, ring_trained
from torchrrm.recipes.usrmnet.learned import LiteralTraining, literal_policy, literal_start
from torchrrm.recipes.usrmnet.published import FIGURES
from torchrrm.recipes.usrmnet.scoring import Scores, on_same_draws, scored
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings
from torchrrm.solvers import GramAscent

__all__ = ["by_case", "by_scale", "figure7", "figures5and6", "literal_jobs"]

FIGURE_CASE = Case(6)
_WHAT = ("objective", "loss", "violation", "kept", "scale")
_SCALE = 1.0  # start of both scales in the paper's tables
Histories = Mapping[float, dict[str, Tensor]]
Named = Mapping[str, dict[str, Tensor]]


def literal_jobs(settings: UsrmnetSettings, seed: int) -> list[LiteralTraining]:
    """All trainings of the paper's network, those of the figures first: they have most layers."""
    how = settings.literal
    jobs = [
        LiteralTraining(FIGURE_CASE, settings.figure_layers, scale, seed, how)
        for scale in settings.figure_scales
    ]
    cells = [Case(users, regime) for regime, users in settings.cells]
    cells += [ring_trained(ring, users) for ring in ((120, 140), (100, 140)) for users in settings.ring_users]
    wanted = [case for case in dict.fromkeys(cells) if case != FIGURE_CASE]
    return jobs + [LiteralTraining(case, settings.cell_layers, _SCALE, seed, how) for case in wanted]


def figures5and6(histories: Histories, settings: UsrmnetSettings) -> list[Exhibit]:
    """Figs. 5 and 6: objective, loss, violation and scales over the training of every layer."""
    epochs = torch.arange(1, settings.literal.epochs + 1)
    named = {f"s = ({scale:g}, {scale:g})": made for scale, made in histories.items()}
    note = (
        f"{FIGURE_CASE.setting}; {settings.literal.samples} samples and {settings.literal.epochs} epochs a layer (the "
        f"paper: 10 000 and 50), one run each, watched on {settings.literal.watched} draws that are not trained on. "
    )
    ends = _ends(named)
    return [
        Exhibit(
            name="fig05",
            title="Fig. 5: objective, loss and violation while layers learn",
            note=f"{note}The objective is that of the auxiliary variables, which may promise more than powers and "
            f"beams give; `V_g` is the mean violation of (10h) to (10k). Published: {FIGURES['fig05']}.",
            figure=pictures.layer_traces(_traces(named), epochs),
            header=["start", "layer", "objective (10a)", "loss (19)", "V_g", "V_g = 0 / %", "s_1", "s_2"],
            rows=ends,
            data={f"{name} {what}": made[what] for name, made in named.items() for what in _WHAT},
        ),
        Exhibit(
            name="fig06",
            title="Fig. 6: scales of the loss while layers learn",
            note=f"{note}Each layer begins with its own scales anew. Published: {FIGURES['fig06']}.",
            figure=pictures.layer_traces(_scale_traces(named), epochs),
            header=["start", "layer", "s_1, end", "s_2, end"],
            rows=[[*row[:2], *row[-2:]] for row in ends],
        ),
    ]


def _traces(named: Named) -> list[pictures.Trace]:
    """Objective, loss and violation, a curve a start."""
    shown = (("objective", "objective (10a)\n/ (nat/channel use)"), ("loss", "loss (19)"))
    return [
        *(pictures.Trace({n: made[what] for n, made in named.items()}, label) for what, label in shown),
        pictures.Trace({n: made["violation"] for n, made in named.items()}, "violation $V_g$", log=True),
    ]


def _scale_traces(named: Named) -> list[pictures.Trace]:
    """Both scales, a curve a start."""
    return [
        pictures.Trace({n: made["scale"][..., i] for n, made in named.items()}, f"$s_{i + 1}$")
        for i in (0, 1)
    ]


def _ends(named: Named) -> list[list[str]]:
    """Where each layer of each start ends."""
    return [
        [
            name,
            str(layer + 1),
            *(f"{made[what][layer, -1]:.4f}" for what in ("objective", "loss")),
            f"{made['violation'][layer, -1]:.1e}",
            f"{100 * made['kept'][layer, -1]:.1f}",
            *(f"{value:.3f}" for value in made["scale"][layer, -1].tolist()),
        ]
        for name, made in named.items()
        for layer in range(len(made["objective"]))
    ]


def figure7(starts: Mapping[Case, Start], settings: UsrmnetSettings) -> Exhibit:
    """Fig. 7: the true objective of powers and beams over the number of layers, on the draws of the tables."""
    rows: list[list[str]] = []
    panels: dict[str, dict[str, Tensor]] = {}
    for case, start in sorted(starts.items(), key=lambda item: (item[0].cell, item[0].users)):
        by_layer, base = _by_layer(case, start, settings.draws)
        series = panels.setdefault(case.cell, {})
        series[f"K = {case.users}"] = torch.stack([scores.objective for scores in by_layer], dim=-1)
        for layer, scores in enumerate(by_layer, 1):
            ratio, interval = on_same_draws(scores, base)
            half = f" ± {100 * (interval[1] - ratio):.2f}" if ratio and interval else ""
            rows.append(
                [
                    case.cell if layer == 1 else "",
                    str(case.users) if layer == 1 else "",
                    str(layer),
                    interval_text(scores.objective, digits=4),
                    f"{100 * ratio:.2f}{half}" if ratio else "–",
                    f"{100 * (~scores.met).double().mean():.1f}",
                ]
            )
    return Exhibit(
        name="fig07",
        title="Fig. 7: objective over the number of layers",
        note=f"Objective (7a) of powers and beams, {settings.draws} draws, 95 % bands; violations of minimum rates and "
        f"power in truth. Ratios on draws without any. Published: {FIGURES['fig07']}.",
        figure=pictures.layer_counts(panels, "objective (7a) / (nat/channel use)"),
        header=["cell", "K", "layers", "objective / (nat/channel use)", "of GramAscent / %", "violated / %"],
        rows=rows,
    )


def _by_layer(case: Case, start: Start, draws: int) -> tuple[list[Scores], Scores]:
    """Scores after each layer, and those of GramAscent."""
    instance, policy = draws_of(case, draws), literal_policy(start, case.users)
    with torch.no_grad():
        found = [
            scored(instance, policy.recover(instance, unroll(policy, instance, count)))
            for count in range(1, len(policy.layers) + 1)
        ]
        return found, scored(instance, GramAscent()(instance))


def by_scale(found: Mapping[LiteralTraining, dict[str, Tensor]]) -> Histories:
    """Histories of the figures' trainings by the start of their scales."""
    return {job.scale: made for job, made in found.items() if job.case == FIGURE_CASE}


def by_case(found: Mapping[LiteralTraining, dict[str, Tensor]]) -> dict[Case, Start]:
    """Parameters of the trainings of the tables by the cell that they are for."""
    return {job.case: literal_start(job, made) for job, made in found.items() if job.scale == _SCALE}
