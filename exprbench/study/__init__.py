"""Run a user study (Table 2): build a blind questionnaire as a static folder, and aggregate the answers.

The practice follows ITU-T P.910: absolute ratings or pair comparison, practice trials that cover both ends of the
scale, random order without two neighbours from one source, trials with a known answer, repeated trials, and screening
of raters that separates payment (accept) from use.
"""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Rules": "exprbench.study.answer_files",
        "StudySettings": "exprbench.study.questionnaire",
        "aggregate_study": "exprbench.study.aggregation",
        "build_study": "exprbench.study.questionnaire",
    },
)
