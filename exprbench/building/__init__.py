"""Making an ExprBench folder from portraits and driving videos, as the paper did.

The same inputs and seed give the same folder, byte for byte: files are taken in the order of their names, clips are
encoded by one thread, and pairs are drawn by hashes of the seed and the names, not by a random generator.
"""

from exprbench.building.build import build

__all__ = ["build"]
