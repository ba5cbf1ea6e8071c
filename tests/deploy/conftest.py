import pytest
from tests.deploy.exported import model_of


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
