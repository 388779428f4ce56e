"""Benchmarks of speed and memory: each script compares this project with other libraries in one run."""
