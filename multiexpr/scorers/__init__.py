"""Scorers of clips, in order of cost."""

from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe
from multiexpr.scorers.base import Scorer


def make_scorers(recipe: Recipe, models: Models) -> list[Scorer]:
    """Return all scorers but the container's, the cheapest first: a clip that a rule drops skips the later ones."""
    from multiexpr.scorers.cuts import CutScorer
    from multiexpr.scorers.frame_damage import DamageScorer
    from multiexpr.scorers.laion import LaionScorer
    from multiexpr.scorers.motion import MotionScorer
    from multiexpr.scorers.musiq import MusiqScorer
    from multiexpr.scorers.people import PeopleScorer
    from multiexpr.scorers.photomotion import PhotomotionScorer
    from multiexpr.scorers.sharpness import SharpnessScorer

    score = recipe.score
    aesthetics: Scorer = PhotomotionScorer(score.aesthetics)
    if score.aesthetics.method == "laion":
        aesthetics = LaionScorer(score.aesthetics, models)
    elif score.aesthetics.method == "musiq":
        aesthetics = MusiqScorer(score.aesthetics, models)
    optional = _optional_scorers(recipe, models)
    return [
        PeopleScorer(score.people, models),
        DamageScorer(score.damage),
        SharpnessScorer(score.sharpness),
        aesthetics,
        *optional,
        CutScorer(score.cuts),
        MotionScorer(score.motion, score.sharpness, models, speech="speech" in score.optional),
    ]


def _optional_scorers(recipe: Recipe, models: Models) -> list[Scorer]:
    from multiexpr.scorers.nsfw import NsfwScorer
    from multiexpr.scorers.overlays import OverlayScorer
    from multiexpr.scorers.signature import SignatureScorer

    score = recipe.score
    scorers = [OverlayScorer(score.overlays), NsfwScorer(score.nsfw, models), SignatureScorer(score.signature, models)]
    return [scorer for scorer in scorers if scorer.name in score.optional]


def aesthetics_method(recipe: Recipe) -> str:
    """Return the recipe's method, with `auto` resolved to `laion` if CLIP is on this machine, else `photomotion`."""
    from multiexpr.models.laion_network import is_clip_available

    method = recipe.score.aesthetics.method
    if method != "auto":
        return method
    return "laion" if is_clip_available(recipe.score.aesthetics.clip) else "photomotion"
