"""The verb `pair`: score two videos without a benchmark."""

import argparse
import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import exprbench
from exprbench.commands.options import add_device, add_face_engine, add_pairing, add_profile, add_verb, name_list
from exprbench.core.cli_base import TOO_MANY_FAILED
from exprbench.core.files import write_text
from exprbench.faces.engine import using_engine

if TYPE_CHECKING:
    from exprbench.scoring.pairs import PairScores


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `pair`."""
    parser = add_verb(
        verbs,
        "pair",
        "Score a video against a reference video that shows the same scene; no benchmark is needed.",
        "  exprbench pair generated.mp4 driving.mp4\n"
        "  exprbench pair generated.mp4 driving.mp4 --metrics psnr,lmd --format json\n"
        "  exprbench pair generated/ driving.mp4 --per-frame frames.csv",
    )
    parser.add_argument("prediction", type=Path, metavar="PREDICTION", help="generated video, or folder of its frames")
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="reference video, or folder of its frames")
    parser.add_argument(
        "--metrics", type=name_list, metavar="LIST", help="comma-separated columns (default: all eight metrics)"
    )
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="output format (default: table)"
    )
    parser.add_argument(
        "--per-frame", type=Path, metavar="FILE", help="CSV or JSON file of the values of every frame (default: none)"
    )
    parser.add_argument("--fps", type=float, help="frame rate of the comparison (default: that of the reference)")
    add_profile(parser)
    add_pairing(parser)
    add_device(parser)
    add_face_engine(parser)
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    options = {name: getattr(args, name) for name in ("metrics", "profile", "pairing", "device", "fps")}
    with using_engine(args.face_engine):
        scores = exprbench.score_pair(args.prediction, args.reference, **options)
    print(FORMATS[args.format](scores), end="")
    if args.per_frame:
        write_text(args.per_frame, _frames_json(scores) if args.per_frame.suffix == ".json" else _frames_csv(scores))
    return 0 if scores else TOO_MANY_FAILED


def _to_table(scores: "PairScores") -> str:
    from exprbench.metrics import COLUMNS
    from exprbench.weights import brief_reason

    lines = []
    for name, metric_id in scores.ids.items():
        metric = COLUMNS[name]
        if name not in scores:
            lines.append(f"{name:14} {'-':>9}  {brief_reason(scores.unscored[name])}")
            continue
        value = f"{scores[name] * metric.table_scale:.{metric.decimals}f}"
        better = "higher is better" if metric.higher_is_better else "lower is better"
        lines.append(f"{name:14} {value:>9} {metric.unit:8} {better:17} {metric_id}")
    lines.append(_about(scores))
    return "\n".join(lines) + "\n"


def _about(scores: "PairScores") -> str:
    frames = f"{scores.num_frames} of {scores.num_frames_reference} frames at {scores.fps:g} per second"
    if scores.detect_rate is None:
        return frames
    people = "person" if scores.num_faces == 1 else "people"
    return f"{frames}; {scores.num_faces} {people}, faces detected in {scores.detect_rate:.1%} of the frames"


def _to_json(scores: "PairScores") -> str:
    return json.dumps({**scores, "unscored": scores.unscored, "ids": scores.ids}, indent=2) + "\n"


def _to_csv(scores: "PairScores") -> str:
    rows = [(name, scores.get(name, ""), i, scores.unscored.get(name, "")) for name, i in scores.ids.items()]
    return _csv([("metric", "value", "id", "unscored"), *rows])


def _csv(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _frames(scores: "PairScores") -> list[dict[str, float | None]]:
    """Return a row per frame; None where a frame has no value."""
    columns = {name: [None if math.isnan(v) else v for v in values] for name, values in scores.per_frame.items()}
    return [
        {
            "frame": i,
            "time_s": round(i / scores.fps, 6),
            **{name: values[i] if i < len(values) else None for name, values in columns.items()},
        }
        for i in range(scores.num_frames)
    ]


def _frames_json(scores: "PairScores") -> str:
    return json.dumps(_frames(scores), indent=1) + "\n"


def _frames_csv(scores: "PairScores") -> str:
    head = ("frame", "time_s", *scores.per_frame)
    return _csv([head, *(tuple(row.values()) for row in _frames(scores))])


FORMATS = {"table": _to_table, "json": _to_json, "csv": _to_csv}
