"""The scorers, in the order of their cost."""

from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe
from multiexpr.scorers.base import Scorer


def make_scorers(recipe: Recipe, models: Models) -> list[Scorer]:
    """What is measured beyond the container, the cheapest first; each is cheap enough to be asked of what the ones
    before it left.
    """
    from multiexpr.scorers.cuts import CutScorer
    from multiexpr.scorers.laion import LaionScorer
    from multiexpr.scorers.motion import MotionScorer
    from multiexpr.scorers.people import PeopleScorer
    from multiexpr.scorers.photomotion import PhotomotionScorer
    from multiexpr.scorers.sharpness import SharpnessScorer

    score = recipe.score
    laion = score.aesthetics.method == "laion"
    return [
        PeopleScorer(score.people, models),
        SharpnessScorer(score.sharpness),
        LaionScorer(score.aesthetics, models) if laion else PhotomotionScorer(score.aesthetics),
        CutScorer(score.cuts),
        MotionScorer(score.motion, score.sharpness),
    ]


def aesthetics_method(recipe: Recipe) -> str:
    """`auto` settled: LAION's where CLIP lies on this machine, else `photomotion`."""
    from multiexpr.models.laion_network import clip_is_here

    method = recipe.score.aesthetics.method
    if method != "auto":
        return method
    return "laion" if clip_is_here(recipe.score.aesthetics.clip) else "photomotion"
