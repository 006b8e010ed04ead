"""Members' probabilities become one ensemble's, and members become one Keras model."""

from tfskin.ensembling.combiner import Combiner, Fitted, combine, fit_combiner, fit_temperature
from tfskin.ensembling.fused import as_float32, build_ensemble, computes_in_float32

__all__ = [
    "Combiner",
    "Fitted",
    "as_float32",
    "build_ensemble",
    "combine",
    "computes_in_float32",
    "fit_combiner",
    "fit_temperature",
]
