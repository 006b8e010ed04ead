"""What tests of networks share, and which networks the ordinary suite can afford."""

import pytest

from tests.layers.conftest import precision

__all__ = ["precision"]

WHOLE_CONTRACT = {"five_layer"}
"""Networks for which the ordinary suite has time for every test of the contract."""

WALKED = {
    "lenet",
    "alexnet",
    "vgg16",
    "googlenet",
    "resnet10",
    "resnext50",
    "inception_v3",
    "efficientnet_lite0",
    "efficientnet_v2_s",
}
"""The smallest member of each other family: one walk through the contract."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes minutes as slow: ``pytest -m slow`` runs it before a release."""
    for item in items:
        if item.path.name != "test_contract.py" or not isinstance(item, pytest.Function):
            continue
        name = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        walk = item.originalname == "test_a_walk_through_the_contract"
        if name in WHOLE_CONTRACT or name is None or (walk and name in WALKED):
            continue
        item.add_marker(pytest.mark.slow)
