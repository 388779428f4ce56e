"""Decide which clips are kept, from stored scores and a recipe."""
