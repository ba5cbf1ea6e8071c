"""Local-extremum convolution over complete graphs, without edge lists."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["DenseLEConv"]


class DenseLEConv(nn.Module):
    """LEConv of PyTorch Geometric [Fey2019] on a dense matrix of edge weights.

        x'_i = W_3 x_i + b_3 + sum_j e_ij (W_1 x_j + b_1 - W_2 x_i),

    where `e_ij` weighs the edge from node `j` to node `i`: for links, from transmitter `j` to receiver `i`, in
    the order of a gain. The parameters have the names and shapes of `torch_geometric.nn.LEConv`, so that
    weights can be exchanged. Where a layer widens its input, the edges are applied before the weights.

    Shapes: nodes `[*batch node inputs]`, edges `[*batch node node]` -> `[*batch node outputs]`.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.lin1 = nn.Linear(inputs, outputs)
        self.lin2 = nn.Linear(inputs, outputs, bias=False)
        self.lin3 = nn.Linear(inputs, outputs)

    def forward(
        self, node: Float[Tensor, "*batch node inputs"], edge: Float[Tensor, "*batch node node"]
    ) -> Float[Tensor, "*batch node outputs"]:
        degree = edge.sum(-1, keepdim=True)  # [*batch node 1]
        inputs, outputs = self.lin1.in_features, self.lin1.out_features
        # An exported graph holds the joined weights; elsewhere joining them costs more than it saves.
        if inputs < outputs or (inputs == outputs and torch.compiler.is_exporting()):
            own, bias = -self.lin2.weight, self.lin1.bias[:, None]
            weight = torch.cat([self.lin1.weight, own, self.lin3.weight, bias], dim=-1)
            parts = [edge @ node, degree * node, node, degree]
            mixed = torch.cat(parts, dim=-1)  # [*batch node 3 inputs + 1]
            return linear(mixed, weight, self.lin3.bias)
        weight = torch.cat([self.lin1.weight, self.lin2.weight, self.lin3.weight])
        sent, own, kept = (node @ weight.mT).split(outputs, dim=-1)  # [*batch node outputs] each
        return edge @ (sent + self.lin1.bias) - degree * own + kept + self.lin3.bias
