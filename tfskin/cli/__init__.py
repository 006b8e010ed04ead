"""The commands: one thin file each, over :mod:`tfskin.experiment`."""
