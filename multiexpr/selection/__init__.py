"""Decide which clips are kept, from stored scores and the thresholds of a recipe."""
