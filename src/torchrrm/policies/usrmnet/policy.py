"""USRMNet for any number of users and antennas, any SNR and blocklength, with one set of weights."""

import math
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torchrrm.kernels import usrmnet as kernels
from torchrrm.policies.base import Policy
from torchrrm.policies.unrolled import ConstrainedProgram, UPGDNet, unroll
from torchrrm.policies.usrmnet.core import (
    FEATURES,
    MESSAGES,
    Uplink,
    Wish,
    growth,
    layer_program,
    messages,
    outlook,
    uplink,
)
from torchrrm.policies.usrmnet.planes import BeamPlanes, PlaneInstance, unroll_planes
from torchrrm.problems.beamforming import BeamAction, MisoInstance, UrllcBeamforming, mmse_action
from torchrrm.records import is_compilable, to
from torchrrm.solvers.beam_arrays import miso_arrays, miso_weights
from torchrrm.solvers.beam_power import restored_share

__all__ = ["USRMNet", "UserNet"]

_INPUTS = 2 * len(FEATURES) + 2 * len(MESSAGES)


class UserNet(nn.Module):
    """A graph filter, ReLU and a sum: one number for each user, equivariant to their order.

    What enters are a user's own features, their mean over all users, and two sums of the others' messages, `T m` and
    `T^T m`: what it hears of them, and what they hear of it.

    Args:
        hidden: width.
        sizes: the numbers are step sizes: `exp` of them, times those of `Outlook.scale`.
    """

    def __init__(self, hidden: int, *, sizes: bool):
        super().__init__()
        self.sizes = sizes
        bound = 1 / math.sqrt(_INPUTS)
        self.inner = nn.Parameter(torch.empty(_INPUTS + 1, hidden).uniform_(-bound, bound))  # biases last
        self.outer = nn.Parameter(torch.empty(hidden + 1, 1).normal_(0.0, 0.01))

    def forward(
        self,
        node: Float[Tensor, "*batch user feature"],
        coupled: Float[Tensor, "*batch user user"],
        served: Bool[Tensor, "*batch user"],
        scale: Float[Tensor, "*batch user"],
    ) -> Float[Tensor, "*batch user 1"]:
        inner, outer = self.inner.to(node.dtype), self.outer.to(node.dtype)
        state = torch.relu(messages(node, coupled, served) @ inner[:-1] + inner[-1])
        value = state @ outer[:-1] + outer[-1]
        return torch.exp(value) * scale[..., None] if self.sizes else value


class USRMNet(Policy):
    """USRMNet of [He2022USRMNet] on the Gram form: projected gradient descent, unrolled; equivariant to users' order.

    Its layers are those of `UPGDNet`, on the K uplink powers alone: under best beams rates are functions of them by
    the Gram matrix, so that neither antennas nor the auxiliary variables of problem (10) of the paper are needed. Each
    layer inverts one K x K matrix and takes a step along the gradient of the Lagrangian, of learned size, with a
    learned perturbation; both are graph filters whose messages pass over `|E_kl|^2 / e_k`, `E = (I + sqrt(Q) G
    sqrt(Q))^-1`. Then it projects onto budget and minimum rates, with beams held fixed; after the last layer the exact
    `restored_power` does, so that minimum rates hold wherever they can. Where they cannot, powers are balanced, see
    `MinimumPowerBeamforming`. It starts from
    equal powers, restored likewise.

    One set of weights serves any number of users, which is why it deviates from the paper's network (see
    `LiteralUSRMNet`): features are relative to units, to the number of users and to antennas.

    Without gradients, on a CPU, a compiled kernel serves single instances and batches. Both forms compute in float64.

    Args:
        depth: layers.
        hidden: width of each of the two networks of a layer.
    """

    any_precision = True

    def __init__(self, *, depth: int = 2, hidden: int = 8):
        super().__init__()
        for name, value in (("depth", depth), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        self.depth, self.hidden = depth, hidden
        self.layers = nn.ModuleList(
            UPGDNet(UserNet(hidden, sizes=True), UserNet(hidden, sizes=False)) for _ in range(depth)
        )
        pairs = [(cast(UPGDNet, layer).step, cast(UPGDNet, layer).perturb) for layer in self.layers]
        self._nets = [
            cast(UserNet, net) for pair in pairs for net in pair
        ]  # at hand: to look them up takes long
        self._packed: tuple[tuple[tuple[int, int], ...], tuple[np.ndarray, np.ndarray]] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {"depth": self.depth, "hidden": self.hidden}

    @property
    def problem(self) -> UrllcBeamforming:
        """What the policy serves."""
        return UrllcBeamforming()

    @property
    def core_sizes(self) -> dict[str, int | str]:
        """Axes of `core` that are not free: none."""
        return {}

    @property
    def core_most(self) -> int:
        """Users and antennas at which an exported file is checked: its work grows with the cube of the users."""
        return 40

    @property
    def core_dtype(self) -> torch.dtype:
        """Of what `core` reads: whether a minimum rate binds is seen in double precision only."""
        return torch.float64

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.beamforming`."""
        return {"service": "beams", "kind": "urllc"}

    def core(
        self,
        channel_real: Float[Tensor, "*batch user ant"],
        channel_imag: Float[Tensor, "*batch user ant"],
        weight: Float[Tensor, "*batch user"],
        back_off: Float[Tensor, "*batch"],
        least_sinr: Float[Tensor, "*batch user"],
        active: Bool[Tensor, "*batch user"],
        start: Float[Tensor, "*batch user"],
    ) -> BeamPlanes:
        """The layers, in real and imaginary planes: what `torchrrm.deploy` exports; see `PlaneInstance`."""
        instance = PlaneInstance(
            channel_real=channel_real,
            channel_imag=channel_imag,
            weight=weight,
            back_off=back_off,
            least_sinr=least_sinr,
            active=active,
            start=start,
        )
        return unroll_planes(self, instance)

    @property
    def packed(self) -> tuple[np.ndarray, np.ndarray]:
        """The parameters as `torchrrm.kernels.usrmnet` takes them; arranged anew only when one has changed."""
        parameters = [value for net in self._nets for value in net._parameters.values() if value is not None]
        state = tuple((value.data_ptr(), value._version) for value in parameters)
        if self._packed is None or self._packed[0] != state:
            self._packed = state, kernels.pack([value.detach().cpu().numpy() for value in parameters])
        return self._packed[1]

    def begin(self, instance: Uplink) -> Wish:
        """Equal shares, restored to the minimum rates."""
        return Wish(wanted=instance.start, share=instance.start)

    def describe(self, instance: Uplink, state: Wish) -> ConstrainedProgram:
        """See `layer_program`."""
        return layer_program(instance, state.share, outlook(instance, state.share))

    def advance(self, instance: Uplink, state: Wish, x: Tensor) -> Wish:
        """What is wanted after relative changes, and the shares projected."""
        return Wish(wanted=state.share * growth(x[..., 0]), share=x[..., 1])

    def forward(self, instance: MisoInstance) -> BeamAction:
        """Uplink powers in W and beams."""
        learning = torch.is_grad_enabled() and self._nets[0].inner.requires_grad
        if is_compilable(instance) and not learning:
            return self._compiled(instance)
        links = uplink(instance)
        share, _ = restored_share(links.gram, unroll(self, links).wanted, links.target)
        exact = to(instance, dtype=torch.float64)
        action = mmse_action(exact, share * exact.max_power_w[..., None])
        return to(action, dtype=instance.max_power_w.dtype)

    def _compiled(self, instance: MisoInstance) -> BeamAction:
        channel, noise, limit, packet, active = miso_arrays(instance)
        weight = miso_weights(instance, active)
        power, beam = np.empty(active.shape), np.empty_like(channel)
        kernels.solve_batch(channel, noise, limit, packet, active, weight, self.packed, power, beam)
        return BeamAction(
            power_w=torch.from_numpy(power).to(instance.max_power_w.dtype).reshape(instance.active.shape),
            beam=torch.from_numpy(beam).to(instance.channel.dtype).reshape(instance.channel.shape),
        )
