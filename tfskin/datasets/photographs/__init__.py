"""Photographs of one lesion, found by what they show."""
