"""Fading: shadowing and small-scale fading of unit mean power.

`gain` is the power `g = |z|^2` of the complex amplitude `z`, with `E[g] = 1`. Draws live on the generator's
device. `quadrature` gives fixed nodes and weights with which an expectation over `g` is a finite sum.
"""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchrrm.units import db_to_linear

__all__ = ["Fading", "LogNormal", "Nakagami", "NoFading", "Rayleigh", "Rice"]


class Fading(Protocol):
    """Small-scale fading of unit mean power."""

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Independent power gains `g`, shaped `shape`."""
        ...

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """Independent complex amplitudes `z` of uniform phase, `|z|^2` distributed as `sample_gain`."""
        ...

    def log_pdf(self, gain: Tensor) -> Tensor:
        """Logarithm of the density of the power gain, minus infinity where it is negative."""
        ...

    def pdf(self, gain: Tensor) -> Tensor:
        """Density of the power gain."""
        ...

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """Nodes `g_i`, ascending, and weights `w_i` of sum 1, float64, with `E[f(g)] ~ sum_i w_i f(g_i)`.

        The trapezoid in `ln g`, which converges geometrically for densities that are analytic there. By
        default the step is chosen from the decay of the density's Mellin transform, and the span so that for
        `exp(-s g)` and `(1 + x g)^-p` with `s` and `p x` up to 3e16 the relative error of the expectation
        stays below 1e-10, however small it is. `nodes` (at least 8) fixes their number instead and keeps the
        span.
        """
        ...


@dataclass(frozen=True)
class LogNormal:
    """Log-normal shadowing: `10 log10 psi` is normal with mean 0 and standard deviation `sigma_db`.

    Table III of [Hao2024] gives values "psi_dB"; they are read as the standard deviation, with a mean of 0
    dB. The median gain is 1; the mean is above (`mean_gain`).
    """

    sigma_db: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma_db) and self.sigma_db >= 0.0):
            raise ValueError(f"sigma_db: must be finite and at least 0, received {self.sigma_db}")

    @property
    def mean_gain(self) -> float:
        """`E[psi] = exp((sigma_db ln(10) / 10)^2 / 2)`."""
        return math.exp(0.5 * (self.sigma_db * math.log(10.0) / 10.0) ** 2)

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Independent linear gains `psi`, shaped `shape`."""
        return db_to_linear(self.sigma_db * _normal(shape, generator, dtype))


@dataclass(frozen=True)
class NoFading:
    """A power gain of 1 always: channels are their large-scale gains.

    The density is a unit mass at 1, which `log_pdf` and `pdf` give as infinity there and as 0 elsewhere.
    """

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """See `Fading.sample_gain`."""
        return torch.ones(shape, dtype=dtype, device=generator.device)

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """See `Fading.sample_channel`."""
        phase = _phase(shape, generator, dtype.to_real())
        return torch.polar(torch.ones_like(phase), phase)

    def log_pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.log_pdf`."""
        return torch.where(gain == 1.0, math.inf, -math.inf).to(gain.dtype)

    def pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.pdf`."""
        return self.log_pdf(gain).exp()

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Fading.quadrature`: one node, which is exact, whatever the number asked for."""
        return torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh amplitude, exponential power gain: `p(g) = exp(-g)`."""

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """See `Fading.sample_gain`."""
        return torch.empty(shape, dtype=dtype, device=generator.device).exponential_(generator=generator)

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """See `Fading.sample_channel`: circularly symmetric complex normal."""
        return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)

    def log_pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.log_pdf`."""
        return torch.where(gain >= 0.0, -gain, -math.inf)

    def pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.pdf`."""
        return self.log_pdf(gain).exp()

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Fading.quadrature`; 162 nodes by default."""
        return _quadrature(self.log_pdf, 1.0, _gamma_ceiling(1.0), lambda y: _log_gamma_ratio(1.0, y), nodes)


@dataclass(frozen=True)
class Nakagami:
    """Nakagami-m amplitude: the power gain is gamma distributed with shape `m` and mean 1.

    `p(g) = m^m g^(m-1) exp(-m g) / Gamma(m)`: `p^N(z | m, sigma)` of Table III of [Hao2024] with `2 sigma^2 =
    1`.
    """

    m: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.m) and self.m >= 0.5):
            raise ValueError(f"m: must be finite and at least 0.5, received {self.m}")

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """See `Fading.sample_gain`."""
        # torch.distributions.Gamma draws from the global generator; this is the function it calls.
        concentration = torch.full(shape, self.m, dtype=dtype, device=generator.device)
        standard = torch._standard_gamma(  # pyright: ignore[reportPrivateImportUsage]
            concentration, generator=generator
        )
        return standard / self.m

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """See `Fading.sample_channel`: the phase, which the model leaves open, is uniform."""
        gain = self.sample_gain(shape, generator=generator, dtype=dtype.to_real())
        return torch.polar(gain.sqrt(), _phase(shape, generator, gain.dtype))

    def log_pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.log_pdf`."""
        constant = self.m * math.log(self.m) - math.lgamma(self.m)
        inside = constant + torch.special.xlogy(self.m - 1.0, gain.clamp_min(0.0)) - self.m * gain
        return torch.where(gain >= 0.0, inside, -math.inf)

    def pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.pdf`."""
        return self.log_pdf(gain).exp()

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Fading.quadrature`; 168 nodes for m = 2, 192 for m = 6 by default."""
        decay = lambda y: _log_gamma_ratio(self.m, y)  # noqa: E731
        return _quadrature(self.log_pdf, self.m, _gamma_ceiling(self.m), decay, nodes)


@dataclass(frozen=True)
class Rice:
    """Rice amplitude: a fixed path of power `K / (K + 1)` and scattered paths of power `1 / (K + 1)`.

    `p(g) = (K + 1) exp(-K - (K + 1) g) I_0(2 sqrt(K (K + 1) g))`. `Rice.from_amplitude(s)` takes the
    parameters of `p^I(z | s, sigma)` of Table III of [Hao2024], normalised to `E[z^2] = 1`.
    """

    k_factor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.k_factor) and self.k_factor >= 0.0):
            raise ValueError(f"k_factor: must be finite and at least 0, received {self.k_factor}")

    @classmethod
    def from_amplitude(cls, s: float, sigma: float = 1.0) -> "Rice":
        """A fixed path of amplitude `s` in scattering of deviation `sigma`: `K = s^2 / (2 sigma^2)`.

        The paper's `z` has mean power `s^2 + 2 sigma^2`, so its `s` from 1 to 5 would also change the path
        loss; the normalisation to 1 leaves only the shape.
        """
        if not (math.isfinite(sigma) and sigma > 0.0):
            raise ValueError(f"sigma: must be finite and positive, received {sigma}")
        return cls(k_factor=s * s / (2.0 * sigma * sigma))

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """See `Fading.sample_gain`."""
        in_phase, quadrature = _normal((2, *shape), generator, dtype)
        in_phase = math.sqrt(2.0 * self.k_factor) + in_phase
        return (in_phase.square() + quadrature.square()) / (2.0 * (self.k_factor + 1.0))

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """See `Fading.sample_channel`: the fixed path has a uniform phase of its own in every draw."""
        scattered = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
        phase = _phase(shape, generator, scattered.real.dtype)
        fixed = torch.polar(torch.full_like(phase, math.sqrt(self.k_factor)), phase)
        return (fixed + scattered) / math.sqrt(self.k_factor + 1.0)

    def log_pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.log_pdf`."""
        argument = 2.0 * torch.sqrt(self.k_factor * (self.k_factor + 1.0) * gain.clamp_min(0.0))
        # i0e(x) = exp(-x) I_0(x); the exponents are joined so that neither overflows.
        exponent = argument - self.k_factor - (self.k_factor + 1.0) * gain
        inside = math.log(self.k_factor + 1.0) + exponent + torch.special.i0e(argument).log()
        return torch.where(gain >= 0.0, inside, -math.inf)

    def pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.pdf`."""
        return self.log_pdf(gain).exp()

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Fading.quadrature`; 184 nodes for s = 1, 308 for s = 5 by default."""
        spread = math.sqrt(_TAIL_EXPONENT / (self.k_factor + 1.0))
        ceiling = (math.sqrt(self.k_factor / (self.k_factor + 1.0)) + spread) ** 2
        return _quadrature(self.log_pdf, 1.0, ceiling, self._log_mellin_bound, nodes)

    def _log_mellin_bound(self, y: float) -> float:
        """Bound of `ln |E[g^(iy)]|`: the gain is a Poisson(K) mixture of gammas of shape k + 1."""
        last = int(self.k_factor + 12.0 * math.sqrt(self.k_factor)) + 30
        terms = (
            _xlogy(k, self.k_factor) - self.k_factor - math.lgamma(k + 1.0) + _log_gamma_ratio(k + 1.0, y)
            for k in range(last)
        )
        return math.log(sum(math.exp(term) for term in terms))


# Trapezoid in u = ln g. Its error is the aliasing of the Mellin transform, 2 |E[g^(2 pi i / step)]| to first
# order, plus what is cut off: mass exp(-_TAIL_EXPONENT) above, and below the lowest node (s g)^(m + 2) of the
# expectation for the fastest integrand exp(-s g), for the mass there is put at its mean.
_LOG_TOLERANCE = math.log(1e-12)
_TAIL_EXPONENT = 44.0
_FASTEST_RATE = 3e16


def _quadrature(
    log_pdf: Callable[[Tensor], Tensor],
    order: float,
    ceiling: float,
    log_mellin: Callable[[float], float],
    nodes: int | None,
) -> tuple[Tensor, Tensor]:
    """Trapezoid in `ln g` for a density that is `g^(order - 1)` near 0 and has no mass above `ceiling`."""
    if nodes is not None and nodes < 8:
        raise ValueError(f"nodes: must be at least 8, received {nodes}")
    low = _LOG_TOLERANCE / (order + 2.0) - math.log(_FASTEST_RATE)
    high = math.log(ceiling)
    count = nodes or 2 + math.ceil((high - low) * _shortest_wave(log_mellin) / (2.0 * math.pi))
    # One node holds the tail below the grid, the others are the grid.
    grid = torch.linspace(low, high, count - 1, dtype=torch.float64)
    step = (high - low) / (count - 2)
    gain = grid.exp()
    weight = step * (grid + log_pdf(gain)).exp()
    # The tail is geometric: grid points g_0 exp(-k step) of weight w_0 exp(-order k step), k = 1, 2, ...
    tail_weight = weight[:1] / math.expm1(order * step)
    tail_gain = gain[:1] * math.expm1(order * step) / math.expm1((order + 1.0) * step)
    gain = torch.cat((tail_gain, gain))
    weight = torch.cat((tail_weight, weight))
    return gain, weight / weight.sum()


def _shortest_wave(log_mellin: Callable[[float], float]) -> float:
    """Smallest frequency in `ln g` beyond which the density's transform is below the tolerance, to 0.1."""
    low, high = 4.0, 8.0
    while math.log(2.0) + log_mellin(high) > _LOG_TOLERANCE:
        low, high = high, 2.0 * high
    while high - low > 0.1:
        middle = 0.5 * (low + high)
        if math.log(2.0) + log_mellin(middle) > _LOG_TOLERANCE:
            low = middle
        else:
            high = middle
    return high


def _log_gamma_ratio(order: float, y: float) -> float:
    """`ln |Gamma(order + iy) / Gamma(order)|` by Stirling's series, good to 1e-3 for `|order + iy| >= 4`."""
    z = complex(order, y)
    log_gamma = (z - 0.5) * cmath.log(z) - z + 0.5 * math.log(2.0 * math.pi) + 1.0 / (12.0 * z)
    return log_gamma.real - math.lgamma(order)


def _gamma_ceiling(order: float) -> float:
    """Gain `t` with `P(g > t) <= exp(-_TAIL_EXPONENT)` by Chernoff's bound `exp(-order (t - 1 - ln t))`."""
    ceiling = 1.0 + _TAIL_EXPONENT / order + math.sqrt(2.0 * _TAIL_EXPONENT / order)
    for _ in range(8):  # the fixed point contracts: its derivative is 1 / t
        ceiling = 1.0 + math.log(ceiling) + _TAIL_EXPONENT / order
    return ceiling


def _xlogy(x: float, y: float) -> float:
    if not x:
        return 0.0
    return x * math.log(y) if y else -math.inf


def _normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)


def _phase(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return 2.0 * math.pi * torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
