"""The verbs that show a curation: `report` and `status`."""

import argparse

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE
from multiexpr.commands.options import add_execution, add_recipe, add_workspace, execution_config, load_recipe


def add_report(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `report`."""
    parser = add_verb(
        verbs,
        "report",
        "Write DIR/report.html: funnel, scores with thresholds, examples that play, errors, throughput; with "
        "--recipe or --set, also what these thresholds would change.",
        "  multiexpr report out/\n  multiexpr report out/ --set keep.motion.min_expression=2   compare, save nothing",
    )
    add_workspace(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.set_defaults(handler=_run_report)


def _run_report(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.report(args.out, recipe=load_recipe(args), execution=execution_config(args)))
    return DONE


def add_status(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `status`."""
    parser = add_verb(
        verbs,
        "status",
        "Print the shards of each stage that are done and in work, clips that failed, and the time left.",
        "  multiexpr status out/",
    )
    add_workspace(parser)
    parser.set_defaults(handler=_run_status)


def _run_status(args: argparse.Namespace) -> int:
    import multiexpr

    stages = multiexpr.status(args.out)
    print("\n".join(map(str, stages)))
    for stage in stages:
        for process, count in sorted(stage.running.items()):
            print(f"  {stage.stage}: {process} works on {count} shard{'s' * (count > 1)}")
    return DONE
