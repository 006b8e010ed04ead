"""What tests of networks share."""

from tests.layers.conftest import precision

__all__ = ["precision"]
