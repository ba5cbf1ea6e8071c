"""Eliminations in real planes: what `torch.linalg` gives, also in an exported graph of any number of users."""

import logging
import warnings

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from torchrrm.nn.hermitian import beam_planes, gram_planes, loaded_gram
from torchrrm.problems.beamforming import mmse_beams, mmse_error, relative_gram
from torchrrm.problems.beamforming.urllc import miso_instance

SIZES: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (3, 6, 64), (2, 7, 5), (4, 16, 16))


class Eliminated(nn.Module):
    """Everything that follows from channels and shares."""

    def forward(self, real: Tensor, imag: Tensor, share: Tensor) -> tuple[Tensor, ...]:
        loaded = loaded_gram(*gram_planes(real, imag), share)
        return *loaded, *beam_planes(real, imag, loaded, share)


def drawn(batch: int, users: int, antennas: int) -> tuple[Tensor, Tensor, Tensor]:
    """Channels at 20 dB an antenna, and shares one of which is 0; double precision."""
    generator = torch.Generator().manual_seed(users)
    planes = 10 * torch.randn(2, batch, users, antennas, generator=generator, dtype=torch.float64)
    share = torch.rand(batch, users, generator=generator, dtype=torch.float64) / users
    share[0, -1] = 0
    return planes[0], planes[1], share


@pytest.fixture(scope="module")
def runtime():
    """The exported graph."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    axes = {name: torch.export.Dim(name) for name in ("batch", "user", "ant")}
    plane = dict(enumerate(axes.values()))
    shapes = plane, plane, {0: axes["batch"], 1: axes["user"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Eliminated(), drawn(2, 3, 5), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    logging.disable(level)
    assert program is not None
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


@pytest.mark.parametrize("sizes", SIZES)
def test_an_exported_elimination_is_that_of_torch(runtime, sizes):
    inputs = drawn(*sizes)
    names = [port.name for port in runtime.get_inputs()]
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    for found, wanted in zip(runtime.run(None, feed), Eliminated()(*inputs), strict=True):
        torch.testing.assert_close(torch.as_tensor(found), wanted, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_the_gram_form_of_the_problem(sizes):
    real, imag, share = drawn(*sizes)
    instance = miso_instance(torch.complex(real, imag), max_power_w=1.0)
    gram = relative_gram(instance)
    planes = gram_planes(real, imag)
    torch.testing.assert_close(torch.complex(*planes), gram)
    loaded = loaded_gram(*planes, share)
    one = torch.eye(gram.shape[-1], dtype=gram.dtype)
    torch.testing.assert_close(
        torch.complex(*loaded), gram @ torch.linalg.inv(one + share[..., None] * gram), atol=1e-9, rtol=1e-9
    )
    error = 1 - share * loaded[0].diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(error, mmse_error(gram, share), atol=1e-10, rtol=0.0)
    beam = torch.complex(*beam_planes(real, imag, loaded, share))
    torch.testing.assert_close(beam, mmse_beams(instance, share), atol=1e-9, rtol=0.0)


def test_a_channel_of_0_has_the_beam_0():
    real, imag, share = drawn(2, 4, 5)
    real[:, 1], imag[:, 1] = 0.0, 0.0
    along, across = beam_planes(real, imag, loaded_gram(*gram_planes(real, imag), share), share)
    assert not along[:, 1].any()
    assert not across[:, 1].any()
    length = (along.square() + across.square()).sum(-1)
    torch.testing.assert_close(length[:, [0, 2, 3]], torch.ones(2, 3, dtype=torch.float64))
