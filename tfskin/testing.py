"""The tests that a part of one's own must pass, as tfskin's own parts do."""

from tfskin.datasets.sources.contract import check_source

__all__ = ["check_source"]
