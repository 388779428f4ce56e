"""The command `exprbench`: parses arguments and calls one public function per verb."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import exprbench
from exprbench.commands import filing, lists, pair, reports, score, studies, tables
from exprbench.commands.options import add_split_and_track, add_verb, add_workers
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser, run

EXAMPLES = """\
  exprbench demo                                                   run everything on drawn faces, without downloads
  exprbench pair generated.mp4 driving.mp4                         score one video, without a benchmark
  exprbench build --portraits p/ --driving d/ --out bench          build a benchmark folder
  exprbench cases bench --format json                              list the videos that a method generates
  exprbench score --benchmark bench --predictions out/ --method m  score a method's videos
  exprbench table m.json other.json                                print the layout of the paper's Table 1
  exprbench compare m.json other.json                              print paired differences, with intervals and a test
  exprbench report m.json other.json --out report                  write a page with tables and videos
  exprbench study build bench --predictions m=out/ --out study     build the questionnaire of a user study
  exprbench collect m.json --out inputs                            fetch the sources of a shared benchmark
  exprbench metrics                                                list every column
  exprbench weights list                                           list model files and where they are
  exprbench doctor                                                 check the installation"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `exprbench --help`."""
    parser = Parser(prog="exprbench", description="Score portrait animation on ExprBench.", examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    facts = (lists.add_metrics, _weights, lists.add_doctor, lists.add_completion)
    comparisons = (tables.add_compare, tables.add_variants, reports.add)
    results = (filing.add_submit, filing.add_verify, filing.add_export)
    benchmarks = (_build, _check, _cases, _manifest, _collect)
    for add in (pair.add, *benchmarks, score.add, tables.add, *comparisons, *results, studies.add, *facts, _demo):
        add(verbs)
    return run(parser, argv)


def _build(verbs: argparse._SubParsersAction) -> None:
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


def _check(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(verbs, "check", "List the problems of a benchmark folder.", "  exprbench check bench")
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    parser.set_defaults(handler=_run_check)


def _run_check(args: argparse.Namespace) -> int:
    problems = exprbench.check(args.benchmark)
    print("\n".join(problems) if problems else f"{args.benchmark}: no problems")
    return TOO_MANY_FAILED if problems else 0


def _cases(verbs: argparse._SubParsersAction) -> None:
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


def _manifest(verbs: argparse._SubParsersAction) -> None:
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


def _collect(verbs: argparse._SubParsersAction) -> None:
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


def _demo(verbs: argparse._SubParsersAction) -> None:
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


def _weights(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "weights",
        "List, download and verify model files.",
        "  exprbench weights list\n  exprbench weights fetch inception i3d\n  exprbench weights verify",
    )
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser, required=True)
    summary = "List model files, where they are, and how to get missing ones."
    add_verb(actions, "list", summary, "  exprbench weights list").set_defaults(handler=_run_weights_list)
    for name, summary, example, default, handler in (
        (
            "fetch",
            "Download model files and verify their hashes.",
            "inception i3d",
            "all with a URL",
            _run_weights_fetch,
        ),
        ("verify", "Compare model files with their published hashes.", "smirk l2cs", "all", _run_weights_verify),
    ):
        action = add_verb(actions, name, summary, f"  exprbench weights {name}\n  exprbench weights {name} {example}")
        action.add_argument("names", nargs="*", metavar="NAME", help=f"name of a model file (default: {default})")
        action.set_defaults(handler=handler)


def _run_weights_list(_: argparse.Namespace) -> int:
    from exprbench import weights

    for entry in weights.ALL.values():
        path, export = weights.locate(entry.name), weights.locate_export(entry.name)
        size = f"{entry.num_bytes / 1e6:.1f} MB" if entry.num_bytes else ""
        state = "present" if path else "exported" if export else "missing"
        print(f"{entry.name:16} {state:8} {size:>8}  {entry.used_by:24} {entry.licence}")
        print(f"{'':16} {path or export or weights.how_to_get(entry)}")
    return 0


def _run_weights_fetch(args: argparse.Namespace) -> int:
    from exprbench import weights

    for name in args.names or [w.name for w in weights.ALL.values() if w.url]:
        print(f"{name}: {weights.fetch(name)}")
    return 0


def _run_weights_verify(args: argparse.Namespace) -> int:
    from exprbench import weights

    states = {name: weights.state(weights.get(name)) for name in args.names or weights.ALL}
    for name, state in states.items():
        print(f"{name:16} {state}")
    return TOO_MANY_FAILED if "differs" in states.values() else 0


if __name__ == "__main__":
    sys.exit(main())
