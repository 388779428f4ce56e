"""Sampling: flow matching, the denoising loop, windows, face masks."""
