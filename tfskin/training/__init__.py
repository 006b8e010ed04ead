"""Losses, schedules, precision, the fit itself and its checkpoints: pure Keras 3 and NumPy."""
