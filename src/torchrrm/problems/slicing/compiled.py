"""The compiled curve as a differentiable function of bandwidth."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from torchrrm.kernels.link_rates import curves

__all__ = ["CompiledRate"]

Law = tuple[float, float, float, Any, Any]


def _curves(bandwidth_hz: Tensor, cn0_hz: Tensor, eavesdropper_cn0_hz: Tensor, law: Law) -> list[Tensor]:
    """Rate, slope and curvature, computed in float64 and returned in the precision of the bandwidth."""

    def flat(tensor: Tensor) -> Any:
        return np.ascontiguousarray(
            tensor.detach().expand(bandwidth_hz.shape).reshape(-1).numpy(), np.float64
        )

    values = curves(flat(bandwidth_hz), flat(cn0_hz), flat(eavesdropper_cn0_hz), law)
    return [torch.from_numpy(value).reshape(bandwidth_hz.shape).to(bandwidth_hz.dtype) for value in values]


class CompiledRate(Function):
    """`apply(bandwidth_hz, cn0_hz, eavesdropper_cn0_hz, law)`: the rate in bit/s, twice differentiable by bandwidth."""

    @staticmethod
    def forward(
        ctx: Any, bandwidth_hz: Tensor, cn0_hz: Tensor, eavesdropper_cn0_hz: Tensor, law: Law
    ) -> Tensor:
        rate, slope, curvature = _curves(bandwidth_hz, cn0_hz, eavesdropper_cn0_hz, law)
        ctx.save_for_backward(bandwidth_hz, slope, curvature)
        return rate

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        bandwidth_hz, slope, curvature = ctx.saved_tensors
        return gradients[0] * _Slope.apply(bandwidth_hz, slope, curvature), None, None, None


class _Slope(Function):
    """The slope, already computed, as a function of bandwidth whose derivative is the curvature."""

    @staticmethod
    def forward(ctx: Any, bandwidth_hz: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
        ctx.save_for_backward(curvature)
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (curvature,) = ctx.saved_tensors
        return gradients[0] * curvature, None, None
