"""The scorers, in the order of their cost."""

from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe
from multiexpr.scorers.base import Scorer


def make_scorers(recipe: Recipe, models: Models) -> list[Scorer]:
    """What is measured beyond the container, the cheapest first; each is cheap enough to be asked of what the ones
    before it left.
    """
    from multiexpr.scorers.cuts import Cuts
    from multiexpr.scorers.laion import Laion
    from multiexpr.scorers.motion import Motion
    from multiexpr.scorers.people import People
    from multiexpr.scorers.photomotion import Photomotion
    from multiexpr.scorers.sharpness import Sharpness

    score = recipe.score
    laion = score.aesthetics.method == "laion"
    return [
        People(score.people, models),
        Sharpness(score.sharpness),
        Laion(score.aesthetics, models) if laion else Photomotion(score.aesthetics),
        Cuts(score.cuts),
        Motion(score.motion, score.sharpness),
    ]


def aesthetics_method(recipe: Recipe) -> str:
    """`auto` settled: LAION's where CLIP lies on this machine, else `photomotion`."""
    from multiexpr.models.laion_network import clip_is_here

    method = recipe.score.aesthetics.method
    if method != "auto":
        return method
    return "laion" if clip_is_here(recipe.score.aesthetics.clip) else "photomotion"
