"""Score a method's videos: from predictions to a score record."""

from exprbench.scoring.run import score

__all__ = ["score"]
