"""The command `multiexpr`: each verb a thin shell over one public function."""

import argparse
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exprbench.core.cli_base import DONE, TOO_MANY_FAILED, Parser, run
from exprbench.core.errors import UserError

if TYPE_CHECKING:
    from multiexpr.execution.executors import ExecutionConfig
    from multiexpr.recipe import Recipe

EXAMPLES = """\
  multiexpr curate videos/ --out out/                         a folder of videos to a dataset and a report
  multiexpr curate OpenVid-1M/ --out out/ --limit 100         the next hundred videos of a large collection
  multiexpr select out/ --set keep.motion.min_expression=2    other thresholds: seconds, nothing is measured again
  multiexpr select out/ --target 30000                        thresholds that keep so many
  multiexpr why out/ 3f2a                                     what became of a clip, and why
  multiexpr recipe > my.toml                                  the default recipe, every threshold explained"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `multiexpr --help`."""
    import exprbench

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Slurm's way of saying stop
    parser = Parser(prog="multiexpr", description="From raw video collections to a curated dataset.", examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_curate, _index, _score, _select, _caption, _export, _report, _why, _recipe):
        add(verbs)
    return run(parser, argv)


def _verb(verbs: argparse._SubParsersAction, name: str, summary: str, examples: str) -> Parser:
    return verbs.add_parser(name, help=summary, description=summary, examples=examples)


def _curate(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "curate",
        "Index, score, select, caption, export and report, in this order; the same command resumes.",
        "  multiexpr curate videos/ --out out/\n"
        "  multiexpr curate OpenVid-1M/ --out out/ --recipe my.toml --workers 8\n"
        "  multiexpr curate videos/ --out out/ --people-model yolov8x.pt --set keep.people.max_people=4\n"
        "  sbatch --array=0-63 --wrap 'multiexpr curate OpenHumanVid/ --out out/ --executor slurm'",
    )
    _source(parser)
    _scoring(parser)
    _recipes(parser)
    _machines(parser)
    parser.add_argument("--max-failed", type=float, metavar="SHARE", help="exit with 3 when more clips end in errors")
    parser.set_defaults(handler=_run_curate)


def _source(parser: Parser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the collection: a folder, or a video")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to work in")
    kinds = "openvid, openhumanvid, hallo3, multiexpr, webdataset or folder"
    parser.add_argument("--kind", default="auto", help=f"of collection: {kinds} (it is looked at)")
    parser.add_argument("--limit", type=int, metavar="N", help="take up at most N more of its videos")
    parser.add_argument(
        "--columns", default="", metavar="OURS=THEIRS,...", help="names of the columns path and caption"
    )
    parser.add_argument("--path-map", action="append", default=[], metavar="OLD=NEW",
                        help="beginnings of paths in tables, and what they are on disk")  # fmt: skip
    parser.add_argument("--unlisted", action="store_true", help="take files that no table names, too")
    parser.add_argument("--no-content-check", action="store_true", help="do not look for files of the same content")


def _scoring(parser: Parser) -> None:
    parser.add_argument("--score-all", action="store_true", help="measure everything of every clip, dropped or not")
    parser.add_argument("--retry-errors", action="store_true", help="try again what ended in an error")


def _recipes(parser: Parser) -> None:
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="TOML; `multiexpr recipe` prints the default one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="change one value of the recipe, such as keep.people.min_share=0.6")  # fmt: skip
    parser.add_argument("--people-model", metavar="FILE", help="a YOLO detector: .pt, .onnx, .engine, OpenVINO folder")


def _machines(parser: Parser) -> None:
    parser.add_argument("--executor", default="local", metavar="NAME", help="local, slurm or ray (local)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (one a core)")
    parser.add_argument("--devices", default="auto", metavar="LIST", help="auto, cpu, or cuda:0,cuda:1 ... (auto)")


def _given_recipe(args: argparse.Namespace) -> "Recipe | None":
    """The recipe the command line names; None where the one in use holds."""
    from multiexpr.recipe import load_recipe

    people_model = getattr(args, "people_model", None)
    settings = [*args.settings, *([f"score.people.model={people_model}"] if people_model else [])]
    if not args.recipe and not settings:
        return None
    in_use = getattr(args, "out", None) and args.out / "recipe.toml"
    return load_recipe(args.recipe or (in_use if in_use and in_use.exists() else None), settings)


def _given_machines(args: argparse.Namespace) -> "ExecutionConfig":
    from multiexpr.execution.executors import ExecutionConfig

    devices = tuple(name.strip() for name in args.devices.split(",") if name.strip())
    return ExecutionConfig(executor=args.executor, workers=args.workers, devices=devices)


def _listing_options(args: argparse.Namespace) -> dict:
    from multiexpr.sources import SourceOptions
    from multiexpr.sources.tabular import parse_columns

    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit is {args.limit}; expected 1 or more")
    pairs = [pair.partition("=") for pair in args.path_map]
    if not all(equals for _, equals, _ in pairs):
        raise UserError("--path-map: expected OLD=NEW, such as clips/=")
    options = SourceOptions(
        columns=parse_columns(args.columns), path_map={o: n for o, _, n in pairs}, unlisted=args.unlisted
    )
    return {"kind": args.kind, "options": options, "limit": args.limit, "check_content": not args.no_content_check}


def _run_curate(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.reporting.funnel import funnel_lines

    funnel = multiexpr.curate(
        args.source, args.out, recipe=_given_recipe(args), execution=_given_machines(args), score_all=args.score_all,
        retry_errors=args.retry_errors, **_listing_options(args),
    )  # fmt: skip
    if funnel is None:
        return DONE
    print("\n".join(funnel_lines(funnel.as_dict())))
    print(f"report: {args.out / 'report.html'}")
    failed = sum(funnel.errors.values())
    allowed = args.max_failed is None or failed <= args.max_failed * max(funnel.num_clips, 1)
    return DONE if allowed else TOO_MANY_FAILED


def _index(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "index",
        "List a collection and cut long videos into shots; tell what of it does not fit together.",
        "  multiexpr index OpenVid-1M/ --out out/\n"
        "  multiexpr index OpenHumanVid/ --out out/ --path-map clips/= --columns path=video_name",
    )
    _source(parser)
    _recipes(parser)
    _machines(parser)
    parser.set_defaults(handler=_run_index)


def _run_index(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.index(
        args.source, args.out, recipe=_given_recipe(args), execution=_given_machines(args), **_listing_options(args)
    )
    return DONE


def _workspace(parser: Parser) -> None:
    parser.add_argument("out", type=Path, metavar="DIR", help="the folder a curation works in")


def _score(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "score",
        "Measure what is not measured yet.",
        "  multiexpr score out/\n  multiexpr score out/ --score-all --workers 4\n"
        "  srun --ntasks 64 multiexpr score out/ --executor slurm",
    )
    _workspace(parser)
    _scoring(parser)
    _recipes(parser)
    _machines(parser)
    parser.set_defaults(handler=_run_score)


def _run_score(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.score(
        args.out, recipe=_given_recipe(args), score_all=args.score_all, retry_errors=args.retry_errors,
        execution=_given_machines(args),
    )  # fmt: skip
    return DONE


def _select(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "select",
        "Judge every clip by a recipe; nothing is measured.",
        "  multiexpr select out/\n  multiexpr select out/ --set keep.motion.min_expression=2.0\n"
        "  multiexpr select out/ --target 30000 --write my.toml",
    )
    _workspace(parser)
    _recipes(parser)
    parser.add_argument("--target", type=int, metavar="N", help="propose thresholds that keep about N clips")
    parser.add_argument("--write", type=Path, metavar="FILE", help="with --target: write the proposed recipe")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (text)")
    parser.set_defaults(handler=_run_select)


def _run_select(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.reporting.funnel import funnel_lines

    recipe = _given_recipe(args)
    if args.target is not None:
        return _propose(args, recipe)
    funnel = multiexpr.select(args.out, recipe=recipe).as_dict()
    print(json.dumps(funnel, indent=2) if args.format == "json" else "\n".join(funnel_lines(funnel)))
    return DONE


def _propose(args: argparse.Namespace, recipe: "Recipe | None") -> int:
    from multiexpr.curation import target
    from multiexpr.recipe import save_recipe

    proposal = target(args.out, args.target, recipe=recipe)
    for key, (before, after) in proposal.changes.items():
        print(f"{key} = {after:g}  # was {before:g}")
    print(f"# keeps {proposal.num_kept:,} clips; of the kind wanted there are {proposal.num_reachable:,}")
    if proposal.num_unknown:
        print(f"# {proposal.num_unknown:,} more were dropped before all was measured: multiexpr score --score-all")
    if args.write:
        save_recipe(args.write, proposal.recipe)
    return DONE


def _caption(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "caption",
        "Caption kept clips: the collection's own text, an OpenAI-compatible endpoint, or CogVLM2.",
        "  multiexpr caption out/ --set caption.backend=openai --set caption.url=http://127.0.0.1:8000/v1 "
        "--set caption.model=NAME\n"
        "  multiexpr caption out/ --set caption.backend=cogvlm2 --set caption.model=/models/cogvlm2-llama3-caption",
    )
    _workspace(parser)
    _recipes(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="caption about N more clips: whole shards of them")
    parser.add_argument("--executor", default="local", metavar="NAME", help="local, or slurm: this rank's share")
    parser.set_defaults(handler=_run_caption)


def _run_caption(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.execution.executors import ExecutionConfig

    counts = multiexpr.caption(
        args.out, recipe=_given_recipe(args), limit=args.limit, execution=ExecutionConfig(executor=args.executor)
    )
    return TOO_MANY_FAILED if counts["errors"] else DONE


def _export(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "export",
        "Write the dataset of the kept clips: DIR/dataset.",
        '  multiexpr export out/\n  multiexpr export out/ --set \'export.formats=["folder", "webdataset"]\'',
    )
    _workspace(parser)
    _recipes(parser)
    _machines(parser)
    parser.set_defaults(handler=_run_export)


def _run_export(args: argparse.Namespace) -> int:
    import multiexpr

    count = multiexpr.export(args.out, recipe=_given_recipe(args), execution=_given_machines(args))
    print(f"{count:,} clips: {args.out / 'dataset'}")
    return DONE


def _report(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "report",
        "Write DIR/report.html: funnel, scores beside thresholds, examples, errors, throughput.",
        "  multiexpr report out/\n  multiexpr report out/ --recipe my.toml",
    )
    _workspace(parser)
    _recipes(parser)
    _machines(parser)
    parser.set_defaults(handler=_run_report)


def _run_report(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.report(args.out, recipe=_given_recipe(args), execution=_given_machines(args)))
    return DONE


def _why(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "why",
        "Every score and threshold of a clip, and the rule that dropped it.",
        "  multiexpr why out/ 3f2a91\n  multiexpr why out/ interviews/0001.mp4 --recipe my.toml",
    )
    _workspace(parser)
    parser.add_argument("clip", metavar="CLIP", help="its id, the beginning of it, or its path in the collection")
    _recipes(parser)
    parser.set_defaults(handler=_run_why)


def _run_why(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.why(args.out, args.clip, recipe=_given_recipe(args)))
    return DONE


def _recipe(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(verbs, "recipe", "Print the default recipe, every value explained.", "  multiexpr recipe > my.toml")
    parser.set_defaults(handler=_run_recipe)


def _run_recipe(args: argparse.Namespace) -> int:
    from multiexpr.recipe import DEFAULT

    print(DEFAULT.read_text(encoding="utf-8"), end="")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
