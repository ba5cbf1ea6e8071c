import onnx
import pytest
from tests.deploy.exported import model_of

from torchrrm.deploy import InferenceSession


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the files of a run lie."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def exported(folder, tmp_path):
    """`exported(features, kind, alter)` is the path of an exported policy, altered."""

    def path_of(features="raw", kind="secrecy-short", alter=lambda model: model):
        path = tmp_path / f"{features}-{kind}.onnx"
        path.write_bytes(alter(model_of(folder, features, kind)).SerializeToString())
        return path

    return path_of


@pytest.fixture(scope="module")
def opened(model, tmp_path_factory):
    """A session of the module's `model`, the bytes of an exported policy."""
    path = tmp_path_factory.mktemp("opened") / "policy.onnx"
    path.write_bytes(model)
    return InferenceSession(path)


@pytest.fixture
def altered(model, tmp_path):
    """`altered(alter)` runs the module's `model`, altered."""

    def session(alter):
        path = tmp_path / "policy.onnx"
        path.write_bytes(alter(onnx.load_from_string(model)).SerializeToString())
        return InferenceSession(path)

    return session
