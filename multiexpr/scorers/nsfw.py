"""NSFW scorer: the probability that a frame is unsafe, by an image classifier, in the worst of a few frames."""

from dataclasses import asdict

import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models
from multiexpr.models.nsfw_network import find_nsfw_model
from multiexpr.recipe import ScoreNsfw
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.frame_damage import without_bars

VERSION = "nsfw-1"
SHORT_SIDE = 224


class NsfwScorer:
    """Scorer of unsafe pictures: `nsfw`, the largest probability over the frames."""

    name = "nsfw"
    costly = False
    columns = [("nsfw", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreNsfw, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params), "files": sha256_path(find_nsfw_model(self.params.model))}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=evenly_spaced(facts["length_s"], self.params.num_frames), short_side=SHORT_SIDE)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models)


class _Measurement(BufferedMeasurement):
    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models

    def compute(self) -> Row:
        return {"nsfw": rounded(self.models.unsafe(without_bars(self.frames)).max())}
