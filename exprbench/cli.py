"""The command `exprbench`: parses arguments and calls one public function per verb."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import exprbench
from exprbench.commands import filing, lists, pair, score, tables
from exprbench.commands.options import add_split_and_track, add_verb, add_workers
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser, run
from exprbench.core.errors import UserError

EXAMPLES = """\
  exprbench demo                                                   run everything on drawn faces, without downloads
  exprbench pair generated.mp4 driving.mp4                         score one video, without a benchmark
  exprbench build --portraits p/ --driving d/ --out bench          build a benchmark folder
  exprbench cases bench --format json                              list the videos that a method generates
  exprbench score --benchmark bench --predictions out/ --method m  score a method's videos
  exprbench table m.json other.json                                print the layout of the paper's Table 1
  exprbench compare m.json other.json                              print paired differences, with intervals and a test
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
    comparisons = (tables.add_compare, tables.add_variants)
    results = (filing.add_submit, filing.add_verify, filing.add_export)
    benchmarks = (_build, _check, _cases, _manifest, _collect)
    for add in (pair.add, *benchmarks, score.add, tables.add, *comparisons, *results, _study, *facts, _demo):
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


def _study(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "study",
        "Build the questionnaire of a user study (Table 2), and aggregate its answers.",
        "  exprbench study build bench --predictions mine=out/mine --predictions other=out/other --out study\n"
        "  exprbench study aggregate answers/ --key study.key.json",
    )
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser, required=True)
    _study_build(actions)
    _study_aggregate(actions)


def _study_build(actions: argparse._SubParsersAction) -> None:
    parser = add_verb(
        actions,
        "build",
        "Build a blind, randomised and balanced questionnaire as one static folder that opens without a server.",
        "  exprbench study build bench --predictions mine=out/mine --predictions other=out/other --out study\n"
        "  exprbench study build bench --predictions a=a/ --predictions b=b/ --mode pairs --raters 16 --out study",
    )
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    parser.add_argument(
        *("--predictions", "-p"),
        action="append",
        type=_method_folder,
        required=True,
        metavar="METHOD=DIR",
        help="name of a method and folder of its videos; once per method",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the raters, to create")
    parser.add_argument("--key", type=Path, metavar="FILE", help="key file, not for the raters (default: DIR.key.json)")
    parser.add_argument(
        "--mode",
        choices=("rating", "pairs"),
        default="rating",
        help="scores from 0 to 10, or choices between two results (default: rating)",
    )
    for name, default, text in (
        ("raters", 32, "number of raters"),
        ("per-rater", 24, "number of evaluated trials of each rater"),
        ("gold", 2, "number of trials with a known answer"),
        ("traps", 1, "number of trials that say what to answer"),
        ("repeats", 2, "number of repeated trials"),
        ("seed", 0, "seed of all draws"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument(
        "--cases", type=int, metavar="N", help="number of cases (default: 5 ratings for each video or pair)"
    )
    parser.add_argument("--split", choices=("both", "single", "multi"), default="both", help="split (default: both)")
    parser.add_argument(
        "--track", choices=("both", "self", "cross"), default="cross", help="track (default: cross, as in the paper)"
    )
    parser.add_argument(
        "--title", default="Portrait animation study", help="title of the page (default: Portrait animation study)"
    )
    add_workers(parser)
    parser.set_defaults(handler=_run_study_build)


def _method_folder(text: str) -> tuple[str, Path]:
    method, found, folder = text.partition("=")
    if not (method and found and folder):
        raise argparse.ArgumentTypeError(f"{text!r}; expected METHOD=DIR, like mine=out/mine")
    return method, Path(folder)


def _run_study_build(args: argparse.Namespace) -> None:
    from exprbench.study import StudySettings

    predictions = dict(args.predictions)
    if len(predictions) < len(args.predictions):
        raise UserError("--predictions names a method twice; give every method one name and one folder")
    options = vars(args)
    study = exprbench.build_study(
        benchmark=args.benchmark,
        predictions=predictions,
        out=args.out,
        key=args.key,
        settings=StudySettings(**{name: options[name] for name in StudySettings.__dataclass_fields__}),
        workers=args.workers,
    )
    for case_id, reason in study.left_out.items():
        print(f"left out: {case_id}: {reason}")
    low, high = study.votes
    print(f"{len(study.cases)} cases, {low if low == high else f'{low} or {high}'} ratings for each video or pair")
    print(f"a session takes about {study.minutes:.0f} minutes{'; P.910 advises 30 at most' * (study.minutes > 30)}")
    for name, path in (("raters get", study.root), ("their links", study.links), ("you keep", study.key)):
        print(f"{name:11}  {path}")


def _study_aggregate(actions: argparse._SubParsersAction) -> None:
    parser = add_verb(
        actions,
        "aggregate",
        "Check the raters' answer files, un-blind them and print Table 2 with intervals and comparisons.",
        "  exprbench study aggregate answers/ --key study.key.json\n"
        "  exprbench study aggregate answers/*.json --key study.key.json --format csv > table2.csv",
    )
    parser.add_argument("answers", nargs="+", type=Path, metavar="FILE", help="answer files, or a folder of them")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="key file that study build wrote")
    parser.add_argument("--format", choices=("md", "csv", "json"), default="md", help="output format (default: md)")
    parser.add_argument(
        "--no-models", action="store_true", help="no mixed-effects models, which need the extra `study` and seconds"
    )
    parser.add_argument(
        "--min-variance",
        type=float,
        default=0.9375,
        metavar="X",
        help="variance of a rater's scores below which they are not used (default: 0.9375, P.910's on this scale)",
    )
    parser.add_argument(
        "--max-play-ratio",
        type=float,
        default=1.15,
        metavar="X",
        help="ratio of playing time to duration above which a session is not used (default: 1.15)",
    )
    parser.set_defaults(handler=_run_study_aggregate)


def _run_study_aggregate(args: argparse.Namespace) -> None:
    from exprbench.study import Rules
    from exprbench.study.study_table import FORMATS

    rules = Rules(min_variance=args.min_variance, max_play_ratio=args.max_play_ratio)
    result = exprbench.aggregate_study(args.answers, key=args.key, rules=rules, models=not args.no_models)
    print(FORMATS[args.format](result), end="")


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
