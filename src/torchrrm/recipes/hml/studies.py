"""Figs. 3 to 10 of [Hao2024] and what goes beyond them, an exhibit each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchrrm.bench import figures
from torchrrm.policies import SliceGNN
from torchrrm.problems import KINDS
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.hml.published import PUBLISHED
from torchrrm.recipes.hml.settings import HmlSettings
from torchrrm.recipes.hml.tasksets import OneOf, TrainingSet, meta_test_source
from torchrrm.recipes.hml.training import (
    METHODS,
    Adaptation,
    MarginalTraining,
    MetaTraining,
    evaluation_set,
    optimality,
)
from torchrrm.recipes.jobs import Start, Workers, run_jobs
from torchrrm.solvers import EqualSurplus, OneWinner

__all__ = [
    "adaptation",
    "convergence",
    "left_out",
    "quality_of_service",
    "starts",
    "sweeps",
    "trained_parameters",
]

Starts = dict[tuple[str, int], Start]
_NAMES = {"hml": "HML", "maml": "MAML", "mtl": "MTL transfer", "random": "random start"}
_CLOSE = 0.005  # a curve has converged once it stays within half a per cent of its end


def trained_parameters(result: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters in a job's result."""
    prefix = "parameters."
    return {name.removeprefix(prefix): value for name, value in result.items() if name.startswith(prefix)}


def epochs_to_converge(curve: Tensor) -> Tensor:
    """First epoch from which `[run epoch]` stays within half a per cent of its last value, a run each."""
    far = (curve - curve[:, -1:]).abs() > _CLOSE
    last_far = far.long() * torch.arange(1, curve.shape[1] + 1)
    return last_far.amax(-1).double()


def _scratch(users: int, random: Starts, seed: int, settings: HmlSettings) -> Adaptation:
    """Algorithm 2 from random parameters on a cell of Table III with as many users."""
    source, features = meta_test_source(users=users), settings.features[0]
    start, epochs = random["random", seed], settings.scratch_epochs
    return Adaptation(start, "secrecy", source, f"scratch-{users}", features, seed, epochs, settings)


def convergence(random: Starts, settings: HmlSettings, workers: Workers) -> Exhibit:
    """Fig. 3: training from random parameters with different numbers of users."""
    seeds = range(settings.seeds)
    jobs = {
        users: [_scratch(users, random, seed, settings) for seed in seeds]
        for users in settings.users
        if users >= 10
    }
    results = run_jobs("Fig. 3", [job for runs in jobs.values() for job in runs], workers)
    curves = {users: torch.stack([results[job]["curve"] for job in runs]) for users, runs in jobs.items()}
    rows = [
        [
            str(users),
            interval_text(curve[:, 0], 100),
            interval_text(curve[:, -1], 100),
            interval_text(epochs_to_converge(curve), digits=0),
        ]
        for users, curve in curves.items()
    ]
    return Exhibit(
        name="fig03",
        title="Fig. 3: training from random parameters, secrecy rate in long blocks, 10 Mbit/s, 100 MHz",
        note=f"Means over {settings.seeds} runs with 95 % intervals, `{settings.features[0]}` features, Adam at "
        f"{settings.fine_learning_rate:g}, scored on {settings.evaluation} slices of the evaluation set. The paper "
        "shows the loss of the training batch: it converges in a few hundred epochs, slightly more for more users.",
        figure=figures.curves(
            {f"{users} users": 100 * curve for users, curve in curves.items()},
            x_label="epoch",
            y_label="sum rate / certified bound / %",
        ),
        header=["users", "at the start / %", "at the end / %", "epochs to within 0.5 % of the end"],
        rows=rows,
        data={str(users): curve for users, curve in curves.items()},
    )


def quality_of_service(random: Starts, settings: HmlSettings, workers: Workers) -> Exhibit:
    """Fig. 4: minimum rates and the sum rate of the trained policy on slices of the evaluation set."""
    features = settings.features[0]
    job = _scratch(max(settings.users), random, 0, settings)
    trained = trained_parameters(run_jobs("Fig. 4", [job], workers)[job])
    policy = SliceGNN(KINDS["secrecy"], features)
    policy.load_state_dict(trained)
    drawn, bound = evaluation_set("secrecy", job.source, features, settings.evaluation)
    with torch.no_grad():
        scored = policy.problem.evaluate(drawn, policy(drawn))
    served = scored.utility[drawn.active]
    least, share = served.min() / 1e6, scored.objective.sum() / bound.sum()
    violated = int((scored.violation["min_rate"] > 1e-5).sum())
    rows = [
        ["scheduled users", str(served.numel()), "–"],
        ["least secrecy rate / (Mbit/s)", f"{least:.4f}", "not below 10"],
        ["users below 10 Mbit/s by more than 1e-5", str(violated), "0"],
        ["sum rate / certified bound / %", f"{100 * share:.2f}", "near optimal"],
    ]
    return Exhibit(
        name="fig04",
        title="Fig. 4: rates of the scheduled users, secrecy rate in long blocks",
        note=f"{settings.evaluation} slices of {job.source.users} users. No weights can violate the minimum rates: "
        "the policy shares only what the minimum bandwidths leave.",
        figure=figures.rate_cdf({"trained policy": served / 1e6}, label="secrecy rate / (Mbit/s)", log=True),
        header=["", "ours", "published"],
        rows=rows,
    )


def starts(
    tasks: TrainingSet, label: str, methods: Sequence[str], settings: HmlSettings, workers: Workers
) -> Starts:
    """Starts of the paper's policy by method and run."""
    jobs = [
        MetaTraining(method, tasks, label, seed, settings)  # pyright: ignore[reportArgumentType]
        for method in methods
        for seed in range(settings.seeds)
    ]
    results = run_jobs(f"starts ({label}, {tasks.features})", jobs, workers)
    return {(job.method, job.seed): Start(job.name, results[job]) for job in jobs}


def adaptation(features: str, found: Starts, settings: HmlSettings, workers: Workers) -> Exhibit:
    """Figs. 5 to 7: fine-tuning to the six kinds of service from the four starts."""
    source = meta_test_source()
    jobs = {
        (kind, method, seed): Adaptation(
            start, kind, source, "test", features, seed, settings.epochs, settings
        )
        for kind in KINDS
        for (method, seed), start in found.items()
    }
    results = run_jobs(f"Figs. 5 to 7 ({features})", list(jobs.values()), workers)
    curves = {
        (kind, method): torch.stack(
            [results[jobs[kind, method, seed]]["curve"] for seed in range(settings.seeds)]
        )
        for kind in KINDS
        for method in METHODS
    }
    panels = {
        kind: {_NAMES[method]: 100 * curves[kind, method] for method in METHODS}
        | _references(kind, features, settings)
        for kind in KINDS
    }
    return Exhibit(
        name=f"fig05to07-{features}",
        title=f"Figs. 5 to 7: fine-tuning to unseen cells and kinds of service, `{features}` features",
        note=_verdict(curves, settings),
        figure=figures.curve_panels(
            panels, x_label="epoch of fine-tuning", y_label="sum rate / certified bound / %"
        ),
        header=[
            *(
                "figure",
                "start",
                "zero-shot / %",
                f"{settings.few_epochs} epochs / %",
                f"{settings.epochs} epochs / %",
            ),
            *("epochs to converge", "published zero-shot", "published final"),
        ],
        rows=[_adaptation_row(kind, method, curve, settings) for (kind, method), curve in curves.items()],
        data={f"{kind} {method}": curve for (kind, method), curve in curves.items()},
    )


def _adaptation_row(kind: str, method: str, curve: Tensor, settings: HmlSettings) -> list[str]:
    """One start's line of the table; the published numbers are those of HML."""
    printed, ours = PUBLISHED[kind], method == "hml"
    few = min(settings.few_epochs, settings.epochs)
    return [
        f"{printed.figure} {kind}" if ours else "",
        _NAMES[method],
        *(interval_text(curve[:, epoch], 100) for epoch in (0, few, -1)),
        interval_text(epochs_to_converge(curve), digits=1),
        *(
            ("–" if value is None else f"{value:g}") if ours else ""
            for value in (printed.zero_shot, printed.final)
        ),
    ]


def _references(kind: str, features: str, settings: HmlSettings) -> dict[str, Tensor]:
    """The trivial rules' optimality on the evaluation set, per cent, as flat curves."""
    drawn, bound = evaluation_set(kind, meta_test_source(), features, settings.evaluation)
    flat = {}
    for name, rule in (("one winner", OneWinner), ("equal surplus", EqualSurplus)):
        share = KINDS[kind].evaluate(drawn, rule(KINDS[kind])(drawn)).objective.sum() / bound.sum()
        flat[name] = (100 * share).expand(1, settings.epochs + 1)
    return flat


def _verdict(curves: dict[tuple[str, str], Tensor], settings: HmlSettings) -> str:
    """Paired differences of HML to the other starts, with intervals over runs."""
    lines = [
        f"Means over {settings.seeds} runs with 95 % intervals (Student's t), {settings.evaluation} slices of the "
        "evaluation set; every start fine-tuned by Adam on the same drops. HML against the others, paired by run:",
        "",
    ]
    for kind in KINDS:
        parts = []
        for method in METHODS[1:]:
            gain = 100 * (curves[kind, "hml"] - curves[kind, method])
            slower = epochs_to_converge(curves[kind, method]) - epochs_to_converge(curves[kind, "hml"])
            parts.append(
                f"{_NAMES[method]}: zero-shot {interval_text(gain[:, 0])} points, "
                f"end {interval_text(gain[:, -1])} points, "
                f"{interval_text(slower, digits=1)} epochs later"
            )
        lines.append(f"- {kind}. " + "; ".join(parts) + ".")
    return "\n".join(lines)


def sweeps(features: str, base: Starts, settings: HmlSettings, workers: Workers) -> list[Exhibit]:
    """Figs. 8 to 10: meta-testing over minimum rates, slice bandwidths and numbers of users."""
    secrecy = KINDS["secrecy"]

    def learned(label: str, tasks: TrainingSet) -> Starts:
        return starts(tasks, label, ["hml"], settings, workers)

    rates = [
        (f"{rate:g}", rate, meta_test_source(users=10, min_rate_bps=1e6 * rate))
        for rate in settings.rates_mbps
    ]
    widths = [
        (f"{w:g}", w, meta_test_source(users=10, bandwidth_hz=1e6 * w)) for w in settings.bandwidths_mhz
    ]
    users = [(str(count), float(count), meta_test_source(users=count)) for count in settings.users]
    one_rate = TrainingSet(secrecy, features, min_rate_mbps=OneOf(1, 1))
    any_rate = TrainingSet(secrecy, features, min_rate_mbps=OneOf(1, 10))
    any_width = TrainingSet(secrecy, features, bandwidth_mhz=OneOf(10, 100))
    cases = [
        ("fig08a", "minimum rate, meta-trained at 10 Mbit/s", "minimum rate / (Mbit/s)", rates, base),
        (
            "fig08b",
            "minimum rate, meta-trained at 1 Mbit/s",
            "minimum rate / (Mbit/s)",
            rates,
            learned("r1", one_rate),
        ),
        (
            "fig08c",
            "minimum rate, meta-trained at 1 to 10 Mbit/s",
            "minimum rate / (Mbit/s)",
            rates,
            learned("r1to10", any_rate),
        ),
        (
            "fig09",
            "bandwidth, meta-trained at 10 to 100 MHz",
            "slice bandwidth / MHz",
            widths,
            learned("w10to100", any_width),
        ),
        ("fig10", "number of users, meta-trained with 10 to 30", "users", users, base),
    ]
    return [_sweep(*case, features, settings, workers) for case in cases]


def _sweep(
    name: str,
    what: str,
    axis: str,
    points: list,
    found: Starts,
    features: str,
    settings: HmlSettings,
    workers: Workers,
) -> Exhibit:
    jobs = {
        (label, seed): Adaptation(
            found["hml", seed],
            "secrecy",
            source,
            f"{name}-{label}",
            features,
            seed,
            settings.few_epochs,
            settings,
        )
        for label, _, source in points
        for seed in range(settings.seeds)
    }
    results = run_jobs(f"{name} ({features})", list(jobs.values()), workers)
    curve = torch.stack(
        [
            torch.stack([results[jobs[label, seed]]["curve"] for label, _, _ in points])
            for seed in range(settings.seeds)
        ]
    )  # [run, point, epoch]
    shown = {"zero-shot": 100 * curve[..., 0], f"{settings.few_epochs} epochs": 100 * curve[..., -1]}
    rows = [
        [label, *(interval_text(values[:, i]) for values in shown.values())]
        for i, (label, _, _) in enumerate(points)
    ]
    return Exhibit(
        name=name,
        title=f"Fig. {int(name[3:5])}{name[5:]}: {what}",
        note=f"Secrecy rate in long blocks, {settings.seeds} runs of HML, `{features}` features.",
        figure=figures.curves(
            shown, x=[value for _, value, _ in points], x_label=axis, y_label="sum rate / certified bound / %"
        ),
        header=[axis, "zero-shot / %", f"{settings.few_epochs} epochs / %"],
        rows=rows,
        data=dict(shown),
    )


def left_out(
    settings: HmlSettings, workers: Workers
) -> tuple[Exhibit, dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Beyond the paper: one set of weights of marginal features for all kinds, each kind left out of training in turn.

    Returns the exhibit, the weights trained on all kinds, and those without each kind.
    """
    every = MarginalTraining(tuple(KINDS), settings.marginal_steps, 0, settings)
    without = {
        kind: MarginalTraining(tuple(k for k in KINDS if k != kind), settings.left_out_steps, 0, settings)
        for kind in KINDS
    }
    results = run_jobs("marginal policies", [every, *without.values()], workers)
    rows, data = [], {}
    for kind, problem in KINDS.items():
        policy = SliceGNN(problem, "marginal")
        drawn, bound = evaluation_set(kind, meta_test_source(), "marginal", settings.evaluation)
        score = optimality(policy, drawn, bound)
        reached = [float(score(results[job])) for job in (without[kind], every)]
        for rule in (OneWinner(problem), EqualSurplus(problem)):
            total = problem.evaluate(drawn, rule(drawn)).objective.sum()
            reached += [float(total / bound.sum())]
        rows.append([kind, *(f"{100 * share:.3f}" for share in reached)])
        data[kind] = torch.tensor(reached)
    exhibit = Exhibit(
        name="marginal",
        title="Beyond the paper: features of marginal utility, one set of weights for six kinds of service",
        note=f"Sum rate over the certified bound on {settings.evaluation} slices of the meta-test cell, whose "
        "parameters lie at the edge of the trainings' ranges. Left-out policies: "
        f"{settings.left_out_steps} steps over five kinds, then zero-shot on the sixth; the other: "
        f"{settings.marginal_steps} steps over all six.",
        figure=None,
        header=[
            "kind",
            "left out of training / %",
            "trained over all six / %",
            "one winner / %",
            "equal surplus / %",
        ],
        rows=rows,
        data=data,
    )
    return exhibit, results[every], {kind: results[job] for kind, job in without.items()}
