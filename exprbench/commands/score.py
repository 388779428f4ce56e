"""The verb `score`: score a method's videos and write a record."""

import argparse
import sys
from pathlib import Path

import exprbench
from exprbench.commands.options import (
    add_device,
    add_face_engine,
    add_pairing,
    add_profile,
    add_split_and_track,
    add_verb,
    add_workers,
    name_list,
)
from exprbench.core.cli_base import TOO_MANY_FAILED, shard
from exprbench.core.progress import NORMAL, QUIET, VERBOSE, set_verbosity
from exprbench.faces.engine import using_engine


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `score`."""
    parser = add_verb(
        verbs,
        "score",
        "Score a method's videos, {case_id}.mp4 or {case_id}/00000.png ..., and write a score record.",
        "  exprbench score --benchmark bench --predictions out/mine --method mine\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --split multi --metrics lmd,mae\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --pairing index\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --map names.csv --dry-run\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --profile paper --device cuda",
    )
    parser.add_argument("--benchmark", type=Path, required=True, metavar="BENCH", help="benchmark folder")
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="folder of the method's videos")
    parser.add_argument("--method", required=True, metavar="NAME", help="name of the method")
    parser.add_argument("--out", type=Path, metavar="FILE", help="score record to write (default: NAME.json)")
    add_profile(parser)
    parser.add_argument(
        "--metrics",
        type=name_list,
        metavar="LIST",
        help="comma-separated metrics and extras (default: all eight metrics)",
    )
    add_split_and_track(parser)
    parser.add_argument(
        "--map",
        dest="names",
        type=Path,
        metavar="FILE",
        help="CSV file with the columns case_id,file, or JSON, of predictions that are not named by case ids; a pattern"
        " such as SOURCE--DRIVER.mp4 is detected (default: case ids)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only the preflight: columns with and without numbers, files found"
    )
    parser.add_argument(
        "--missing",
        choices=("exclude", "penalty"),
        default="exclude",
        help="treatment of faces that a frame does not show: no value, or the worst value (default: exclude)",
    )
    parser.add_argument(
        "--looks",
        type=int,
        default=1,
        metavar="N",
        help="jittered crops over which landmarks, gaze, expression and pose are averaged (default: 1)",
    )
    parser.add_argument(
        "--no-floors", dest="floors", action="store_false", help="no noise floors of the benchmark (default: measured)"
    )
    add_pairing(parser)
    add_device(parser)
    add_face_engine(parser)
    parser.add_argument(
        "--shard",
        type=shard,
        default=(1, 1),
        metavar="I/N",
        help="every N-th case, from the I-th; tables mark a part (default: 1/1)",
    )
    parser.add_argument(
        "--max-failed",
        type=int,
        default=0,
        metavar="N",
        help="number of failed cases above which the exit status is 3, as it is if nothing was scored (default: 0)",
    )
    add_workers(parser)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no preflight and no progress on standard error")
    loudness.add_argument("--verbose", action="store_true", help="a line for each case on standard error")
    parser.set_defaults(handler=_run_score)


OF_THE_COMMAND = ("handler", "face_engine", "max_failed", "dry_run", "quiet", "verbose")
OF_PREFLIGHT = ("benchmark", "predictions", "metrics", "profile", "split", "track", "names")


def _run_score(args: argparse.Namespace) -> int:
    set_verbosity(QUIET if args.quiet else VERBOSE if args.verbose else NORMAL)
    try:
        with using_engine(args.face_engine):
            return _dry_run(args) if args.dry_run else _score_and_print(args)
    finally:
        set_verbosity(NORMAL)


def _dry_run(args: argparse.Namespace) -> int:
    found = exprbench.preflight(**{name: getattr(args, name) for name in OF_PREFLIGHT})
    print("\n".join(found.lines()))
    return 0 if found.columns and found.found else TOO_MANY_FAILED


def _score_and_print(args: argparse.Namespace) -> int:
    from exprbench.leaderboard.summary import summary

    record = exprbench.score(**{key: value for key, value in vars(args).items() if key not in OF_THE_COMMAND})
    asked = [name.partition("[")[0].lower().replace("-", "_") for name in args.metrics] if args.metrics else None
    print(summary(record, asked), end="")
    failed = [case for case in record.cases if case.outcome == "error"]
    for case in failed:
        print(f"{case.case_id}: {case.code}: {case.detail}", file=sys.stderr)
    if timing := record.differing_timing():
        print(timing, file=sys.stderr)
    print(f"{len(record.cases) - len(failed)} of {len(record.cases)} cases scored", file=sys.stderr)
    if not any(group.aggregates for group in record.groups):
        print("nothing was scored; the record holds the reason for every case and column", file=sys.stderr)
        return TOO_MANY_FAILED
    return TOO_MANY_FAILED if len(failed) > args.max_failed else 0
