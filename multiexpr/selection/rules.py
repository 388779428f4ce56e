"""Rules: each compares one number of a clip with one threshold of the recipe.

`RULES` are in the order in which they are applied; the first rule that fails is the reason for which a clip is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multiexpr.recipe import Keep
from multiexpr.storage.columns import Columns, ListColumn

Measure = Callable[[Columns, Keep], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Rule on one number of a clip. A clip passes if the number is NaN, which means that the rule does not apply.

    Attributes:
        name: reason for which clips are dropped.
        scorer: name of the scorer whose columns are read.
        threshold: `section.key` of the threshold in the recipe's [keep].
        measure: function from columns of N clips to (N,) numbers.
        meaning: description of the number, with its unit.
        at_least: whether the threshold is a minimum; otherwise it is a maximum.
        tunable: whether `select --target` changes the threshold; rules on the kind of clip are not tunable.
        off_at: threshold that disables the rule.
    """

    name: str
    scorer: str
    threshold: str
    measure: Measure
    meaning: str
    at_least: bool = True
    tunable: bool = False
    off_at: float | None = None

    def limit(self, keep: Keep) -> float:
        """Return the threshold."""
        section, key = self.threshold.split(".")
        return float(getattr(getattr(keep, section), key))

    def fails(self, measured: np.ndarray, keep: Keep) -> np.ndarray:
        """Return which of N measured numbers fail, (N,) bool."""
        limit = self.limit(keep)
        if limit == self.off_at:
            return np.zeros(len(measured), bool)
        return measured < limit if self.at_least else measured > limit


def _column(name: str) -> Measure:
    return lambda columns, keep: columns[name]


def _short_side(columns: Columns, keep: Keep) -> np.ndarray:
    return np.minimum(columns["width"], columns["height"])


def _count_people(columns: Columns, keep: Keep) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of people that count per frame, (N, F), padded with 0, and the number of frames, (N,)."""
    boxes, confidence, frame = columns["people_box"], columns["people_confidence"], columns["people_frame"]
    height = boxes.values.reshape(-1, 4)[:, 3] - boxes.values.reshape(-1, 4)[:, 1]
    is_counted = (confidence.values >= keep.people.min_confidence) & (height >= keep.people.min_height)
    num_frames = np.diff(columns["people_counts"].starts)
    max_frames = int(num_frames.max(initial=0))
    cells = confidence.clip_index * max_frames + frame.values.astype(np.int64)
    counts = np.bincount(cells[is_counted], minlength=len(num_frames) * max_frames)
    return counts.reshape(len(num_frames), max_frames), num_frames


def _share_with_people(columns: Columns, keep: Keep) -> np.ndarray:
    counts, num_frames = _count_people(columns, keep)
    enough = (counts >= keep.people.min_people) & (np.arange(counts.shape[1]) < num_frames[:, None])
    return np.where(num_frames > 0, enough.sum(1) / np.maximum(num_frames, 1), np.nan)


def _median_people(columns: Columns, keep: Keep) -> np.ndarray:
    """Return the largest number of people that at least half of the frames show, (N,)."""
    counts, num_frames = _count_people(columns, keep)
    valid = np.arange(counts.shape[1]) < num_frames[:, None]
    ranked = -np.sort(-np.where(valid, counts, -1), axis=1)
    middle = np.maximum((num_frames - 1) // 2, 0)
    medians = ranked[np.arange(len(counts)), middle] if counts.shape[1] else np.zeros(len(counts))
    return np.where(num_frames > 0, medians, np.nan)


def _seen_share(columns: Columns, keep: Keep) -> np.ndarray:
    """Return the `min_people`-th largest share of frames in which a face is visible, or 0 if there are fewer faces."""
    faces = columns["face_seen"]
    shares = faces.nth_largest(keep.people.min_people, np.ones(len(faces.values), bool))
    return np.where(np.isnan(shares), 0.0, shares)


def _among_seen(name: str) -> Measure:
    """Return a measure of the column `face_{name}`.

    The measure is the `min_people`-th largest value among people visible in at least `min_seen` of the frames: NaN if
    fewer people are, 0 if fewer of them have a value.
    """

    def measure(columns: Columns, keep: Keep) -> np.ndarray:
        faces: ListColumn = columns[f"face_{name}"]
        is_seen = columns["face_seen"].values >= keep.motion.min_seen
        enough = columns["face_seen"].count(is_seen) >= keep.people.min_people
        values = faces.nth_largest(keep.people.min_people, is_seen)
        return np.where(enough, np.where(np.isnan(values), 0.0, values), np.nan)

    return measure


RULES = (
    Rule(name="short", scorer="container", threshold="container.min_duration_s", measure=_column("length_s"),
         meaning="length in seconds"),
    Rule(name="long", scorer="container", threshold="container.max_duration_s", measure=_column("length_s"),
         meaning="length in seconds", at_least=False, off_at=0),
    Rule(name="small", scorer="container", threshold="container.min_short_side", measure=_short_side,
         meaning="short side in pixels"),
    Rule(name="slow", scorer="container", threshold="container.min_fps", measure=_column("fps"),
         meaning="frames per second"),
    Rule(name="few_people", scorer="people", threshold="people.min_share", measure=_share_with_people,
         meaning="share of frames with enough people"),
    Rule(name="many_people", scorer="people", threshold="people.max_people", measure=_median_people,
         meaning="people in at least half of the frames", at_least=False, off_at=0),
    Rule(name="dark", scorer="sharpness", threshold="sharpness.min_luma", measure=_column("luma"),
         meaning="mean brightness in [0, 1]"),
    Rule(name="blurred", scorer="sharpness", threshold="sharpness.min_sharpness", measure=_column("sharpness"),
         meaning="variance of the Laplacian of the frame", tunable=True),
    Rule(name="unaesthetic", scorer="photomotion", threshold="aesthetics.min_photomotion",
         measure=_column("photomotion"), meaning="photomotion score in [0, 10]", tunable=True),
    Rule(name="unaesthetic", scorer="laion", threshold="aesthetics.min_laion", measure=_column("laion"),
         meaning="LAION aesthetic score, about 1 to 10", tunable=True),
    Rule(name="cut", scorer="cuts", threshold="cuts.max_cut", measure=_column("cut"),
         meaning="largest sudden change between frames, 0 to 255", at_least=False),
    Rule(name="few_faces", scorer="motion", threshold="motion.min_seen", measure=_seen_share,
         meaning="share of frames with enough faces"),
    Rule(name="small_faces", scorer="motion", threshold="motion.min_face_px", measure=_among_seen("px"),
         meaning="face size in pixels", tunable=True),
    Rule(name="blurred_faces", scorer="motion", threshold="motion.min_face_sharpness", measure=_among_seen("sharpness"),
         meaning="variance of the Laplacian of the face", tunable=True),
    Rule(name="still", scorer="motion", threshold="motion.min_head_deg", measure=_among_seen("head_deg"),
         meaning="variation of head pose in degrees", tunable=True),
    Rule(name="inexpressive", scorer="motion", threshold="motion.min_expression", measure=_among_seen("expression"),
         meaning="variation of mouth, eyes and brows in % of the eye distance", tunable=True),
)  # fmt: skip


READS = {  # columns that the rules read, by scorer
    "container": ("length_s", "width", "height", "fps"),
    "people": ("people_counts", "people_frame", "people_box", "people_confidence"),
    "sharpness": ("sharpness", "luma"),
    "photomotion": ("photomotion",),
    "laion": ("laion",),
    "cuts": ("cut",),
    "motion": ("face_seen", "face_px", "face_sharpness", "face_head_deg", "face_expression"),
}


def scorer_rules(scorer: str) -> list[Rule]:
    """Return the rules on the columns of a scorer, in order."""
    return [rule for rule in RULES if rule.scorer == scorer]


def get_rule(name: str, scorers: list[str]) -> Rule:
    """Return the rule with this name among the rules of the given scorers."""
    return next(rule for rule in RULES if rule.name == name and rule.scorer in scorers)
