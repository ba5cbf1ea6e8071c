"""Networks from a configuration of links to one non-negative number a link: multipliers, slacks, mean rates."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import leaky_relu

from torchrrm.nn import LinkGNN
from torchrrm.policies.base import Policy
from torchrrm.policies.power_gnn import EDGES
from torchrrm.problems.links import ErgodicInstance, relative_gain

__all__ = ["ConfigurationGNN"]


class _Rectified(Function):
    """ReLU; where it holds 0, a gradient passes that would raise it when descended.

    So a multiplier at 0 can rise again, which a plain ReLU, as in Eq. (26) of [Huang2024], forbids.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return torch.relu(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        return torch.where((value > 0) | (gradients[0] < 0), gradients[0], 0.0)


class ConfigurationGNN(Policy):
    """Graph network over mean gains with a ReLU at its end (Eq. (26) of [Huang2024]).

    Node features are SNR and SINR at full power of the mean gains, and the minimum rate; the paper takes fixed
    values or initial mean rates, which these tell. A gradient that asks for more also passes where the ReLU gives 0.

    Initialised as in Eq. (27) of [Huang2024]: the weights of the last layer are normal with a positive mean, its
    bias is 0, so that outputs start positive. The paper prints neither `mu_I` nor `sigma_I`; here both are
    `init_mean`, which keeps its `mu_I > sigma_I^2 > 0`.

    Args:
        edges: a name in `torchrrm.policies.power_gnn.EDGES`.
        outgoing: as in `PowerGNN`; the paper's do not.
        widths: of the layers.
        init_mean: `mu_I`.
    """

    not_exported = "it decides no powers but the first multipliers of a control loop"

    def __init__(
        self,
        *,
        edges: str = "frobenius",
        outgoing: bool = False,
        widths: Sequence[int] = (128, 128),
        init_mean: float = 0.03,
    ):
        super().__init__()
        self.edges, self.outgoing, self.widths, self.init_mean = edges, outgoing, tuple(widths), init_mean
        self.score = LinkGNN(3, self.widths, outgoing=outgoing, activation=leaky_relu)
        nn.init.normal_(self.score.head.weight, init_mean, init_mean)
        nn.init.zeros_(self.score.head.bias)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the network, as JSON."""
        return {
            "edges": self.edges,
            "outgoing": self.outgoing,
            "widths": list(self.widths),
            "init_mean": self.init_mean,
        }

    def forward(self, instance: ErgodicInstance) -> Float[Tensor, "*batch tx"]:
        """One number for each link, not negative; 0 where inactive."""
        mean = instance.mean_slot()
        ratio, active = relative_gain(mean), mean.active
        snr = ratio.diagonal(dim1=-2, dim2=-1)
        sinr = snr / torch.clamp(1.0 + ratio.sum(-1) - snr, min=1.0)  # rounding may leave less
        columns = [torch.log1p(snr) / 7.0, torch.log1p(sinr) / 7.0, instance.min_rate_bps_hz]
        node = torch.where(active[..., None], torch.stack(columns, dim=-1), 0.0)
        value = self.score(node, EDGES[self.edges](ratio, active))
        return torch.where(active, _Rectified.apply(value), 0.0)
