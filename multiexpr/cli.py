"""The command `multiexpr`: parses arguments and calls one public function per verb."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exprbench.core.cli_base import DONE, TOO_MANY_FAILED, Parser, run
from exprbench.core.errors import UserError

if TYPE_CHECKING:
    from multiexpr.execution.executors import ExecutionConfig
    from multiexpr.recipe import Recipe

EXAMPLES = """\
  multiexpr curate videos/ --out out/                         build a dataset and a report from a folder of videos
  multiexpr curate OpenVid-1M/ --out out/ --limit 100         curate the next 100 videos of a large collection
  multiexpr select out/ --set keep.motion.min_expression=2    try other thresholds in seconds, without measuring again
  multiexpr select out/ --target 30000                        propose thresholds that keep 30000 clips
  multiexpr why out/ 3f2a                                     explain the verdict on a clip
  multiexpr recipe > my.toml                                  write the default recipe, with every value explained"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `multiexpr --help`."""
    import exprbench

    description = "Curate video collections into datasets of clips with expressive faces."
    parser = Parser(prog="multiexpr", description=description, examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_curate, _index, _score, _select, _caption, _export, _report, _why, _status, _recipe):
        add(verbs)
    parser.set_defaults(argv=list(sys.argv[1:] if argv is None else argv))
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
        "  multiexpr curate OpenHumanVid/ --out out/ --executor slurm --submit --tasks 64 --workers 16",
    )
    _add_source(parser)
    _add_scoring(parser)
    _add_recipe(parser)
    _add_execution(parser)
    parser.add_argument(
        "--max-failed",
        type=float,
        metavar="SHARE",
        help="share of clips with errors, in [0, 1], above which the exit status is 3 (default: 1)",
    )
    _add_destination(parser)
    _add_submission(parser)
    parser.set_defaults(handler=_run_curate)


def _add_submission(parser: Parser) -> None:
    parser.add_argument(
        "--submit",
        action="store_true",
        help="with --executor slurm: curate a sample here to measure time and memory, then submit an array of tasks",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with --submit: print the script for sbatch and submit nothing"
    )
    parser.add_argument("--tasks", type=int, default=8, metavar="N", help="number of tasks of --submit (default: 8)")
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="option of sbatch for --submit, such as --sbatch=--partition=cpu; repeatable",
    )


def _add_source(parser: Parser) -> None:
    parser.add_argument(
        "source",
        type=_place,
        metavar="SOURCE",
        help="collection: a folder, one video, or a URL such as s3://bucket/videos",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the curation, on a local or shared disk"
    )
    kinds = "openvid, openhumanvid, hallo3, multiexpr, webdataset or folder"
    parser.add_argument("--kind", default="auto", help=f"kind of collection: {kinds} (default: detected)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="maximum number of videos to add to the index (default: all)"
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="OURS=THEIRS,...",
        help="names of the columns `path` and `caption` in the collection's tables, such as "
        "path=video_name,caption=text (default: the usual ones of its kind)",
    )
    parser.add_argument(
        "--path-map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="prefix of paths in tables and its replacement on disk, such as clips/=; repeatable",
    )
    parser.add_argument("--unlisted", action="store_true", help="include files that no table names")
    parser.add_argument("--no-content-check", action="store_true", help="skip the search for files with equal content")


def _place(text: str) -> "Path | str":
    from multiexpr.sources.remote import is_url

    return text if is_url(text) else Path(text)


def _add_destination(parser: Parser) -> None:
    parser.add_argument(
        "--to", metavar="URL", help="folder on object storage that gets a copy of the dataset, such as s3://bucket/name"
    )


def _add_scoring(parser: Parser) -> None:
    parser.add_argument(
        "--score-all", action="store_true", help="run every scorer on every clip, even after a rule drops it"
    )
    parser.add_argument("--retry-errors", action="store_true", help="score clips with errors again")


def _add_recipe(parser: Parser) -> None:
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="recipe in TOML (default: DIR/recipe.toml, else the one that `multiexpr recipe` prints)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="value of the recipe to change, such as keep.people.min_share=0.6; repeatable",
    )
    parser.add_argument(
        "--people-model",
        metavar="FILE",
        help="YOLO detector of people: .pt, .onnx, .engine or OpenVINO folder (default: yolov8n)",
    )
    parser.add_argument(
        "--trust", action="store_true", help="load a .pt file that is not a published one; it can run code"
    )


def _add_execution(parser: Parser) -> None:
    parser.add_argument("--executor", default="local", metavar="NAME", help="local, slurm or ray (default: local)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="number of processes (default: all cores)")
    parser.add_argument(
        "--devices",
        default="auto",
        metavar="LIST",
        help="devices of the networks: auto, cpu, or a list such as cuda:0,cuda:1 (default: auto)",
    )
    parser.add_argument(
        "--decoder", default="software", metavar="NAME", help="video decoder: software or nvdec (default: software)"
    )


def _load_recipe(args: argparse.Namespace) -> "Recipe | None":
    """Return the recipe of the command line; None if no option changes the recipe in use."""
    from exprbench.weights import TRUST
    from multiexpr.recipe import load_recipe

    if getattr(args, "trust", False):
        os.environ[TRUST] = "1"  # inherited by the workers
    people_model = getattr(args, "people_model", None)
    settings = [*args.settings, *([f"score.people.model={people_model}"] if people_model else [])]
    if not args.recipe and not settings:
        return None
    in_use = getattr(args, "out", None) and args.out / "recipe.toml"
    return load_recipe(args.recipe or (in_use if in_use and in_use.exists() else None), settings)


def _execution_config(args: argparse.Namespace) -> "ExecutionConfig":
    from multiexpr.execution.executors import ExecutionConfig

    devices = tuple(name.strip() for name in args.devices.split(",") if name.strip())
    return ExecutionConfig(executor=args.executor, workers=args.workers, devices=devices, decoder=args.decoder)


def _listing_options(args: argparse.Namespace) -> dict:
    from multiexpr.sources import SourceOptions
    from multiexpr.sources.tabular import parse_columns

    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit is {args.limit}; expected 1 or more")
    pairs = [pair.partition("=") for pair in args.path_map]
    if not all(equals for _, equals, _ in pairs):
        raise UserError(f"--path-map is {' '.join(args.path_map)!r}; expected OLD=NEW, such as clips/=")
    options = SourceOptions(
        columns=parse_columns(args.columns), path_map={o: n for o, _, n in pairs}, unlisted=args.unlisted
    )
    return {"kind": args.kind, "options": options, "limit": args.limit, "check_content": not args.no_content_check}


def _run_curate(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.reporting.funnel import funnel_lines

    if args.submit or args.dry_run:
        return _submit(args)
    funnel = multiexpr.curate(
        args.source,
        args.out,
        recipe=_load_recipe(args),
        execution=_execution_config(args),
        score_all=args.score_all,
        retry_errors=args.retry_errors,
        to=args.to,
        **_listing_options(args),
    )
    if funnel is not None:
        print("\n".join(funnel_lines(funnel.as_dict())))
        print(f"report: {args.out / 'report.html'}")
        num_failed = sum(funnel.errors.values())
        if args.max_failed is not None and num_failed > args.max_failed * max(funnel.num_clips, 1):
            return TOO_MANY_FAILED
    return _exit_status(args.out)


def _submit(args: argparse.Namespace) -> int:
    from exprbench.core.processes import num_cores
    from multiexpr import slurm_job
    from multiexpr.curation import list_videos
    from multiexpr.recipe import load_recipe
    from multiexpr.storage.workspace import Workspace

    if args.executor != "slurm":
        raise UserError("--submit and --dry-run submit to Slurm; add --executor slurm")
    if args.tasks < 1:
        raise UserError(f"--tasks is {args.tasks}; expected 1 or more")
    workspace, workers = Workspace(args.out), args.workers or num_cores()
    recipe = _load_recipe(args) or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    list_videos(args.source, workspace, {**_listing_options(args), "resume": True})
    sample = slurm_job.measure_sample(workspace, recipe, workers=workers)
    job = slurm_job.SlurmJob(
        tasks=args.tasks,
        workers=workers,
        command=slurm_job.task_command(args.argv, workers),
        sbatch=args.sbatch,
    )
    script = slurm_job.format_script(sample, job, workspace.root.resolve() / "slurm")
    if args.dry_run:
        print(script, end="")
    else:
        print(f"job {slurm_job.submit(script, workspace)}; follow it with: multiexpr status {args.out}")
    return DONE


def _exit_status(out: Path, *stages: str) -> int:
    """Print what stages left undone, and return 3 if there is anything, else 0."""
    import multiexpr
    from exprbench.core.progress import say

    lines = multiexpr.unfinished(out, stages=stages or ("score", "caption", "export"))
    for line in lines:
        say(line)
    return TOO_MANY_FAILED if lines else DONE


def _index(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "index",
        "List a collection, cut long videos into shots, and report files and table rows that do not match.",
        "  multiexpr index OpenVid-1M/ --out out/\n"
        "  multiexpr index OpenHumanVid/ --out out/ --path-map clips/= --columns path=video_name",
    )
    _add_source(parser)
    _add_recipe(parser)
    _add_execution(parser)
    parser.set_defaults(handler=_run_index)


def _run_index(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.index(
        args.source, args.out, recipe=_load_recipe(args), execution=_execution_config(args), **_listing_options(args)
    )
    return DONE


def _add_workspace(parser: Parser) -> None:
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the curation")


def _score(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "score",
        "Run the scorers on all clips that are not scored yet.",
        "  multiexpr score out/\n  multiexpr score out/ --score-all --workers 4\n"
        "  srun --ntasks 64 multiexpr score out/ --executor slurm",
    )
    _add_workspace(parser)
    _add_scoring(parser)
    _add_recipe(parser)
    _add_execution(parser)
    parser.set_defaults(handler=_run_score)


def _run_score(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.score(
        args.out,
        recipe=_load_recipe(args),
        score_all=args.score_all,
        retry_errors=args.retry_errors,
        execution=_execution_config(args),
    )
    return _exit_status(args.out, "score")


def _select(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "select",
        "Apply a recipe to the stored scores and decide which clips are kept; measures nothing.",
        "  multiexpr select out/ --set keep.motion.min_expression=2.0          show what would be kept\n"
        "  multiexpr select out/ --set keep.motion.min_expression=2.0 --save   decide, and keep the setting\n"
        "  multiexpr select out/ --target 30000 --write my.toml",
    )
    _add_workspace(parser)
    _add_recipe(parser)
    parser.add_argument(
        "--target",
        type=int,
        metavar="N",
        help="number of clips to keep: print thresholds that keep about N, decide nothing",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="file for the recipe that --target proposes")
    parser.add_argument(
        "--save",
        action="store_true",
        help="write the verdicts and the settings of --recipe and --set (default: only show what would be kept)",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="output format (default: text)")
    parser.set_defaults(handler=_run_select)


def _run_select(args: argparse.Namespace) -> int:
    import multiexpr
    from exprbench.core.progress import say
    from multiexpr.reporting.funnel import funnel_lines

    recipe = _load_recipe(args)
    if args.target is not None:
        return _propose(args, recipe)
    save = args.save or recipe is None
    funnel = multiexpr.select(args.out, recipe=recipe, save=save).as_dict()
    print(json.dumps(funnel, indent=2) if args.format == "json" else "\n".join(funnel_lines(funnel)))
    if not save:
        say("select: nothing was changed; decide with --save")
    return DONE


def _propose(args: argparse.Namespace, recipe: "Recipe | None") -> int:
    from multiexpr.curation import propose_thresholds
    from multiexpr.recipe import save_recipe

    proposal = propose_thresholds(args.out, args.target, recipe=recipe)
    for key, (before, after) in proposal.changes.items():
        print(f"{key} = {after:g}  # was {before:g}")
    print(f"# keeps {proposal.num_kept:,} of {proposal.num_reachable:,} clips that pass all other rules")
    if proposal.num_unknown:
        command = f"multiexpr score {args.out} --score-all"
        print(f"# clips that are not fully scored: {proposal.num_unknown:,}; score them with: {command}")
    if args.write:
        save_recipe(args.write, proposal.recipe)
    return DONE


def _caption(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "caption",
        "Caption kept clips: with the collection's own text, an OpenAI-compatible endpoint, or CogVLM2.",
        "  multiexpr caption out/ --set caption.backend=openai --set caption.url=http://127.0.0.1:8000/v1 "
        "--set caption.model=NAME\n"
        "  multiexpr caption out/ --set caption.backend=cogvlm2 --set caption.model=/models/cogvlm2-llama3-caption",
    )
    _add_workspace(parser)
    _add_recipe(parser)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="number of clips to caption, rounded up to whole shards (default: all)"
    )
    parser.add_argument("--executor", default="local", metavar="NAME", help="local, slurm or ray (default: local)")
    parser.set_defaults(handler=_run_caption)


def _run_caption(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.execution.executors import ExecutionConfig

    counts = multiexpr.caption(
        args.out, recipe=_load_recipe(args), limit=args.limit, execution=ExecutionConfig(executor=args.executor)
    )
    return TOO_MANY_FAILED if counts["errors"] else DONE


def _export(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "export",
        "Write the dataset of the kept clips to DIR/dataset.",
        '  multiexpr export out/\n  multiexpr export out/ --set \'export.formats=["folder", "webdataset"]\'',
    )
    _add_workspace(parser)
    _add_recipe(parser)
    _add_execution(parser)
    _add_destination(parser)
    parser.set_defaults(handler=_run_export)


def _run_export(args: argparse.Namespace) -> int:
    import multiexpr

    num_clips = multiexpr.export(args.out, recipe=_load_recipe(args), to=args.to, execution=_execution_config(args))
    print(f"{num_clips:,} clips: {args.to or args.out / 'dataset'}")
    return DONE


def _report(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "report",
        "Write DIR/report.html: funnel, scores with thresholds, examples that play, errors, throughput; with "
        "--recipe or --set, also what these thresholds would change.",
        "  multiexpr report out/\n  multiexpr report out/ --set keep.motion.min_expression=2   compare, save nothing",
    )
    _add_workspace(parser)
    _add_recipe(parser)
    _add_execution(parser)
    parser.set_defaults(handler=_run_report)


def _run_report(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.report(args.out, recipe=_load_recipe(args), execution=_execution_config(args)))
    return DONE


def _why(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "why",
        "Print all scores and thresholds of a clip, and the rule that dropped it.",
        "  multiexpr why out/ 3f2a91\n  multiexpr why out/ interviews/0001.mp4 --recipe my.toml",
    )
    _add_workspace(parser)
    parser.add_argument("clip", metavar="CLIP", help="clip id, its first digits, or the path of the video")
    _add_recipe(parser)
    parser.set_defaults(handler=_run_why)


def _run_why(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.why(args.out, args.clip, recipe=_load_recipe(args)))
    return DONE


def _status(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs,
        "status",
        "Print the shards of each stage that are done and in work, clips that failed, and the time left.",
        "  multiexpr status out/",
    )
    _add_workspace(parser)
    parser.set_defaults(handler=_run_status)


def _run_status(args: argparse.Namespace) -> int:
    import multiexpr

    stages = multiexpr.status(args.out)
    print("\n".join(map(str, stages)))
    for stage in stages:
        for process, count in sorted(stage.running.items()):
            print(f"  {stage.stage}: {process} works on {count} shard{'s' * (count > 1)}")
    return DONE


def _recipe(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
        verbs, "recipe", "Print the default recipe with an explanation of every value.", "  multiexpr recipe > my.toml"
    )
    parser.set_defaults(handler=_run_recipe)


def _run_recipe(args: argparse.Namespace) -> int:
    from multiexpr.recipe import DEFAULT_PATH

    print(DEFAULT_PATH.read_text(encoding="utf-8"), end="")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
