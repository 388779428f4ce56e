"""Render the results of a study as Markdown, CSV or JSON."""

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from exprbench.core.files import dump_json
from exprbench.leaderboard.rendering import NOTHING, md_lines
from exprbench.study.aggregation import Estimate, SplitResult, StudyResult
from exprbench.study.comparison import Contrast
from exprbench.study.questions import IDS, MAX_SCORE


def to_markdown(result: StudyResult) -> str:
    """Return Table 2, agreement, comparisons and the outcome of each answer file that is not used."""
    parts = [_table(result), _about(result)]
    if result.mode == "rating":
        parts += ["Krippendorff's alpha (interval)", _alpha(result)]
        parts += ["Differences from the best method (mixed-effects model)", _contrasts(result)]
    return "\n\n".join([*(part for part in parts if part), *_sessions(result)]) + "\n"


def _table(result: StudyResult) -> str:
    rows = [["Dataset", "Method", *(f"{question} \u2191" for question in IDS)]]
    for split in result.splits:
        for method in result.methods:
            name = method.replace("|", "\\|")
            rows.append([split.split.capitalize(), name, *(_cell(split, q, method) for q in IDS)])
    return "\n".join(md_lines(rows))


def _cell(split: SplitResult, question: str, method: str) -> str:
    estimates = split.estimates[question]
    if method not in estimates:
        return NOTHING
    own = estimates[method]
    text = f"{own.mean:.2f}"
    text = f"**{text}**" if own.mean == max(e.mean for e in estimates.values()) else text
    return text + (f" [{own.low:.2f}, {own.high:.2f}]" if own.low is not None else "")


def _about(result: StudyResult) -> str:
    counts = Counter(session.outcome for session in result.sessions)
    raters = counts["used"]
    unit = (
        f"Mean opinion scores from 0 to {MAX_SCORE}; 95 % intervals of Student's t over raters."
        if result.mode == "rating"
        else "Bradley-Terry strengths in log-odds (mean 0); 95 % intervals by resampling raters, none where a method"
        " won or lost everything."
    )
    files = ", ".join(f"{counts[name]} {name}" for name in ("used", "accepted", "rejected", "invalid") if counts[name])
    few = " BT.500 asks for 15 valid raters or more." if raters < 15 else ""
    return (
        f"{unit} {raters} raters ({files}).{few} Benchmark {result.benchmark}, sha256 {result.benchmark_sha256[:16]}."
    )


def _alpha(result: StudyResult) -> str:
    def text(value: float | None) -> str:
        return NOTHING if value is None else f"{value:.3f}"

    rows = [[s.split.capitalize(), "", *(text(s.alpha[question]) for question in IDS)] for s in result.splits]
    return "\n".join(md_lines([["Dataset", "", *IDS], *rows]))


def _contrasts(result: StudyResult) -> str:
    rows = [["Dataset", "Comparison", "Question", "Difference", "95 % interval", "p (Holm)"]]
    reasons = []
    for split in result.splits:
        for question, contrasts in split.contrasts.items():
            if isinstance(contrasts, str):
                reasons.append(f"{split.split} {question}: no comparison: {contrasts}")
            else:
                rows += [[split.split.capitalize(), *_contrast(question, contrast)] for contrast in contrasts]
    table = "\n".join(md_lines(rows)) if len(rows) > 1 else ""
    return "\n\n".join(part for part in (table, *reasons) if part)


def _contrast(question: str, contrast: Contrast) -> list[str]:
    p = "< 0.001" if contrast.p_adjusted < 0.001 else f"{contrast.p_adjusted:.3f}"
    return [
        f"{contrast.method} \u2212 {contrast.reference}",
        question,
        f"{contrast.difference:+.2f}",
        f"[{contrast.low:+.2f}, {contrast.high:+.2f}]",
        p if contrast.converged else f"{p} (fit did not converge)",
    ]


def _sessions(result: StudyResult) -> list[str]:
    lines = [f"{s.file}: {s.outcome}: {'; '.join(s.reasons)}" for s in result.sessions if s.outcome != "used"]
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def to_csv(result: StudyResult) -> str:
    """Return CSV with one line per dataset, method and question."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = list(Estimate.__dataclass_fields__)
    writer.writerow(["dataset", "method", "question", *fields])
    for split in result.splits:
        for question, estimates in split.estimates.items():
            for method, estimate in estimates.items():
                values = asdict(estimate)
                writer.writerow(
                    [split.split, method, question, *("" if values[f] is None else values[f] for f in fields)]
                )
    return text.getvalue()


def to_json(result: StudyResult) -> str:
    """Return everything but the single answers as JSON."""
    content = asdict(result)
    for session in content["sessions"]:
        del session["answers"]
    return dump_json(content)


FORMATS: dict[str, Callable[[StudyResult], str]] = {"md": to_markdown, "csv": to_csv, "json": to_json}
