"""The rules: each compares one number of a clip with one threshold of the recipe, and names what fails it.

Rules are in the order in which they are applied; the first that fails is the reason a clip is dropped for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multiexpr.recipe import Keep
from multiexpr.storage.columns import Columns, Lists

Measure = Callable[[Columns, Keep], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A clip passes where `measure` is on the right side of the threshold, or is NaN: where the rule does not apply.

    Attributes:
        name: the reason clips are dropped for.
        scorer: whose columns are read.
        threshold: where in the recipe's `keep` it stands.
        at_least: pass from the threshold up; otherwise up to it.
        meaning: of the number, with its unit.
        tunable: may `select --target` move the threshold? Those that say what kind of clips are wanted stay.
        off_at: the threshold that switches the rule off.
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
        """The threshold."""
        section, key = self.threshold.split(".")
        return float(getattr(getattr(keep, section), key))

    def fails(self, measured: np.ndarray, keep: Keep) -> np.ndarray:
        """(N,) bool of the measured numbers."""
        limit = self.limit(keep)
        if limit == self.off_at:
            return np.zeros(len(measured), bool)
        return measured < limit if self.at_least else measured > limit


def _column(name: str) -> Measure:
    return lambda columns, keep: columns[name]


def _short_side(columns: Columns, keep: Keep) -> np.ndarray:
    return np.minimum(columns["width"], columns["height"])


def _people_counted(columns: Columns, keep: Keep) -> tuple[np.ndarray, np.ndarray]:
    """People large and sure enough: (N, F) in each of the frames looked at, NaN beyond the last one of a clip."""
    boxes, confidence, frame = columns["people_box"], columns["people_confidence"], columns["people_frame"]
    height = boxes.values.reshape(-1, 4)[:, 3] - boxes.values.reshape(-1, 4)[:, 1]
    counts = (confidence.values >= keep.people.min_confidence) & (height >= keep.people.min_height)
    num_frames = np.diff(columns["people_counts"].starts)
    most = int(num_frames.max(initial=0))
    flat = confidence.owners * most + frame.values.astype(np.int64)
    table = np.bincount(flat[counts], minlength=len(num_frames) * most).reshape(len(num_frames), most)
    return table, num_frames


def _share_with_people(columns: Columns, keep: Keep) -> np.ndarray:
    table, num_frames = _people_counted(columns, keep)
    enough = (table >= keep.people.min_people) & (np.arange(table.shape[1]) < num_frames[:, None])
    return np.where(num_frames > 0, enough.sum(1) / np.maximum(num_frames, 1), np.nan)


def _usual_people(columns: Columns, keep: Keep) -> np.ndarray:
    """The number of people that at least half of the frames have."""
    table, num_frames = _people_counted(columns, keep)
    valid = np.arange(table.shape[1]) < num_frames[:, None]
    ranked = -np.sort(-np.where(valid, table, -1), axis=1)
    middle = np.maximum((num_frames - 1) // 2, 0)
    found = ranked[np.arange(len(table)), middle] if table.shape[1] else np.zeros(len(table))
    return np.where(num_frames > 0, found, np.nan)


def _seen(columns: Columns, keep: Keep) -> np.ndarray:
    faces = columns["face_seen"]
    found = faces.nth_largest(keep.people.min_people, np.ones(len(faces.values), bool))
    return np.where(np.isnan(found), 0.0, found)


def _among_seen(name: str) -> Measure:
    """The value that `min_people` of the people seen enough reach; NaN where there are not so many."""

    def measure(columns: Columns, keep: Keep) -> np.ndarray:
        faces: Lists = columns[f"face_{name}"]
        seen = columns["face_seen"].values >= keep.motion.min_seen
        enough = columns["face_seen"].count(seen) >= keep.people.min_people
        found = faces.nth_largest(keep.people.min_people, seen)
        return np.where(enough, np.where(np.isnan(found), 0.0, found), np.nan)

    return measure


RULES = (
    Rule(name="short", scorer="container", threshold="container.min_duration_s", measure=_column("length_s"),
         meaning="length in seconds"),
    Rule(name="long", scorer="container", threshold="container.max_duration_s", measure=_column("length_s"),
         meaning="length in seconds", at_least=False, off_at=0),
    Rule(name="small", scorer="container", threshold="container.min_short_side", measure=_short_side,
         meaning="short side in pixels"),
    Rule(name="slow", scorer="container", threshold="container.min_fps", measure=_column("fps"),
         meaning="frames a second"),
    Rule(name="few_people", scorer="people", threshold="people.min_share", measure=_share_with_people,
         meaning="share of frames with enough people"),
    Rule(name="many_people", scorer="people", threshold="people.max_people", measure=_usual_people,
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
         meaning="largest change between frames that stands out", at_least=False),
    Rule(name="few_faces", scorer="motion", threshold="motion.min_seen", measure=_seen,
         meaning="share of frames in which enough faces are seen"),
    Rule(name="small_faces", scorer="motion", threshold="motion.min_face_px", measure=_among_seen("px"),
         meaning="face size in pixels", tunable=True),
    Rule(name="blurred_faces", scorer="motion", threshold="motion.min_face_sharpness", measure=_among_seen("sharpness"),
         meaning="variance of the Laplacian of the face", tunable=True),
    Rule(name="still", scorer="motion", threshold="motion.min_head_deg", measure=_among_seen("head_deg"),
         meaning="variation of head pose in degrees", tunable=True),
    Rule(name="inexpressive", scorer="motion", threshold="motion.min_expression", measure=_among_seen("expression"),
         meaning="variation of mouth, eyes and brows in % of the eye distance", tunable=True),
)  # fmt: skip


READS = {  # the columns all these look at
    "container": ("length_s", "width", "height", "fps"),
    "people": ("people_counts", "people_frame", "people_box", "people_confidence"),
    "sharpness": ("sharpness", "luma"),
    "photomotion": ("photomotion",),
    "laion": ("laion",),
    "cuts": ("cut",),
    "motion": ("face_seen", "face_px", "face_sharpness", "face_head_deg", "face_expression"),
}


def rules_of(scorer: str) -> list[Rule]:
    """The rules that read a scorer's columns."""
    return [rule for rule in RULES if rule.scorer == scorer]


def rule_named(name: str, scorers: list[str]) -> Rule:
    """The rule of that name among those of the scorers in use."""
    return next(rule for rule in RULES if rule.name == name and rule.scorer in scorers)
