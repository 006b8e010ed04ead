"""Images of any folder, or of any number, become predictions."""
