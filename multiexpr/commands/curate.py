"""The verb `curate`: all stages, here or as a Slurm job that it submits."""

import argparse

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE, TOO_MANY_FAILED, Parser
from exprbench.core.errors import UserError
from multiexpr.commands.options import (
    add_destination,
    add_execution,
    add_recipe,
    add_scoring,
    add_source,
    execution_config,
    exit_status,
    listing_options,
    load_recipe,
)


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `curate`."""
    parser = add_verb(
        verbs,
        "curate",
        "Index, score, select, caption, export and report, in this order; the same command resumes.",
        "  multiexpr curate videos/ --out out/\n"
        "  multiexpr curate OpenVid-1M/ --out out/ --recipe my.toml --workers 8\n"
        "  multiexpr curate videos/ --out out/ --people-model yolov8x.pt --set keep.people.max_people=4\n"
        "  multiexpr curate OpenHumanVid/ --out out/ --executor slurm --submit --tasks 64 --workers 16",
    )
    add_source(parser)
    add_scoring(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.add_argument(
        "--max-failed",
        type=float,
        metavar="SHARE",
        help="share of clips with errors, in [0, 1], above which the exit status is 3 (default: 1)",
    )
    add_destination(parser)
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


def _run_curate(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.curation import STAGES
    from multiexpr.reporting.funnel import funnel_lines

    if args.submit or args.dry_run:
        return _submit(args)
    funnel = multiexpr.curate(
        args.source,
        args.out,
        recipe=load_recipe(args),
        execution=execution_config(args),
        score_all=args.score_all,
        retry_errors=args.retry_errors,
        to=args.to,
        **listing_options(args),
    )
    if funnel is not None:
        print("\n".join(funnel_lines(funnel.as_dict())))
        print(f"report: {args.out / 'report.html'}")
        num_failed = sum(funnel.errors.values())
        if args.max_failed is not None and num_failed > args.max_failed * max(funnel.num_clips, 1):
            return TOO_MANY_FAILED
    return exit_status(args.out, *STAGES)


def _submit(args: argparse.Namespace) -> int:
    from exprbench.core.processes import num_cores
    from multiexpr import recipe, slurm_job
    from multiexpr.curation import list_videos
    from multiexpr.storage.workspace import Workspace

    if args.executor != "slurm":
        raise UserError("--submit and --dry-run submit to Slurm; add --executor slurm")
    if args.tasks < 1:
        raise UserError(f"--tasks is {args.tasks}; expected 1 or more")
    workspace, workers = Workspace(args.out), args.workers or num_cores()
    in_use = workspace.recipe if workspace.recipe.exists() else None
    list_videos(args.source, workspace, {**listing_options(args), "resume": True})
    sample = slurm_job.measure_sample(workspace, load_recipe(args) or recipe.load_recipe(in_use), workers=workers)
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
