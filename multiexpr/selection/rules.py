"""Rules: each compares one number of a clip, or of each person in it, with one threshold of the recipe.

`RULES` are in the order in which they are applied; the first rule that fails is the reason for which a clip is dropped.
A person counts if the person passes every rule on people. A rule on people drops a clip if too few people pass it and
all rules on people before it. Expression is judged before the picture of the faces, because a photograph is no person:
its sharp face does not stand in for the blurred face of a live one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from multiexpr.recipe import Keep
from multiexpr.scorers.frame_damage import are_of_kernel
from multiexpr.storage.columns import Columns, ListColumn

Measure = Callable[[Columns, Keep], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Rule on one number of a clip. A clip passes if the number is NaN, which means that the rule does not apply.

    The number of a rule on people is that of the deciding person; see `deciding_person`.

    Attributes:
        name: reason for which clips are dropped.
        scorer: name of the scorer whose columns are read.
        threshold: `section.key` of the threshold in the recipe's [keep].
        column_measure: function from columns of N clips to (N,) numbers, for a rule on clips.
        person_column: column with a number per person, for a rule on people.
        meaning: description of the number, with its unit.
        at_least: whether the threshold is a minimum; otherwise it is a maximum.
        without_people: number of a clip without faces, for a rule on people; NaN: the rule does not apply to it.
        tunable: whether `select --target` changes the threshold; rules on the kind of clip are not tunable.
        off_at: threshold that disables the rule.
        unless: names of earlier rules; a clip that fails one of them is not measured soundly by this rule, and passes.
    """

    name: str
    scorer: str
    threshold: str
    meaning: str
    column_measure: Measure | None = None
    person_column: str = ""
    at_least: bool = True
    without_people: float = float("nan")
    tunable: bool = False
    off_at: float | None = None
    unless: tuple[str, ...] = ()

    def measure(self, columns: Columns, keep: Keep) -> np.ndarray:
        """Return the numbers of N clips that are compared with the threshold, (N,)."""
        return self.column_measure(columns, keep) if self.column_measure else _of_person(self, columns, keep)

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


def _halos(columns: Columns, keep: Keep) -> np.ndarray:
    """Return the halos, (N,); NaN if a clip is enlarged and `enlarged` passes: they are those of the kernel."""
    is_of_kernel = are_of_kernel(columns["enlargement"], columns["source_px"], keep.damage.min_source_px)
    return np.where(is_of_kernel, np.nan, columns["halos"])


def _count_people(columns: Columns, keep: Keep) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of people that count per frame, (N, F), padded with 0, and the number of frames, (N,)."""
    height, confidence, frame = columns["people_height"], columns["people_confidence"], columns["people_frame"]
    is_counted = (confidence.values >= keep.people.min_confidence) & (height.values >= keep.people.min_height)
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


def _of_person(rule: "Rule", columns: Columns, keep: Keep) -> np.ndarray:
    """Return the value of the deciding person, (N,); see `deciding_person`."""
    index = deciding_person(rule, columns, keep)
    values = np.append(_person_values(rule, columns), rule.without_people)
    return np.where(index >= 0, values[index], rule.without_people)


def _person_values(rule: "Rule", columns: Columns) -> np.ndarray:
    """Return the value of every person, (V,); people without one have the worst value."""
    values = columns[rule.person_column].values
    return np.where(np.isnan(values), 0.0 if rule.at_least else np.inf, values)


def people_that_pass(rules: Sequence["Rule"], columns: Columns, keep: Keep) -> np.ndarray:
    """Return which people of all clips pass all given rules, (V,) bool."""
    passing = np.ones(len(columns[PERSON_RULES[0].person_column].values), bool)
    for rule in rules:
        passing &= ~rule.fails(_person_values(rule, columns), keep)
    return passing


def enough_people_pass(rules: Sequence["Rule"], columns: Columns, keep: Keep) -> np.ndarray:
    """Return which of N clips have `min_people` people who pass all given rules, (N,) bool."""
    column = columns[PERSON_RULES[0].person_column]
    return column.count(people_that_pass(rules, columns, keep)) >= keep.people.min_people


def people_that_count(columns: Columns, keep: Keep) -> list[list[int]]:
    """Return the numbers of the people of each clip who pass every rule on people, from 1, left to right."""
    passing, starts = people_that_pass(PERSON_RULES, columns, keep), columns[PERSON_RULES[0].person_column].starts
    return [(np.flatnonzero(passing[a:b]) + 1).tolist() for a, b in pairwise(starts)]


def deciding_person(rule: "Rule", columns: Columns, keep: Keep) -> np.ndarray:
    """Return the index among all people of the person at which a rule on people passes or fails, (N,).

    That is the `min_people`-th best of the people who pass all earlier rules on people. If they are too few, an earlier
    rule drops the clip, and the rule is judged on all people in it, so that `reasons` names every fault: at the
    `min_people`-th best of them, or the last if there are fewer. -1 if there is no such person.
    """
    sign, starts = 1 if rule.at_least else -1, columns[rule.person_column].starts
    values = ListColumn(sign * _person_values(rule, columns), starts)
    if rule is PERSON_RULES[0]:
        return values.nth_largest_index(keep.people.min_people, np.ones(len(values.values), bool))
    earlier = people_that_pass(PERSON_RULES[: PERSON_RULES.index(rule)], columns, keep)
    enough = values.count(earlier) >= keep.people.min_people
    eligible = earlier | ~enough[values.clip_index]
    return values.nth_largest_index(np.minimum(keep.people.min_people, values.count(eligible)), eligible)


def person_number(rule: "Rule", columns: Columns, keep: Keep) -> np.ndarray:
    """Return the number of the deciding person in its clip, from 1, left to right, (N,); 0 if there is none."""
    index = deciding_person(rule, columns, keep)
    return np.where(index >= 0, index - columns[rule.person_column].starts[:-1] + 1, 0)


def _best_speaker(columns: Columns, keep: Keep) -> np.ndarray:
    """Return the largest correlation of a person's mouth with the sound, (N,); NaN if it is not measured."""
    speaking = columns["face_speaking"]
    return speaking.nth_largest(1, np.ones(len(speaking.values), bool))


HIDES_EDGES = ("interlaced", "dark", "dark_faces")  # edges are combed, or have too few levels

RULES = (
    Rule(name="short", scorer="container", threshold="container.min_duration_s", column_measure=_column("length_s"),
         meaning="length in seconds"),
    Rule(name="long", scorer="container", threshold="container.max_duration_s", column_measure=_column("length_s"),
         meaning="length in seconds", at_least=False, off_at=0),
    Rule(name="small", scorer="container", threshold="container.min_short_side", column_measure=_short_side,
         meaning="short side in pixels"),
    Rule(name="slow", scorer="container", threshold="container.min_fps", column_measure=_column("fps"),
         meaning="frames per second"),
    Rule(name="few_people", scorer="people", threshold="people.min_share", column_measure=_share_with_people,
         meaning="share of frames with enough people"),
    Rule(name="many_people", scorer="people", threshold="people.max_people", column_measure=_median_people,
         meaning="people in at least half of the frames", at_least=False, off_at=0),
    Rule(name="noisy", scorer="damage", threshold="damage.max_noise", column_measure=_column("noise"),
         meaning="standard deviation of noise, 0 to 255", at_least=False),
    Rule(name="grainy", scorer="damage", threshold="damage.max_grain", column_measure=_column("grain"),
         meaning="energy of noise relative to that of the finest detail", at_least=False),
    Rule(name="blocky", scorer="damage", threshold="damage.max_blockiness", column_measure=_column("blockiness"),
         meaning="strength of steps every 8 pixels", at_least=False),
    Rule(name="posterised", scorer="damage", threshold="damage.max_posterisation",
         column_measure=_column("posterisation"), meaning="gaps between the levels of flat parts, 0 to 2",
         at_least=False),
    Rule(name="interlaced", scorer="damage", threshold="damage.max_combing", column_measure=_column("combing"),
         meaning="share of blocks with interlacing combs", at_least=False),
    Rule(name="oversharpened", scorer="damage", threshold="damage.max_halos", column_measure=_halos,
         meaning="halos of edges relative to the steps of the edges", at_least=False),
    Rule(name="enlarged", scorer="damage", threshold="damage.min_source_px", column_measure=_column("source_px"),
         meaning="short side in pixels before enlargement"),
    Rule(name="dark", scorer="sharpness", threshold="sharpness.min_luma", column_measure=_column("luma"),
         meaning="mean brightness in [0, 1]"),
    Rule(name="low_contrast", scorer="sharpness", threshold="sharpness.min_contrast",
         column_measure=_column("contrast"), meaning="difference of bright and dark parts in [0, 1]", unless=("dark",)),
    Rule(name="blurred", scorer="sharpness", threshold="sharpness.min_effective_px",
         column_measure=_column("effective_px"), meaning="effective short side in pixels", tunable=True,
         unless=HIDES_EDGES),
    Rule(name="unaesthetic", scorer="photomotion", threshold="aesthetics.min_photomotion",
         column_measure=_column("photomotion"), meaning="photomotion score in [0, 10]", tunable=True),
    Rule(name="unaesthetic", scorer="laion", threshold="aesthetics.min_laion", column_measure=_column("laion"),
         meaning="LAION aesthetic score, about 1 to 10", tunable=True),
    Rule(name="unaesthetic", scorer="musiq", threshold="aesthetics.min_musiq", column_measure=_column("musiq"),
         meaning="MUSIQ quality score, about 0 to 100", tunable=True),
    Rule(name="burned_in_text", scorer="overlays", threshold="overlays.max_text", column_measure=_column("text"),
         meaning="share of the picture in lines of text", at_least=False),
    Rule(name="watermark", scorer="overlays", threshold="overlays.max_watermark", column_measure=_column("watermark"),
         meaning="share of the changing picture with steady edges", at_least=False),
    Rule(name="picture_in_picture", scorer="overlays", threshold="overlays.max_inset", column_measure=_column("inset"),
         meaning="area of a picture in the picture, as a share of it", at_least=False),
    Rule(name="nsfw", scorer="nsfw", threshold="nsfw.max_nsfw", column_measure=_column("nsfw"),
         meaning="probability that a frame is unsafe", at_least=False),
    Rule(name="cut", scorer="cuts", threshold="cuts.max_cut", column_measure=_column("cut"),
         meaning="largest sudden change between frames, 0 to 255", at_least=False),
    Rule(name="jump_cut", scorer="cuts", threshold="cuts.max_jump", column_measure=_column("jump"),
         meaning="largest share of what moves that jumps at once", at_least=False,
         unless=("noisy",)),  # a codec changes noise at key frames
    Rule(name="gradual_cut", scorer="cuts", threshold="cuts.max_gradual", column_measure=_column("gradual"),
         meaning="largest share of the picture that changes straight to another", at_least=False,
         unless=("blocky",)),  # a codec takes detail and restores it at key frames
    Rule(name="few_faces", scorer="motion", threshold="motion.min_seen", person_column="face_seen",
         meaning="share of frames that show the face", without_people=0.0),
    Rule(name="inexpressive", scorer="motion", threshold="motion.min_expression", person_column="face_expression",
         meaning="variation of mouth, eyes and brows in % of the eye distance", without_people=0.0, tunable=True,
         unless=("dark",)),  # landmarks need a face that can be seen
    Rule(name="burnt_out_faces", scorer="motion", threshold="motion.max_face_clipped", person_column="face_clipped",
         meaning="share of the face that is burnt out", at_least=False),
    Rule(name="dark_faces", scorer="motion", threshold="motion.min_face_luma", person_column="face_luma",
         meaning="mean brightness of the face in [0, 1]"),
    Rule(name="crushed_faces", scorer="motion", threshold="motion.max_face_crushed", person_column="face_crushed",
         meaning="share of the face that is black", at_least=False),
    Rule(name="small_faces", scorer="motion", threshold="motion.min_face_px", person_column="face_px",
         meaning="face size in pixels", tunable=True),
    Rule(name="blurred_faces", scorer="motion", threshold="motion.min_face_effective_px",
         person_column="face_effective_px", meaning="effective size of the face in pixels", tunable=True,
         unless=HIDES_EDGES),
    Rule(name="silent", scorer="motion", threshold="speech.min_speaking", column_measure=_best_speaker,
         meaning="correlation of the speaker's mouth opening and loudness"),
)  # fmt: skip


PERSON_RULES = tuple(rule for rule in RULES if rule.person_column)

READS = {  # columns that the rules read, by scorer
    "container": ("length_s", "width", "height", "fps"),
    "people": ("people_counts", "people_frame", "people_height", "people_confidence"),
    "damage": ("noise", "grain", "blockiness", "posterisation", "combing", "halos", "enlargement", "source_px"),
    "sharpness": ("effective_px", "luma", "contrast"),
    "photomotion": ("photomotion",),
    "laion": ("laion",),
    "musiq": ("musiq",),
    "overlays": ("text", "watermark", "inset"),
    "nsfw": ("nsfw",),
    "cuts": ("cut", "jump", "gradual"),
    "motion": (*(rule.person_column for rule in PERSON_RULES), "face_speaking"),
}


def scorer_rules(scorer: str) -> list[Rule]:
    """Return the rules on the columns of a scorer, in order."""
    return [rule for rule in RULES if rule.scorer == scorer]


def get_rule(name: str, scorers: list[str]) -> Rule:
    """Return the rule with this name among the rules of the given scorers."""
    return next(rule for rule in RULES if rule.name == name and rule.scorer in scorers)
