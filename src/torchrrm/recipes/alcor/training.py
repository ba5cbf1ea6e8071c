"""What the recipe trains, job by job, and the parameters by the names that they go by."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from torchrrm.recipes.alcor.augmented import AugmentedTraining
from torchrrm.recipes.alcor.cases import TABLE2, TABLE3, TABLE4, Case, generator_of
from torchrrm.recipes.alcor.central import WIDTHS, CentralTraining
from torchrrm.recipes.alcor.local import LocalTraining
from torchrrm.recipes.alcor.networks import DynamicTraining, FixedTraining, StepTraining, mean_rates
from torchrrm.recipes.alcor.settings import AlcorSettings
from torchrrm.recipes.alcor.unfolded import UnfoldedTraining
from torchrrm.recipes.jobs import Job, Start, Workers, run_jobs

__all__ = ["NetworkRates", "dynamic_training", "fixed_trainings", "step_training", "train_all"]

_FROM_CENTRAL = 150  # steps of a network for fixed demands that begins as a centralised policy


def central_training(
    links: int, settings: AlcorSettings, seed: int, *, diverse: bool = True
) -> CentralTraining:
    """Of the centralised policy."""
    batch = 100 if links > 20 else 300
    steps = settings.central_steps[links]
    return CentralTraining(links, WIDTHS[links], diverse, seed, steps=steps, batch_size=batch)


def local_training(
    settings: AlcorSettings, seed: int, *, diverse: bool = True, weighted: bool = False
) -> LocalTraining:
    """Of the distributed policy."""
    return LocalTraining(
        settings.local_links, diverse=diverse, seed=seed, weighted=weighted, steps=settings.local_steps
    )


def _steps(settings: AlcorSettings, steps: int) -> int:
    return max(2, round(settings.network_steps * steps))


def dynamic_training(settings: AlcorSettings, seed: int) -> DynamicTraining:
    """Of the network that reads demands."""
    return DynamicTraining(steps=_steps(settings, DynamicTraining.steps), seed=seed)


def step_training(settings: AlcorSettings, seed: int) -> StepTraining:
    """Of the first parameters and the step of Fig. 1."""
    return StepTraining(steps=_steps(settings, StepTraining.steps), seed=seed)


def fixed_trainings(
    settings: AlcorSettings, seed: int, central: Mapping[int, Start]
) -> dict[int, FixedTraining]:
    """Of the networks for fixed demands, by the number of links."""
    few, many = _steps(settings, _FROM_CENTRAL), _steps(settings, FixedTraining.steps)
    found = {
        links: FixedTraining(TABLE2[links], WIDTHS[links], start=central[links], steps=few, seed=seed)
        for links in settings.sizes
    }
    return found | {5: FixedTraining(TABLE4[2], (100, 50), sort=False, steps=many, seed=seed)}


def train_all(settings: AlcorSettings, workers: Workers, seed: int) -> dict[str, Start]:
    """Parameters of everything that is trained, by name."""
    jobs: dict[str, Job] = {
        "central-20": central_training(20, settings, seed),
        "central-20, all on": central_training(20, settings, seed, diverse=False),
        "local": local_training(settings, seed),
        "local, all on": local_training(settings, seed, diverse=False),
        "local-weighted": local_training(settings, seed, weighted=True),
        "augmented": AugmentedTraining(
            settings.augmented_sizes, settings.trajectories, settings.loop_slots, settings.augmented, seed
        ),
        "unfolded": UnfoldedTraining(seed, settings.unfolded),
        "step": step_training(settings, seed),
        "dynamic": dynamic_training(settings, seed),
        **{f"central-{links}": central_training(links, settings, seed) for links in (5, *settings.sizes)},
    }
    found = run_jobs("training", list(dict.fromkeys(jobs.values())), workers)
    weights = {name: Start(job.name, found[job]) for name, job in jobs.items()}
    central = {links: weights[f"central-{links}"] for links in settings.sizes}
    fixed = fixed_trainings(settings, seed, central)
    trained = run_jobs("training for demands", list(fixed.values()), workers)
    return weights | {f"fixed-{links}": Start(job.name, trained[job]) for links, job in fixed.items()}


@dataclass(frozen=True)
class NetworkRates:
    """Mean rates of the networks that were trained for demands, on unseen draws: the job of a worker.

    Attributes:
        case: the demands.
        training: which network, as a job.
        start: its parameters.
        draws: how many.
    """

    case: Case
    training: FixedTraining | DynamicTraining
    start: Start
    draws: int

    @property
    def name(self) -> str:
        words = "".join(letter if letter.isalnum() else "_" for letter in self.case.name)
        return f"network-{self.training.name}-{words}"

    def __call__(self) -> dict[str, Tensor]:
        """Rate of each link in bit/s/Hz, `rate` `[1 tx]`."""
        generator = generator_of(REPORT_NETWORKS, self.case.links)
        policy = self.training.trained(self.start.parameters)
        return {"rate": mean_rates(policy, self.case, draws=self.draws, generator=generator)[None]}


REPORT_NETWORKS = 23_500_000


def network_rates(
    settings: AlcorSettings, weights: Mapping[str, Start], workers: Workers, seed: int
) -> dict[tuple[str, str], Tensor]:
    """Rates of the fixed and the dynamic networks, by case and method of Tables II to IV."""
    central = {links: weights[f"central-{links}"] for links in settings.sizes}
    fixed, dynamic = fixed_trainings(settings, seed, central), dynamic_training(settings, seed)
    jobs: dict[tuple[str, str], NetworkRates] = {}
    for links in settings.sizes:
        for case in (TABLE2[links], TABLE3[links]):
            start = weights[f"fixed-{links}"]
            jobs[case.name, "fixed network"] = NetworkRates(case, fixed[links], start, settings.network_draws)
    for case in TABLE4.values():
        both = ("dynamic network", dynamic, "dynamic"), ("fixed network", fixed[5], "fixed-5")
        for method, training, name in both:
            jobs[case.name, method] = NetworkRates(case, training, weights[name], settings.network_draws)
    found = run_jobs("networks trained for demands", list(jobs.values()), workers)
    return {key: found[job]["rate"] for key, job in jobs.items()}
