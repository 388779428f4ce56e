"""The verb `study`: build the questionnaire of a user study, and aggregate its answers."""

import argparse
from pathlib import Path

import exprbench
from exprbench.commands.options import add_verb, add_workers, folder_by_method, method_folder
from exprbench.core.cli_base import Parser


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `study`."""
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
        type=method_folder,
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


def _run_study_build(args: argparse.Namespace) -> None:
    from exprbench.study import StudySettings

    options = vars(args)
    study = exprbench.build_study(
        benchmark=args.benchmark,
        predictions=folder_by_method(args.predictions),
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
