"""Checkpoints: detection of formats, mapping of tensor names, loading and conversion between layouts."""
