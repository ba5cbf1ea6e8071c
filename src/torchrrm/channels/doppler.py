"""Fading that is correlated over time: ends that move, seen at successive slots."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchrrm.channels.fading import Rayleigh
from torchrrm.units import require_carrier_hz

__all__ = ["LIGHT_SPEED_M_PER_S", "CorrelatedRayleigh"]

LIGHT_SPEED_M_PER_S = 299_792_458.0

_MARGINAL = Rayleigh()


@dataclass(frozen=True)
class CorrelatedRayleigh:
    """Rayleigh fading over slots by Clarke's model, as a sum of `N` sinusoids [Xiao2006].

        z(t) = sum_n exp(j (2 pi f_D t cos a_n + b_n)) / sqrt(N),   a_n = (2 pi n + u_n) / N,

    `u_n` and the phases `b_n` being independent and uniform on a circle, `f_D = v f_c / c` the largest Doppler
    shift. For every `N`, `z` is stationary, `E |z|^2 = 1` and `E[z(t + tau) z*(t)] = J_0(2 pi f_D tau)`; the
    amplitude is Rayleigh in the limit, `E |z|^4 = 2 - 1 / N`. Links are independent.

    The model of [Zheng2003], which shares one phase among its sinusoids, has the same correlation, but its
    amplitude at a given time is not Rayleigh. The default slots, speed and carrier are those of the public code
    of [NaderiAlizadeh2022]. As a `Fading` (a draw without time, a density) this is `Rayleigh`.

    Attributes:
        slot_s: time from slot to slot.
        speed_m_per_s: of one end relative to the other.
        carrier_hz: carrier frequency.
        sinusoids: `N`; time grows with it, memory does not.
    """

    slot_s: float = 1e-3
    speed_m_per_s: float = 1.0
    carrier_hz: float = 2.4e9
    sinusoids: int = 32

    def __post_init__(self) -> None:
        require_carrier_hz(self.carrier_hz)
        for name in ("slot_s", "speed_m_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{name}: must be finite and positive, received {value}")
        if self.sinusoids < 1:
            raise ValueError(f"sinusoids: must be at least 1, received {self.sinusoids}")

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift `f_D = v f_c / c`."""
        return self.speed_m_per_s * self.carrier_hz / LIGHT_SPEED_M_PER_S

    def sample_slot_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Complex[Tensor, "*batch slot rx tx"]:
        """Complex amplitudes shaped `[*batch slot rx tx]`, correlated along the axis of slots only."""
        return torch.complex(*self._parts(shape, generator, dtype.to_real()))

    def sample_slot_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "*batch slot rx tx"]:
        """Power gains shaped `[*batch slot rx tx]`, correlated along the axis of slots only."""
        in_phase, quadrature = self._parts(shape, generator, dtype)
        return in_phase.square_().addcmul_(quadrature, quadrature)

    def _parts(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, accumulated one sinusoid after the other."""
        like = {"dtype": dtype, "device": generator.device}
        *batch, slots, rx, tx = shape
        slot = torch.arange(slots, **like)[:, None, None]
        in_phase, quadrature = torch.zeros(shape, **like), torch.zeros(shape, **like)
        for n in range(self.sinusoids):
            turn, phase = torch.rand((2, *batch, 1, rx, tx), generator=generator, **like) * (2.0 * math.pi)
            arrival = (2.0 * math.pi * n + turn) / self.sinusoids
            radians_per_slot = (2.0 * math.pi * self.doppler_hz * self.slot_s) * arrival.cos()
            argument = torch.addcmul(phase, radians_per_slot, slot)  # [*batch slot rx tx]
            in_phase += argument.cos()
            quadrature += argument.sin_()
        scale = 1.0 / math.sqrt(self.sinusoids)
        return in_phase.mul_(scale), quadrature.mul_(scale)

    def sample_gain(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """See `Fading.sample_gain`."""
        return _MARGINAL.sample_gain(shape, generator=generator, dtype=dtype)

    def sample_channel(
        self, shape: tuple[int, ...], *, generator: torch.Generator, dtype: torch.dtype = torch.complex64
    ) -> Tensor:
        """See `Fading.sample_channel`."""
        return _MARGINAL.sample_channel(shape, generator=generator, dtype=dtype)

    def log_pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.log_pdf`."""
        return _MARGINAL.log_pdf(gain)

    def pdf(self, gain: Tensor) -> Tensor:
        """See `Fading.pdf`."""
        return _MARGINAL.pdf(gain)

    def quadrature(self, nodes: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Fading.quadrature`."""
        return _MARGINAL.quadrature(nodes)
