"""Local-extremum convolution over sparse graphs, by products of compressed rows."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["SparseLEConv"]


class SparseLEConv(nn.Module):
    """The layer of `DenseLEConv` on a sparse matrix of edge weights.

        x'_i = W_3 x_i + b_3 + sum_j e_ij (W_1 x_j + b_1 - W_2 x_i),

    where `e_ij` weighs the edge from node `j` to node `i`. Its parameters have the names and shapes of
    `DenseLEConv` and of `torch_geometric.nn.LEConv` [Fey2019], so that weights can be exchanged. Gradients go to
    the nodes and the weights, not to the edges. Where a layer widens its input, the edges are applied before
    the weights.

    Shapes: nodes `[node inputs]`, edges `[node node]` of layout `torch.sparse_csr` (with indices of 32 bits
    products are faster) -> `[node outputs]`. Several graphs are one with blocks on its diagonal.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.lin1 = nn.Linear(inputs, outputs)
        self.lin2 = nn.Linear(inputs, outputs, bias=False)
        self.lin3 = nn.Linear(inputs, outputs)

    def forward(
        self, node: Float[Tensor, "node inputs"], edge: Float[Tensor, "node node"]
    ) -> Float[Tensor, "node outputs"]:
        degree = edge @ node.new_ones(len(node), 1)  # [node 1]
        if self.lin1.in_features < self.lin1.out_features:
            heard = (edge @ node) @ self.lin1.weight.mT + degree * self.lin1.bias
        else:
            heard = edge @ self.lin1(node)
        return heard - degree * self.lin2(node) + self.lin3(node)
