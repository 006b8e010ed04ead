"""Records of tiny images, and their shards, for the tests of this room."""

import pytest

from tests.datasets.tiny import make_records, write_tiny


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory):
    return make_records(tmp_path_factory.mktemp("images"), 24)


@pytest.fixture(scope="session")
def tiny_shards(tiny_records, tmp_path_factory):
    return write_tiny(tiny_records, tmp_path_factory.mktemp("shards"))
