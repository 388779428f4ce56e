"""MUSIQ scorer: a learned measure of the technical quality of pictures, on a few frames."""

import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models
from multiexpr.models.musiq_network import find_musiq_weights
from multiexpr.recipe import ScoreAesthetics
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.frame_damage import without_bars
from multiexpr.scorers.sharpness import resize_short_side

VERSION = "musiq-1"
SHORT_SIDE = 360


class MusiqScorer:
    """Scorer of quality: mean MUSIQ score of the frames (`musiq`), and of the worst frame (`musiq_min`)."""

    name = "musiq"
    costly = False
    columns = [("musiq", pa.float64()), ("musiq_min", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreAesthetics, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        file = sha256_path(find_musiq_weights())
        return {"version": VERSION, "num_frames": self.params.num_frames, "weights": file}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=evenly_spaced(facts["length_s"], self.params.num_frames), short_side=SHORT_SIDE)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models)


class _Measurement(BufferedMeasurement):
    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models

    def compute(self) -> Row:
        scores = self.models.musiq([resize_short_side(frame, SHORT_SIDE) for frame in without_bars(self.frames)])
        return {"musiq": rounded(scores.mean()), "musiq_min": rounded(scores.min())}
