"""Models as something that a server loads: SavedModels for TensorFlow Serving."""
