"""The verbs of benchmarks: `build`, `check`, `cases`, `manifest`, `collect` and `demo`."""

import argparse
import json
import sys
from pathlib import Path

import exprbench
from exprbench.commands.options import add_split_and_track, add_verb, add_workers
from exprbench.core.cli_base import TOO_MANY_FAILED


def add_build(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `build`."""
    parser = add_verb(
        verbs,
        "build",
        "Build a benchmark folder from portraits and driving videos.",
        "  exprbench build --portraits portraits/ --driving clips/ --out bench\n"
        "  exprbench build --portraits p/ --driving d/ --multi-portraits mp/ --multi-driving md/ --out bench --seed 7",
    )
    parser.add_argument(
        "--portraits", type=Path, required=True, metavar="DIR", help="folder of images with one person each"
    )
    parser.add_argument(
        "--driving", type=Path, required=True, metavar="DIR", help="folder of videos with one person each"
    )
    parser.add_argument("--multi-portraits", type=Path, metavar="DIR", help="folder of images with several people each")
    parser.add_argument(
        "--multi-driving", type=Path, metavar="DIR", help="folder of videos with one or more people each"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="BENCH", help="benchmark folder to create")
    parser.add_argument(
        "--clip-seconds", type=float, default=5.0, metavar="S", help="clip length in seconds (default: 5)"
    )
    parser.add_argument("--fps", type=float, default=25.0, help="frame rate of the clips (default: 25)")
    parser.add_argument(
        "--cross-per-portrait", type=int, default=1, metavar="N", help="drivers per portrait (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the pairing (default: 0)")
    parser.add_argument("--name", default="exprbench", help="name of the benchmark (default: exprbench)")
    add_workers(parser)
    parser.set_defaults(handler=_run_build)


def _run_build(args: argparse.Namespace) -> int:
    options = {key: value for key, value in vars(args).items() if key != "handler"}
    bench = exprbench.build(**options)
    for item in bench.left_out:
        print(f"left out: {item.path}: {item.reason} ({item.detail})")
    counts = ", ".join(
        f"{len(bench.select(split, track))} {split} {track}"
        for split in ("single", "multi")
        for track in ("self", "cross")
    )
    print(f"{bench.root}: {len(bench.cases)} cases ({counts}), sha256 {bench.sha256[:16]}")
    return 0


def add_check(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `check`."""
    parser = add_verb(verbs, "check", "List the problems of a benchmark folder.", "  exprbench check bench")
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    parser.set_defaults(handler=_run_check)


def _run_check(args: argparse.Namespace) -> int:
    problems = exprbench.check(args.benchmark)
    print("\n".join(problems) if problems else f"{args.benchmark}: no problems")
    return TOO_MANY_FAILED if problems else 0


def add_cases(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `cases`."""
    parser = add_verb(
        verbs,
        "cases",
        "List the videos that a method generates: source, drivers and face map of each.",
        "  exprbench cases bench\n  exprbench cases bench --split multi --track self --format json",
    )
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    add_split_and_track(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="output format (default: table)")
    parser.set_defaults(handler=_run_cases)


def _run_cases(args: argparse.Namespace) -> int:
    bench = exprbench.Benchmark.open(args.benchmark)
    rows = [case.to_row() for case in bench.select(args.split, args.track)]
    if args.format == "json":
        print(json.dumps(rows, indent=2))
        return 0
    columns = ("case_id", "source", "drivers", "face_map")
    widths = [max(len(c), *(len(row[c]) for row in rows)) if rows else len(c) for c in columns]
    for row in ({c: c for c in columns}, *rows):
        print("  ".join(row[c].ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    return 0


def add_manifest(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `manifest`."""
    parser = add_verb(
        verbs,
        "manifest",
        "Write the manifest of a benchmark, from which others build the same folder without your media.",
        "  exprbench manifest bench --out bench.manifest.json",
    )
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="manifest to write")
    parser.set_defaults(handler=_run_manifest)


def _run_manifest(args: argparse.Namespace) -> int:
    problems = exprbench.write_manifest(args.benchmark, args.out)
    for problem in problems:
        print(f"not listed: {problem}")
    print(args.out)
    return TOO_MANY_FAILED if problems else 0


def add_collect(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `collect`."""
    parser = add_verb(
        verbs,
        "collect",
        "Fetch the portraits and driving videos of a manifest, verify them and write sources.csv.",
        "  exprbench collect bench.manifest.json --out inputs",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="file that exprbench manifest wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files")
    parser.add_argument(
        "--max-mb", type=float, default=2000, metavar="MB", help="largest size of a file in megabytes (default: 2000)"
    )
    parser.add_argument(
        "--permitted",
        action="append",
        default=[],
        metavar="SITE",
        help="site whose permission you have to collect files for evaluation, like pexels.com; once per site",
    )
    parser.set_defaults(handler=_run_collect)


def _run_collect(args: argparse.Namespace) -> int:
    collection = exprbench.collect(args.manifest, args.out, max_mb=args.max_mb, permitted=args.permitted)
    for item in collection.failed:
        print(f"{item.file.path}: {item.code}: {item.detail}", file=sys.stderr)
    print(f"{len(collection.files) - len(collection.failed)} of {len(collection.files)} files in {collection.root}")
    if collection.failed:
        return TOO_MANY_FAILED
    print(f"build with    {collection.command}\nexpect sha256 {collection.benchmark_sha256[:16]}")
    return 0


def add_demo(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `demo`."""
    parser = add_verb(
        verbs,
        "demo",
        "Draw a small benchmark, score six toy methods on it and print the table, without downloads.",
        "  exprbench demo\n  exprbench demo --out /tmp/demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="output folder (default: runs/demo)"
    )
    add_workers(parser)
    parser.set_defaults(handler=_run_demo)


def _run_demo(args: argparse.Namespace) -> None:
    result = exprbench.demo(args.out, workers=args.workers)
    print(exprbench.table(list(result.records.values())))
    print(f"benchmark    {result.bench.root}")
    print(f"predictions  {args.out / 'predictions'}")
    for method, path in result.paths.items():
        print(f"record       {path}  ({method})")
