"""Cases times metrics: a method's videos in, a score record out."""

from exprbench.scoring.run import score

__all__ = ["score"]
