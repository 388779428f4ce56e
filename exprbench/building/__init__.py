"""Build an ExprBench benchmark folder from portraits and driving videos, following the paper.

The same inputs and seed give the same folder, byte for byte: files are read in the order of their names, clips are
encoded by one thread, and pairs are drawn by hashes of the seed and the names instead of a random number generator.
"""

from exprbench.building.build import build

__all__ = ["build"]
