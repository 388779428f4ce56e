"""Cases times metrics: a method's videos in, a score record out."""

from exprbench.scoring.score import score

__all__ = ["score"]
