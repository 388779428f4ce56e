"""The verbs that read the collection: `index` and `score`."""

import argparse

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE
from multiexpr.commands.options import (
    add_execution,
    add_recipe,
    add_scoring,
    add_source,
    add_workspace,
    execution_config,
    exit_status,
    listing_options,
    load_recipe,
)


def add_index(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `index`."""
    parser = add_verb(
        verbs,
        "index",
        "List a collection, cut long videos into shots, and report files and table rows that do not match.",
        "  multiexpr index OpenVid-1M/ --out out/\n"
        "  multiexpr index OpenHumanVid/ --out out/ --path-map clips/= --columns path=video_name",
    )
    add_source(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.set_defaults(handler=_run_index)


def _run_index(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.index(
        args.source, args.out, recipe=load_recipe(args), execution=execution_config(args), **listing_options(args)
    )
    return DONE


def add_score(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `score`."""
    parser = add_verb(
        verbs,
        "score",
        "Run the scorers on all clips that are not scored yet.",
        "  multiexpr score out/\n  multiexpr score out/ --score-all --workers 4\n"
        "  srun --ntasks 64 multiexpr score out/ --executor slurm",
    )
    add_workspace(parser)
    add_scoring(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.set_defaults(handler=_run_score)


def _run_score(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.score(
        args.out,
        recipe=load_recipe(args),
        score_all=args.score_all,
        retry_errors=args.retry_errors,
        execution=execution_config(args),
    )
    return exit_status(args.out, "score")
