"""The questions of the study: the four dimensions of the paper's Table 2."""

from dataclasses import dataclass

MAX_SCORE = 10


@dataclass(frozen=True, kw_only=True)
class Question:
    """One dimension: its text for a single video, for a pair, and the names of the ends of its scale."""

    id: str
    title: str
    text: str
    pair_text: str
    low: str
    high: str


QUESTIONS = (
    Question(
        id="VQ",
        title="Video quality",
        text="How good is the picture of the result: sharp, clean, without flicker or damage?",
        pair_text="Which result has the better picture?",
        low="very bad",
        high="excellent",
    ),
    Question(
        id="ES",
        title="Expression similarity",
        text="How closely do the expressions of the result follow those of the driving video?",
        pair_text="Which result follows the expressions of the driving video more closely?",
        low="not at all",
        high="exactly",
    ),
    Question(
        id="MN",
        title="Motion naturalness",
        text="How natural is the motion of the face and head in the result?",
        pair_text="In which result is the motion more natural?",
        low="very unnatural",
        high="fully natural",
    ),
    Question(
        id="ER",
        title="Expression richness",
        text="How rich and vivid are the expressions in the result?",
        pair_text="Which result has the richer expressions?",
        low="lifeless",
        high="very rich",
    ),
)
IDS = tuple(question.id for question in QUESTIONS)
