"""How does each column respond to graded damage, and what does MediaPipe read from drawn faces of known truth?

Drawn people (and filmed ones with `--clips`) are damaged in known ways of five strengths and scored as predictions of
themselves. The noise floor, and the values of a copy that is only encoded again, show what a response is worth.
FID, FVD and KID use the small networks of the demo, like `exprbench demo`.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.damage_page import PAGE, PLOTS, plot, write_page
from benchmarks.damage_truth import recovery, true_responses
from benchmarks.damage_videos import CRF, DAMAGES, FPS, Damage, Subject, drawn_subject, filmed_subject, unchanged
from exprbench.core.cli_base import Parser
from exprbench.core.errors import ItemError
from exprbench.core.files import read_json, write_json
from exprbench.core.processes import num_cores, process_map
from exprbench.media import write_video
from exprbench.metrics import COLUMNS, METRICS
from exprbench.records import Aggregate
from exprbench.scoring import score
from exprbench.scoring.plan import choose_columns, missing_weights
from exprbench.toy_benchmark.toy_networks import DemoClipNet, DemoImageNet

COPY = Damage(unit="", strengths=(0.0,), apply=unchanged)
NETWORKS = {"fid": DemoImageNet(), "fvd": DemoClipNet()}
ON_REQUEST = ("kid", "lpips", "csim", "csim_arcface")


def measure(subject: Subject, work: Path, workers: int) -> dict[str, Any]:
    """Return the floors, the values of a copy, and the values of each damage and strength, of all columns."""
    variants = [("copy", 0.0), *((name, x) for name, damage in subject.damages().items() for x in damage.strengths)]
    found = {}
    values = partial(_values, subject, work)
    for variant, result in process_map(values, variants, workers=workers, label="damage", unit="variant"):
        if isinstance(result, ItemError):
            raise result
        found[variant] = result
    floors, copy = found["copy", 0.0]
    damages = {}
    for name, damage in subject.damages().items():
        responses = {column: [found[name, x][1].get(column) for x in damage.strengths] for column in copy}
        damages[name] = {"unit": damage.unit, "strengths": list(damage.strengths), "values": responses}
    return {"floors": floors, "copy": copy, "damages": damages, "num_videos": len(subject.cases())}


def _values(subject: Subject, work: Path, variant: tuple[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Return column -> floor, and column -> value, of the videos with a damage; floors are those of the copy only."""
    name, strength = variant
    damage = DAMAGES.get(name, COPY)
    predictions = work / f"{name} {strength:g}"
    for case in subject.cases():
        crf = int(strength) if damage.unit == "crf" else CRF
        write_video(predictions / f"{case.case_id}.mp4", subject.frames(case, damage, strength), fps=FPS, crf=crf)
    found = _score(subject, predictions, "single", _available(), floors=damage is COPY)
    if subject.bench.select(split="multi", track="self"):
        several = _score(subject, predictions, "multi", ["aed", "apd"], floors=damage is COPY)
        found |= {name: aggregate for name, aggregate in several.items() if COLUMNS[name].over == "people"}
    return {n: a.floor for n, a in found.items() if a.floor is not None}, {n: a.value for n, a in found.items()}


def _score(
    subject: Subject, predictions: Path, split: str, metrics: Sequence[str], *, floors: bool
) -> dict[str, Aggregate]:
    record = score(
        benchmark=subject.bench.root,
        predictions=predictions,
        method="damaged",
        metrics=metrics,
        split=split,
        track="self",
        networks=NETWORKS,
        floors=floors,
        workers=0,
        out=predictions / f"{split}.json",
    )
    return record.groups[0].aggregates


def _available() -> list[str]:
    """Return the metrics, and the columns on request that can be computed here."""
    return [*METRICS, *(name for name in ON_REQUEST if name == "kid" or not missing_weights((name,), "mediapipe"))]


def run(
    work: Path, parts: Sequence[str], num_frames: int, clips: Path | None, pairs: Path | None, count: int, workers: int
) -> dict[str, Any]:
    """Return what is measured in the parts."""
    chosen = choose_columns(_available(), "mediapipe")
    missing = [name for name in COLUMNS if name not in chosen]
    result: dict[str, Any] = {"num_frames": num_frames, "not_measured": missing}
    if "drawn" in parts:
        drawn = drawn_subject(work / "drawn", num_frames)
        result |= {"recovery": recovery(work / "recovery", num_frames), "true": true_responses(drawn)}
        result["drawn"] = measure(drawn, work / "drawn" / "predictions", workers)
    if "filmed" in parts and clips:
        filmed = filmed_subject(work / "filmed", num_frames, clips, pairs, count)
        result["filmed"] = measure(filmed, work / "filmed" / "predictions", workers)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or write the page and the plots from an earlier measurement, and return the exit status."""
    parser = Parser(
        prog="python -m benchmarks.damage",
        description=__doc__.splitlines()[0],
        examples="  python -m benchmarks.damage --json damage.json --clips clips/\n"
        "  python -m benchmarks.damage --json damage.json --write",
    )
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="file of the measurements")
    parser.add_argument("--frames", type=int, default=25, metavar="N", help="frames of each video (default: 25)")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="videos of one person each (default: none)")
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="videos of several people each (default: none)")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="videos of each folder (default: 3)")
    parser.add_argument("--only", choices=list(PLOTS), help="part to measure; --json keeps the other (default: both)")
    parser.add_argument("--workers", type=int, default=num_cores(), metavar="N", help="processes (default: all cores)")
    parser.add_argument(
        "--write", action="store_true", help=f"write the measurements in --json into docs/{PAGE.name}, without a run"
    )
    args = parser.parse_args(argv)
    if args.write:
        measured = read_json(args.json)
        for kind, path in PLOTS.items():
            if kind in measured:
                plot(measured[kind], path)
        write_page(PAGE, measured)
        return 0
    with tempfile.TemporaryDirectory() as work:
        parts = [args.only] if args.only else list(PLOTS)
        result = run(Path(work), parts, args.frames, args.clips, args.pairs, args.count, args.workers)
    kept = read_json(args.json) if args.only and args.json.is_file() else {}
    write_json(args.json, kept | result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
