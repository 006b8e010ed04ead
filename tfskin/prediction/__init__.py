"""Pictures of any folder, or of any number, become predictions."""

from tfskin.prediction.find import count_images, find_images, iterate_images
from tfskin.prediction.predictors import (
    Answers,
    HeatMap,
    Prediction,
    Predictor,
    find_saved_model,
    is_saved_model,
    keras_predictor,
    saved_model_predictor,
    server_predictor,
    window_predictor,
)
from tfskin.prediction.stream import StreamOptions, predict_images
from tfskin.prediction.tables import RowWriter, predictions_table, write_predictions

__all__ = [
    "Answers",
    "HeatMap",
    "Prediction",
    "Predictor",
    "RowWriter",
    "StreamOptions",
    "count_images",
    "find_images",
    "find_saved_model",
    "is_saved_model",
    "iterate_images",
    "keras_predictor",
    "predict_images",
    "predictions_table",
    "saved_model_predictor",
    "server_predictor",
    "window_predictor",
    "write_predictions",
]
