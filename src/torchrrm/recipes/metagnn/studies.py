"""Figs. 6 to 10 of [Huang2024] and what goes beyond them, an exhibit each."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.bench import figures, metrics
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.jobs import Start, Workers, run_jobs
from torchrrm.recipes.metagnn.comparison import Certified, Comparison, FewSamples
from torchrrm.recipes.metagnn.drops import SQUARE
from torchrrm.recipes.metagnn.published import PUBLISHED
from torchrrm.recipes.metagnn.settings import MetaSettings
from torchrrm.recipes.metagnn.tables import (
    RATE_HEADER,
    epochs_to_reach,
    gain_over,
    least,
    method_rows,
    penalised,
    rate_cells,
    together,
)
from torchrrm.recipes.metagnn.training import AugmentedTraining, MetaTraining

__all__ = [
    "adaptation",
    "certificates",
    "comparisons",
    "distribution",
    "few_samples",
    "meta_training",
    "starts",
    "unseen",
]

Found = Mapping[int, dict[str, Tensor]]
_HEADER = ["links", "method", *(f"{name} / (bit/s/Hz)" for name in RATE_HEADER), "mean over ITLinQ / %"]
_BASELINES = ("max power", "WMMSE", "ITLinQ")


def starts(
    settings: MetaSettings, workers: Workers, seed: int
) -> tuple[dict[str, dict[str, Tensor]], Start, Start]:
    """What meta-training gave by its name, the start of MetaGNN, and the state-augmented policy."""
    meta = {
        "Reptile": MetaTraining("reptile", False, seed, settings),
        "first-order MAML": MetaTraining("fomaml", False, seed, settings),
        "Reptile, five nets": MetaTraining("reptile", True, seed, settings),
    }
    augmented = AugmentedTraining(seed, settings)
    results = run_jobs("training", [augmented, *meta.values()], workers)  # the longest first
    prefix = "parameters."
    found = results[meta["Reptile"]]
    parameters = {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}
    return (
        {name: results[job] for name, job in meta.items()},
        Start(meta["Reptile"].name, parameters),
        Start(augmented.name, results[augmented]),
    )


def meta_training(found: Mapping[str, dict[str, Tensor]], settings: MetaSettings) -> Exhibit:
    """Fig. 6: rates after adaptation during meta-training."""
    points = next(iter(found.values()))["points"]
    panels = {
        "mean rate": {name: result["rates"].mean(-1).T for name, result in found.items()},
        "minimum rate": {name: least(result["rates"]).T for name, result in found.items()},
    }
    rows = [
        [name, *(interval_text(panels[what][name][:, i], digits=3) for what in panels for i in (0, -1))]
        for name in found
    ]
    return Exhibit(
        name="fig06",
        title="Fig. 6: rates during meta-training, after adaptation to unseen configurations",
        note=f"{settings.watched} configurations of 12 links, {settings.inner_epochs} epochs of adaptation, 95 % "
        f"bands over configurations; {settings.tasks} tasks an outer loop. Published: {PUBLISHED['fig06']}.",
        figure=figures.curve_panels(panels, x=points, x_label="outer loop", y_label="rate / (bit/s/Hz)"),
        header=["", "mean, start", "mean, end", "minimum, start", "minimum, end"],
        rows=rows,
        data={f"{what} {name}": curve for what, series in panels.items() for name, curve in series.items()}
        | {"outer loops": points},
    )


def comparisons(
    where: str, sizes: tuple[int, ...], starts: tuple[Start, Start], settings: MetaSettings, workers: Workers
) -> Found:
    """Rates of every method on unseen configurations, by the number of links."""
    jobs = {links: Comparison(where, links, *starts, settings) for links in sizes}
    # The largest first, so that no worker is left alone with one at the end.
    results = run_jobs(f"unseen configurations ({where})", list(jobs.values())[::-1], workers)
    return {links: results[job] for links, job in jobs.items()}


def _methods(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rates `[configuration link]` by the names of the tables."""
    meta, at = found["meta.rates"], found["meta.points"].tolist()
    few = max(point for point in at if point <= 20)
    methods = {
        **{name: found[f"rate.{name}"] for name in _BASELINES},
        "MetaGNN, zero-shot": meta[0],
        f"MetaGNN, {few} epochs": meta[at.index(few)],
        f"MetaGNN, {at[-1]} epochs": meta[-1],
        **{
            name.removeprefix("rate."): rate
            for name, rate in found.items()
            if name.startswith(("rate.online", "rate.state", "rate.best"))
        },
    }
    if "scratch.rates" not in found:
        return methods
    scratch, scratch_at = found["scratch.rates"], found["scratch.points"].tolist()
    few = max(point for point in scratch_at if point <= 20)
    return methods | {
        f"random start, {few} epochs": scratch[scratch_at.index(few)],
        f"scratch, {scratch_at[-1]} epochs": scratch[-1],
        "mismatch": found["rate.mismatch"],
    }


def unseen(where: str, found: Found, settings: MetaSettings) -> Exhibit:
    """Fig. 8: all methods on unseen configurations of several sizes, and averaged over them."""
    by_size = {links: _methods(result) for links, result in found.items()}
    names = [
        name for name in next(iter(by_size.values())) if all(name in rates for rates in by_size.values())
    ]
    pooled = {name: together([rates[name] for rates in by_size.values()]) for name in names}
    rows = method_rows(pooled, "ITLinQ", label="all")
    for links, rates in by_size.items():
        rows += method_rows(rates, "ITLinQ", label=str(links))
    ours = [name for name in names if name.startswith("MetaGNN")][1]
    title = (
        "Fig. 8: unseen configurations"
        if where == SQUARE
        else "Munich: pairs of devices, trained on the square"
    )
    note = (
        f"{settings.configurations} configurations of each size, {settings.test_slots} slots, demand 1 bit/s/Hz. "
        "Intervals of 95 %: over configurations, paired in the last column. Rows without `relaxed` of the online dual "
        "and the state-augmented policy hold the minima hard."
    )
    if where == SQUARE:
        gain = gain_over(pooled[ours], pooled["ITLinQ"])
        note += f" {ours}: {gain} % mean rate over ITLinQ. Published: {PUBLISHED['fig08']}."
    return Exhibit(
        name="fig08" if where == SQUARE else "munich",
        title=title,
        note=note,
        figure=figures.mean_against_least(pooled, demand=1.0),
        header=_HEADER,
        rows=rows,
        data={f"{links} {name}": rate for links, rates in by_size.items() for name, rate in rates.items()},
    )


_SHOWN = (
    "max power",
    "WMMSE",
    "ITLinQ",
    "MetaGNN, 20 epochs",
    "online dual, WMMSE",
    "state-augmented",
    "best of both",
)
_PERCENTS = (0.01, 0.05, 0.25, 0.5, 0.75)


def distribution(found: Found) -> Exhibit:
    """Distribution of the links' mean rates over all unseen configurations of the square."""
    by_size = [_methods(result) for result in found.values()]
    names = [name for name in _SHOWN if all(name in rates for rates in by_size)]
    rates = {name: torch.cat([sizes[name].flatten() for sizes in by_size]).double() for name in names}
    quantiles = torch.tensor(_PERCENTS, dtype=torch.float64)
    return Exhibit(
        name="cdf",
        title="Rates of all links of all unseen configurations",
        note="Mean rates over the slots; minima are held hard where a method knows them.",
        figure=figures.rate_cdf(rates, label="mean rate of a link / (bit/s/Hz)", population="links"),
        header=["method", *(f"{100 * share:g} % / (bit/s/Hz)" for share in _PERCENTS)],
        rows=[[name, *(f"{q:.3f}" for q in rate.quantile(quantiles))] for name, rate in rates.items()],
    )


def adaptation(found: Found, settings: MetaSettings) -> Exhibit:
    """Fig. 7: adaptation to unseen configurations of one size, and epochs of several."""
    found = {links: result for links, result in found.items() if "scratch.rates" in result}
    links = 12 if 12 in found else next(iter(found))
    one = found[links]
    panels: dict[str, dict[str, Tensor]] = {}
    reference: dict[str, dict[str, float]] = {}
    at, meta_at = one["scratch.points"], one["meta.points"]
    for what, reduce in (("mean rate", _mean), ("minimum rate", least)):
        meta = reduce(one["meta.rates"])  # [point configuration]
        # Beyond its last epoch MetaGNN is not adapted further.
        index = torch.clamp(torch.searchsorted(meta_at, at, right=True) - 1, min=0)
        panels[what] = {"MetaGNN": meta[index].T, "from scratch": reduce(one["scratch.rates"]).T}
        names = (*_BASELINES, "mismatch")
        reference[what] = {name: float(reduce(one[f"rate.{name}"]).mean()) for name in names}
    rows = [_speed_row(links, result) for links, result in found.items()]
    return Exhibit(
        name="fig07",
        title=f"Fig. 7: adaptation to unseen configurations of {links} links; epochs of several sizes",
        note=f"Means over the configurations with 95 % bands; the paper shows one. MetaGNN stops after "
        f"{settings.adapt_epochs} epochs. Epochs until the penalised rate of "
        "Eq. (4), averaged over configurations, reaches 99 % of what learning "
        f"from scratch ends at after {settings.scratch_epochs} epochs. Scratch learns with the inner rates, MetaGNN "
        f"adapts with its own (Table I). Published: {PUBLISHED['fig07']}.",
        figure=figures.curve_panels(
            panels, x=at, x_label="epoch", y_label="rate / (bit/s/Hz)", reference=reference
        ),
        header=[
            "links",
            "MetaGNN, epochs",
            "scratch, epochs",
            "penalised rate, MetaGNN zero-shot",
            "MetaGNN, end",
            "scratch, end",
        ],
        rows=rows,
        data={f"{links} {name}": result[name] for links, result in found.items() for name in _CURVES},
    )


_CURVES = ("meta.points", "meta.rates", "scratch.points", "scratch.rates")


def _mean(rates: Tensor) -> Tensor:
    return rates.double().nanmean(-1)


def _speed_row(links: int, result: dict[str, Tensor]) -> list[str]:
    goal = 0.99 * float(penalised(result["scratch.rates"][-1]).mean())
    epochs = [
        epochs_to_reach(result[f"{name}.points"], result[f"{name}.rates"], goal)
        for name in ("meta", "scratch")
    ]
    ends = [result["meta.rates"][0], result["meta.rates"][-1], result["scratch.rates"][-1]]
    return [
        str(links),
        *("not reached" if epoch is None else f"{epoch:.0f}" for epoch in epochs),
        *(interval_text(penalised(rates), digits=3) for rates in ends),
    ]


def few_samples(start: Start, settings: MetaSettings, workers: Workers) -> list[Exhibit]:
    """Figs. 9 and 10: fewer samples to learn from."""
    fewest = min(settings.samples)
    jobs = {
        (links, samples): FewSamples(
            links,
            samples,
            settings.long_epochs if samples == fewest else settings.scratch_epochs,
            start,
            settings,
        )
        for links in settings.few_sizes
        for samples in settings.samples
    }
    results = run_jobs("few samples", list(jobs.values()), workers)
    rows, panels = [], {}
    for what, reduce in (("mean rate", _mean), ("minimum rate", least)):
        for links in settings.few_sizes:
            ends = {samples: results[jobs[links, samples]] for samples in settings.samples}
            panels[f"{what}, {links} links"] = {
                "MetaGNN, 20 epochs": torch.stack(
                    [reduce(_at(r, "meta", 20)) for r in ends.values()], dim=-1
                ),
                "from scratch": torch.stack(
                    [reduce(_at(r, "scratch", settings.scratch_epochs)) for r in ends.values()], dim=-1
                ),
            }
    for (links, samples), job in jobs.items():
        for name, epochs in (("meta", 20), ("scratch", settings.scratch_epochs)):
            label = f"MetaGNN, {epochs} epochs" if name == "meta" else f"scratch, {epochs} epochs"
            rows.append([str(links), str(samples), label, *rate_cells(_at(results[job], name, epochs))])
    fig09 = Exhibit(
        name="fig09",
        title="Fig. 9: fewer samples to learn from",
        note=f"{settings.few_configurations} unseen configurations; the samples are the first slots of each. "
        f"Published: {PUBLISHED['fig09']}.",
        figure=figures.curve_panels(
            panels, x=torch.tensor(settings.samples), x_label="samples", y_label="rate / (bit/s/Hz)"
        ),
        header=["links", "samples", "method", *RATE_HEADER],
        rows=rows,
        data={f"{case} {name}": curve for case, series in panels.items() for name, curve in series.items()},
    )
    return [fig09, _long_run(results[jobs[settings.few_sizes[0], fewest]], fewest, settings)]


def _at(result: dict[str, Tensor], name: str, epochs: int) -> Tensor:
    """Rates at the last point that is not beyond so many epochs."""
    return result[name][int((result["points"] <= epochs).nonzero()[-1])]


def _long_run(result: dict[str, Tensor], samples: int, settings: MetaSettings) -> Exhibit:
    panels = {
        what: {"MetaGNN": reduce(result["meta"]).T, "from scratch": reduce(result["scratch"]).T}
        for what, reduce in (("mean rate", _mean), ("minimum rate", least))
    }
    rows = [
        [name, *(interval_text(panels[what][name][:, i], digits=3) for what in panels for i in (0, -1))]
        for name in ("MetaGNN", "from scratch")
    ]
    return Exhibit(
        name="fig10",
        title=f"Fig. 10: {samples} samples, many epochs, {settings.few_sizes[0]} links",
        note=f"Means over {settings.few_configurations} configurations with 95 % bands; the paper shows one. "
        f"Published: {PUBLISHED['fig10']}.",
        figure=figures.curve_panels(panels, x=result["points"], x_label="epoch", y_label="rate / (bit/s/Hz)"),
        header=["", "mean, start", "mean, end", "minimum, start", "minimum, end"],
        rows=rows,
        data={f"{what} {name}": curve for what, series in panels.items() for name, curve in series.items()}
        | {"epochs": result["points"]},
    )


def certificates(starts: tuple[Start, Start], settings: MetaSettings, workers: Workers) -> Exhibit:
    """Objectives against the certified dual bound, and what is missing of hard minima after 100 slots."""
    jobs = {links: Certified(links, *starts, settings) for links in settings.certified_sizes}
    results = run_jobs("certified dual", list(jobs.values())[::-1], workers)
    rows, data = [], {}
    for links, job in jobs.items():
        result = results[job]
        late = {name.removeprefix("late."): r for name, r in result.items() if name.startswith("late.")}
        met = torch.stack([(rate >= 0.99).all(-1) for rate in late.values()]).any(0)
        prefix = "objective."
        for i, name in enumerate(name for name in result if name.startswith(prefix)):
            ratio, interval = metrics.ratio_interval(result[name], result["bound"])
            half = f" ± {100 * (interval[1] - ratio):.2f}" if ratio and interval else ""
            method = name.removeprefix(prefix)
            short = torch.clamp(1 - late[method][met], min=0).mean(-1) if method in late else None
            rows.append(
                [
                    str(links) if i == 0 else "",
                    method,
                    f"{100 * ratio:.2f}{half}" if ratio else "–",
                    "–" if short is None or not len(short) else interval_text(short, 100, 3),
                    f"{int(met.sum())} of {len(met)}" if i == 0 else "",
                ]
            )
            data[f"{links} {name}"] = result[name]
        data[f"{links} bound"] = result["bound"]
        data[f"{links} interval"] = result["interval"]
    return Exhibit(
        name="certified",
        title="Objective of Eq. (4) over its certified dual bound; hard minima after 100 slots",
        note=f"Bound: {settings.certified_configurations} configurations of each size over {settings.certified_slots} "
        "slots, from the first slot on, branch and bound to 1 % in every slot, so that 99 % may be the optimum. Last "
        f"columns: {settings.configurations} configurations, {settings.test_slots} slots, rates of those after the "
        "first 100; a configuration counts as feasible if any of the methods is within 1 % of all minima there.",
        figure=None,
        header=["links", "method", "objective / bound / %", "missing of the minima / %", "feasible"],
        rows=rows,
        data=data,
    )
