"""The commands: one thin file each, over :mod:`tfskin.experiment`."""

COMMANDS = {
    "prepare": "tfskin.cli.prepare",
    "audit": "tfskin.cli.audit",
    "train": "tfskin.cli.train",
    "ensemble": "tfskin.cli.ensemble",
    "evaluate": "tfskin.cli.evaluate",
    "compare": "tfskin.cli.compare",
    "explain": "tfskin.cli.explain",
    "export": "tfskin.cli.export",
    "predict": "tfskin.cli.predict",
    "check-bn": "tfskin.cli.check_bn",
    "models": "tfskin.cli.models",
}
"""Command -> the module whose ``main`` it is, in the order that they are used."""
