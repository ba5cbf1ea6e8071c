"""Scenarios: random sources of channels, composed of a topology, a path loss, shadowing and fading."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from torchrrm.channels.draws import AntennaDraw, ChannelDraw, UrbanDraw
from torchrrm.channels.ends import heights_by_role
from torchrrm.channels.fading import Fading, LogNormal, NoFading, Rayleigh
from torchrrm.channels.pathloss import (
    BoundedPowerLaw,
    ConstantLoss,
    DualSlope,
    LosNlos,
    PathLoss,
    PowerLaw,
    UrbanMacro,
    UrbanMicro,
    uma_los_probability,
    umi_los_probability,
)
from torchrrm.channels.slots import SlotDraw, slot_fading
from torchrrm.channels.topology import (
    CellularLinks,
    Colocated,
    DiscCell,
    Drop,
    PairedLinks,
    SquareCell,
    Topology,
)
from torchrrm.channels.urban import UrbanDrop, UrbanSquare

__all__ = [
    "SCENARIOS",
    "Scenario",
    "hml_scenario",
    "hudn_scenario",
    "metagnn_scenario",
    "rayleigh_scenario",
    "seven_cell_scenario",
    "uma_scenario",
    "umi_scenario",
    "urllc_scenario",
]

_RAYLEIGH = Rayleigh()
_NO_FADING = NoFading()


@dataclass(frozen=True)
class Scenario:
    """A random source of channels.

    Shadowing and fading are independent over links. Over slots (`sample_slots`) the fading is independent, too,
    unless it is a `CorrelatedRayleigh`. With a `LosNlos` path loss the state of each link is that which the
    topology's buildings leave it, if it has some, or else is drawn from its probability of line of sight;
    `nlos_shadowing_db` (by default `shadowing_db`) applies without it.
    """

    topology: Topology
    path_loss: PathLoss
    shadowing_db: float = 0.0
    fading: Fading = field(default_factory=Rayleigh)
    nlos_shadowing_db: float | None = None

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> ChannelDraw:
        """Draw channels of `receivers` and `transmitters`, on the generator's device.

        Shapes: gains `[*batch rx tx]`, positions `[*batch rx 3]` and `[*batch tx 3]`.

        >>> generator = torch.Generator().manual_seed(0)
        >>> draw = hml_scenario().sample(4, transmitters=10, receivers=2, generator=generator)
        >>> tuple(draw.gain.shape)
        (4, 2, 10)
        """
        drop = self.topology.sample(
            *batch_shape, transmitters=transmitters, receivers=receivers, generator=generator, dtype=dtype
        )
        large_scale_gain = self._large_scale_gain(drop, generator)
        shape = tuple(large_scale_gain.shape)
        fields = {
            "large_scale_gain": large_scale_gain,
            "small_scale_gain": self.fading.sample_gain(shape, generator=generator, dtype=dtype),
            "rx_position_m": drop.rx_position_m,
            "tx_position_m": drop.tx_position_m,
        }
        if isinstance(drop, UrbanDrop):
            return UrbanDraw(**fields, building_m=drop.building_m, line_of_sight=drop.line_of_sight)
        return ChannelDraw(**fields)

    def sample_slots(
        self,
        *batch_shape: int,
        slots: int,
        transmitters: int,
        receivers: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> SlotDraw:
        """Draw channels whose fading goes on over slots; places and shadowing stay.

        Shapes: large-scale gain `[*batch rx tx]`, gain `[*batch slot rx tx]`, on the generator's device.

        >>> generator = torch.Generator().manual_seed(0)
        >>> draw = metagnn_scenario().sample_slots(
        ...     4, slots=100, transmitters=10, receivers=10, generator=generator
        ... )
        >>> tuple(draw.gain.shape)
        (4, 100, 10, 10)
        """
        drop = self.topology.sample(
            *batch_shape, transmitters=transmitters, receivers=receivers, generator=generator, dtype=dtype
        )
        large_scale_gain = self._large_scale_gain(drop, generator)
        return slot_fading(large_scale_gain, self.fading, slots=slots, generator=generator)

    def sample_channel(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int = 1,
        antennas: tuple[int, int] = (1, 1),
        samples: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.complex64,
    ) -> AntennaDraw:
        """Draw complex channels between arrays of `antennas` at each receiver and at each transmitter.

        Fading is independent over antennas and samples; places and shadowing are those of all of them. Shapes:
        channel `[*batch sample rx rx_ant tx tx_ant]`, the others as in `sample`.

        >>> generator = torch.Generator().manual_seed(0)
        >>> draw = urllc_scenario().sample_channel(7, transmitters=4, antennas=(32, 1), generator=generator)
        >>> tuple(draw.channel.shape)
        (7, 1, 1, 32, 4, 1)
        """
        if min(*antennas, samples) < 1:
            received = f"{antennas} and {samples}"
            raise ValueError(f"antennas, samples: must be at least 1, received {received}")
        drop = self.topology.sample(
            *batch_shape,
            transmitters=transmitters,
            receivers=receivers,
            generator=generator,
            dtype=dtype.to_real(),
        )
        gain = self._large_scale_gain(drop, generator)
        at_receiver, at_transmitter = antennas
        shape = (*batch_shape, samples, receivers, at_receiver, transmitters, at_transmitter)
        fading = self.fading.sample_channel(shape, generator=generator, dtype=dtype)
        amplitude = gain.sqrt()[..., None, :, None, :, None]  # [*batch 1 rx 1 tx 1]
        return AntennaDraw(
            channel=amplitude * fading,
            large_scale_gain=gain,
            rx_position_m=drop.rx_position_m,
            tx_position_m=drop.tx_position_m,
        )

    def _large_scale_gain(self, drop: Drop, generator: torch.Generator) -> Tensor:
        offset = (
            drop.rx_position_m[..., :, None, :2] - drop.tx_position_m[..., None, :, :2]
        )  # [*batch rx tx 2]
        horizontal_m = torch.hypot(offset[..., 0], offset[..., 1])
        station_height_m, user_height_m = heights_by_role(
            self.topology.direction,
            drop.rx_position_m[..., :, None, 2],  # [*batch rx 1]
            drop.tx_position_m[..., None, :, 2],  # [*batch 1 tx]
        )
        heights = {"station_height_m": station_height_m, "user_height_m": user_height_m}
        shape, dtype = tuple(horizontal_m.shape), horizontal_m.dtype
        shadowing = LogNormal(self.shadowing_db).sample_gain(shape, generator=generator, dtype=dtype)
        if not isinstance(self.path_loss, LosNlos):
            return self.path_loss.gain(horizontal_m, **heights) * shadowing
        if isinstance(drop, UrbanDrop):
            line_of_sight = drop.line_of_sight
        else:
            probability = self.path_loss.los_probability(horizontal_m, user_height_m=user_height_m)
            uniform = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
            line_of_sight = uniform < probability
        if self.nlos_shadowing_db is not None:
            blocked = LogNormal(self.nlos_shadowing_db).sample_gain(shape, generator=generator, dtype=dtype)
            shadowing = torch.where(line_of_sight, shadowing, blocked)
        return self.path_loss.gain_given(line_of_sight, horizontal_m, **heights) * shadowing


def hml_scenario(
    path_loss_exponent: float = 4.0, shadowing_db: float = 8.0, fading: Fading = _RAYLEIGH
) -> Scenario:
    """The cell of Section V-A of [Hao2024], literally; the defaults are Table III's for meta-testing.

    Users, and as receiver 1 the eavesdropper, are uniform in a square of 200 m around the station, receiver
    0; the large-scale gain is `d^-gamma` (`d` in metres, clipped at 1 m), with log-normal shadowing whose
    "psi_dB" is read as the standard deviation.
    """
    return Scenario(
        topology=SquareCell(),
        path_loss=PowerLaw(path_loss_exponent),
        shadowing_db=shadowing_db,
        fading=fading,
    )


def umi_scenario(carrier_hz: float = 3.5e9, radius_m: float = 100.0, fading: Fading = _RAYLEIGH) -> Scenario:
    """A UMi street-canyon cell of 3GPP TR 38.901.

    The station stands at 10 m, outdoor users at 1.5 m, 10 m to `radius_m` away. The default radius is half of
    the inter-site distance of 200 m (Table 7.2-1 of [TR38901]). Links from a user to an eavesdropper, which
    the report does not model, take the same formulas with both ends at 1.5 m.
    """
    return Scenario(
        topology=DiscCell(
            outer_radius_m=radius_m, inner_radius_m=10.0, station_height_m=10.0, user_height_m=1.5
        ),
        path_loss=LosNlos(UrbanMicro(carrier_hz, True), UrbanMicro(carrier_hz, False), umi_los_probability),
        shadowing_db=4.0,
        nlos_shadowing_db=7.82,
        fading=fading,
    )


def uma_scenario(carrier_hz: float = 3.5e9, radius_m: float = 250.0, fading: Fading = _RAYLEIGH) -> Scenario:
    """A UMa cell of 3GPP TR 38.901.

    The station stands at 25 m, outdoor users at 1.5 m, 35 m to `radius_m` away. The default radius is half of
    the inter-site distance of 500 m (Table 7.2-1 of [TR38901]). Eavesdroppers as in `umi_scenario`.
    """
    return Scenario(
        topology=DiscCell(
            outer_radius_m=radius_m, inner_radius_m=35.0, station_height_m=25.0, user_height_m=1.5
        ),
        path_loss=LosNlos(UrbanMacro(carrier_hz, True), UrbanMacro(carrier_hz, False), uma_los_probability),
        shadowing_db=4.0,
        nlos_shadowing_db=6.0,
        fading=fading,
    )


def metagnn_scenario(
    side_m: float = 500.0, shadowing_db: float = 7.0, fading: Fading = _RAYLEIGH
) -> Scenario:
    """Device-to-device links as in Section V of [Huang2024].

    Transmitters are uniform in a square, at least 35 m apart, each with its receiver 10 to 50 m away. The
    loss at `d` metres is `39 + 20 log10 d` dB up to 100 m and `39 + 40 log10 d - 40` dB beyond. Distances,
    losses and the shadowing of 7 dB, which the text leaves open, are those of the public code of
    [NaderiAlizadeh2022] and [NaderiAlizadeh2023], whose setting it follows.
    """
    return Scenario(
        topology=PairedLinks(
            side_m, min_distance_m=10.0, max_distance_m=50.0, min_transmitter_spacing_m=35.0
        ),
        path_loss=DualSlope(near_exponent=2.0, far_exponent=4.0, breakpoint_m=100.0, loss_at_1m_db=39.0),
        shadowing_db=shadowing_db,
        fading=fading,
    )


def rayleigh_scenario(fading: Fading = _RAYLEIGH) -> Scenario:
    """Links without geometry: independent gains of mean 1, `h ~ CN(0, 1)` with the default fading.

    The test bed of [Sun2018] and others; the signal-to-noise ratio of a link is then the ratio of the power
    limit to the noise.
    """
    return Scenario(topology=Colocated(), path_loss=ConstantLoss(), fading=fading)


def seven_cell_scenario(fading: Fading = _RAYLEIGH) -> Scenario:
    """Downlinks of a hexagonal cell and its six neighbours, as in Section IV-B of [Behmandpoor2024].

    Receivers are 50 m to 500 m from their transmitter, at the centre of the cell; the loss at `d` kilometres is
    `120.9 + 37.6 log10 d` dB, without shadowing, that is `8.1 + 37.6 log10 d` for `d` in metres. The fading is
    independent for transmitters of one place, too. The limit of 38 dBm and the noise of -114 dBm are
    `torchrrm.setups.links.SEVEN_CELL_TERMS`; the distance of centres is that of `CellularLinks`.
    """
    return Scenario(
        topology=CellularLinks(), path_loss=PowerLaw(3.76, loss_at_1m_db=120.9 - 3 * 37.6), fading=fading
    )


def urllc_scenario(
    min_distance_m: float = 120.0,
    max_distance_m: float = 140.0,
    fading: Fading = _RAYLEIGH,
    uniform: Literal["area", "distance"] = "area",
) -> Scenario:
    """The cell of Section IV-A of [He2022USRMNet]: users uniform in a ring around the station, receiver 0.

    `h ~ sqrt(rho) CN(0, I)` with `rho = 1 / (1 + (d / 50 m)^3)`; the noise is 1, the power limit the SNR
    (`torchrrm.setups.beamforming`). In the paper's ring of 120 to 140 m all users are much alike; in rings of 30 to
    200 m ("urllc-wide") and of 50 to 300 m ("urllc-edge") those at the edge need power that others would use. The
    paper does not say whether areas or distances are uniform: distances give the numbers of its Tables I and II, areas
    0.2 to 1 % less.
    """
    return Scenario(
        topology=DiscCell(max_distance_m, min_distance_m, uniform=uniform),
        path_loss=BoundedPowerLaw(),
        fading=fading,
    )


def hudn_scenario(layout_seed: int | None = None, fading: Fading = _NO_FADING) -> Scenario:
    """The heterogeneous ultra-dense network of Section IV of [Zhang2022HBGNN]: stations transmit, users receive.

    At `R` kilometres on the ground, at least 1 m, the loss is `103.8 + 20.9 log10 R` dB with and
    `145.4 + 37.5 log10 R` dB without line of sight, which the buildings of `UrbanSquare` decide; there is no
    shadowing and no fading. Table I prints `D^L, D^NL` as 10.38 and 14.54 without a unit: they are read as 103.8 and
    145.4 dB, the constants that 3GPP uses for outdoor small cells with slopes of the paper's exponents, 2.09 and
    3.75. Below 3 m the second loss is the smaller one. Powers and the noise, which with gains of antennas the paper
    leaves open (-174 dBm/Hz and 0 dBi), are those of `torchrrm.problems.association.cell_instance`.

    The paper's network has 105 transmitters, the first 5 of them macro base stations, and 120 receivers. It keeps its
    stations while users come anew, as with a `layout_seed`; without one each draw is another city.
    """
    return Scenario(
        topology=UrbanSquare(layout_seed=layout_seed),
        path_loss=LosNlos(
            PowerLaw(2.09, loss_at_1m_db=103.8 - 3 * 20.9, horizontal=True),
            PowerLaw(3.75, loss_at_1m_db=145.4 - 3 * 37.5, horizontal=True),
        ),
        fading=fading,
    )


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "hml": hml_scenario,
    "umi": umi_scenario,
    "uma": uma_scenario,
    "metagnn": metagnn_scenario,
    "rayleigh": rayleigh_scenario,
    "seven-cells": seven_cell_scenario,
    "urllc": urllc_scenario,
    "urllc-wide": partial(urllc_scenario, 30.0, 200.0),
    "urllc-edge": partial(urllc_scenario, 50.0, 300.0),
    "hudn": hudn_scenario,
}
