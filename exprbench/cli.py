"""The command `exprbench`: parses arguments and calls one public function per verb."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import exprbench
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser, run, shard
from exprbench.core.errors import UserError

EXAMPLES = """\
  exprbench demo                                                   run everything on drawn faces, without downloads
  exprbench build --portraits p/ --driving d/ --out bench          build a benchmark folder
  exprbench cases bench --format json                              list the videos that a method generates
  exprbench score --benchmark bench --predictions out/ --method m  score a method's videos
  exprbench table m.json other.json                                print the layout of the paper's Table 1
  exprbench report m.json other.json --out report                  write a page with tables and videos
  exprbench study build bench --predictions m=out/ --out study     build the questionnaire of a user study
  exprbench collect m.json --out inputs                            fetch the sources of a shared benchmark
  exprbench weights list                                           list model files and where they are"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `exprbench --help`."""
    parser = Parser(prog="exprbench", description="Score portrait animation on ExprBench.", examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_build, _check, _cases, _score, _table, _report, _study, _manifest, _collect, _weights, _demo):
        add(verbs)
    return run(parser, argv)


def _verb(verbs: argparse._SubParsersAction, name: str, summary: str, examples: str) -> Parser:
    return verbs.add_parser(name, help=summary, description=summary, examples=examples)


def _build(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
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
    _workers(parser)
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
    parser = _verb(verbs, "check", "List the problems of a benchmark folder.", "  exprbench check bench")
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    parser.set_defaults(handler=_run_check)


def _run_check(args: argparse.Namespace) -> int:
    problems = exprbench.check(args.benchmark)
    print("\n".join(problems) if problems else f"{args.benchmark}: no problems")
    return TOO_MANY_FAILED if problems else 0


def _cases(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "cases",
        "List the videos that a method generates: source, drivers and face map of each.",
        "  exprbench cases bench\n  exprbench cases bench --split multi --track self --format json",
    )
    parser.add_argument("benchmark", type=Path, metavar="BENCH", help="benchmark folder")
    _split_and_track(parser)
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


def _split_and_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", choices=("single", "multi"), help="split (default: both)")
    parser.add_argument("--track", choices=("self", "cross"), help="track (default: both)")


def _score(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "score",
        "Score a method's videos, {case_id}.mp4 or {case_id}/00000.png ..., and write a score record.",
        "  exprbench score --benchmark bench --predictions out/mine --method mine\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --split multi --metrics lmd,mae\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --pairing index\n"
        "  exprbench score --benchmark bench --predictions out/mine --method mine --profile paper --device cuda",
    )
    parser.add_argument("--benchmark", type=Path, required=True, metavar="BENCH", help="benchmark folder")
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="folder of the method's videos")
    parser.add_argument("--method", required=True, metavar="NAME", help="name of the method")
    parser.add_argument("--out", type=Path, metavar="FILE", help="score record to write (default: NAME.json)")
    parser.add_argument(
        "--profile",
        choices=("mediapipe", "paper"),
        default="mediapipe",
        help="gaze, expression and pose by MediaPipe, or by L2CS-Net and SMIRK as in the paper (default: mediapipe)",
    )
    parser.add_argument(
        "--metrics", type=_list, metavar="LIST", help="comma-separated metrics and extras (default: all eight metrics)"
    )
    _split_and_track(parser)
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
    parser.add_argument(
        "--pairing",
        choices=("time", "index"),
        default="time",
        help="frames paired by the times in the files, or by number whatever their frame rate (default: time)",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device of the networks (default: auto)"
    )
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
    _workers(parser)
    parser.set_defaults(handler=_run_score)


def _list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _run_score(args: argparse.Namespace) -> int:
    options = {key: value for key, value in vars(args).items() if key not in ("handler", "max_failed")}
    record = exprbench.score(**options)
    print(exprbench.table([record]), end="")
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


def _table(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "table",
        "Print score records in the layout of the paper's Table 1, with marks of what cannot be compared.",
        "  exprbench table a.json b.json\n  exprbench table *.json --format latex > table.tex\n"
        "  exprbench table *.json --format html --extras > table.html\n"
        "  exprbench table mine.json shard.json --common\n"
        "\n"
        "marks, explained below each table and in docs/record.md:\n"
        "  never the best: \u2020 faces not detected, \u2021 frames or videos missing, \u00b6 shard,\n"
        "                  \u2016 other aspect ratio, \u25c7 extra faces, \u00a7 --mix\n"
        "  \u2248 tied with the best: the 95 % interval of the paired difference contains 0",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="score record")
    parser.add_argument(
        "--format", choices=("md", "latex", "csv", "json", "html"), default="md", help="output format (default: md)"
    )
    parser.add_argument("--extras", action="store_true", help="all further columns of the records")
    parser.add_argument(
        "--mix", action="store_true", help="records of different protocols, weights or versions in one table, marked"
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="means over the cases that all records have; FID and FVD only of records without other cases",
    )
    parser.set_defaults(handler=_run_table)


def _run_table(args: argparse.Namespace) -> None:
    options = {"mix": args.mix, "extras": args.extras, "common": args.common}
    print(exprbench.table(args.records, format=args.format, **options), end="")


def _report(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "report",
        "Write a static page with the table, distributions, and the videos of every case in step.",
        "  exprbench report a.json b.json --out report\n"
        "  exprbench report a.json b.json --out report --benchmark bench -p a=out/a -p b=out/b --figures\n"
        "  exprbench report records/*.json --out report --benchmark bench --predictions predictions/",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="score record")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to create; an earlier report in it is replaced"
    )
    parser.add_argument("--benchmark", type=Path, metavar="BENCH", help="benchmark folder (default: no videos)")
    parser.add_argument(
        *("--predictions", "-p"),
        action="append",
        default=[],
        type=_method_or_all,
        metavar="METHOD=DIR",
        help="name of a method and folder of its videos, once per method; or one DIR with a folder per method "
        "(default: only drivers are shown)",
    )
    parser.add_argument("--title", default="ExprBench report", help="title of the page (default: ExprBench report)")
    parser.add_argument(
        "--tile", type=int, default=256, metavar="N", help="longer side of a video in pixels (default: 256)"
    )
    parser.add_argument(
        "--crf", type=int, default=23, metavar="N", help="x264's CRF of the videos; lower is better (default: 23)"
    )
    parser.add_argument("--figures", action="store_true", help="figures as PDF and PNG; needs matplotlib")
    parser.add_argument("--no-landmarks", dest="landmarks", action="store_false", help="no files of landmarks")
    for name, text in (
        ("extras", "all further columns of the records"),
        ("mix", "records of different protocols, weights or versions in one table, marked"),
        ("common", "means over the cases that all records have"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    _workers(parser)
    parser.set_defaults(handler=_run_report)


def _run_report(args: argparse.Namespace) -> int:
    from exprbench.report import ReportSettings

    options, predictions = vars(args), _by_method(args.predictions)
    if "" in predictions and len(predictions) > 1:
        raise UserError("--predictions names methods and a folder of all; give METHOD=DIR for each, or one DIR")
    report = exprbench.build_report(
        args.records,
        out=args.out,
        benchmark=args.benchmark,
        predictions=predictions.get("", predictions),
        settings=ReportSettings(**{name: options[name] for name in ReportSettings.__dataclass_fields__}),
        workers=args.workers,
    )
    for case_id, reason in report.left_out.items():
        print(f"no videos: {case_id}: {reason}", file=sys.stderr)
    print(f"{report.page}: videos of {report.num_cases} cases, {report.num_bytes / 1e6:.1f} MB; open it in a browser")
    return TOO_MANY_FAILED if report.left_out else 0


def _study(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
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
    parser = _verb(
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
    _workers(parser)
    parser.set_defaults(handler=_run_study_build)


def _method_folder(text: str) -> tuple[str, Path]:
    method, found, folder = text.partition("=")
    if not (method and found and folder):
        raise argparse.ArgumentTypeError(f"{text!r}; expected METHOD=DIR, like mine=out/mine")
    return method, Path(folder)


def _method_or_all(text: str) -> tuple[str, Path]:
    return _method_folder(text) if "=" in text else ("", Path(text))


def _by_method(folders: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    if len(dict(folders)) < len(folders):
        raise UserError("--predictions names a method twice; give every method one name and one folder")
    return dict(folders)


def _run_study_build(args: argparse.Namespace) -> None:
    from exprbench.study import StudySettings

    options = vars(args)
    study = exprbench.build_study(
        benchmark=args.benchmark,
        predictions=_by_method(args.predictions),
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
    parser = _verb(
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
    parser = _verb(
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
    parser = _verb(
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
    parser = _verb(
        verbs,
        "demo",
        "Draw a small benchmark, score six toy methods on it and print the table, without downloads.",
        "  exprbench demo\n  exprbench demo --out /tmp/demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="output folder (default: runs/demo)"
    )
    _workers(parser)
    parser.set_defaults(handler=_run_demo)


def _run_demo(args: argparse.Namespace) -> None:
    result = exprbench.demo(args.out, workers=args.workers)
    print(exprbench.table(list(result.records.values())))
    print(f"benchmark    {result.bench.root}")
    print(f"predictions  {args.out / 'predictions'}")
    for method, path in result.paths.items():
        print(f"record       {path}  ({method})")


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes (default: all cores)")


def _weights(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "weights",
        "List, download and verify model files.",
        "  exprbench weights list\n  exprbench weights fetch inception i3d\n  exprbench weights verify",
    )
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser, required=True)
    summary = "List model files, where they are, and how to get missing ones."
    _verb(actions, "list", summary, "  exprbench weights list").set_defaults(handler=_run_weights_list)
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
        action = _verb(actions, name, summary, f"  exprbench weights {name}\n  exprbench weights {name} {example}")
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
