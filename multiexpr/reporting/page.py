"""HTML page of the report: funnel, changed thresholds, scores, examples, errors, throughput."""

from pathlib import Path

from exprbench.core.files import write_text
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.reporting import sections
from multiexpr.reporting.changes import compare
from multiexpr.reporting.clip_figures import make_figures
from multiexpr.reporting.markup import page
from multiexpr.reporting.numbers import examples, failures, histograms, mismatch_counts, time_spent
from multiexpr.selection import verdicts
from multiexpr.selection.verdicts import active_scorers
from multiexpr.storage.workspace import Workspace


def report(out: Path | str, *, recipe: Recipe | None = None, execution: ExecutionConfig | None = None) -> Path:
    """Write `report.html`, and the videos that it plays in the folder `report`; return the path of the page.

    Args:
        out: folder of the curation, with an index.
        recipe: if its thresholds differ from those in use, the page shows what they would change; the settings in use
            and the verdicts stay. None uses `out/recipe.toml`.
        execution: only the number of workers is used, for the pictures.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    in_use = load_recipe(workspace.recipe) if workspace.recipe.exists() else recipe or load_recipe()
    changed = recipe if recipe and recipe.keep != in_use.keep else None
    funnel = verdicts.select(workspace, in_use).as_dict()
    changes = compare(workspace, in_use, changed) if changed else None
    plots, num_drawn = histograms(workspace, in_use)
    groups = examples(workspace)
    clips = [clip for group in groups.values() for clip in group]
    clips += [*changes.entering, *changes.leaving] if changes else []
    figures = make_figures(workspace, in_use, clips, changed=changed, execution=execution or ExecutionConfig())
    html = page(
        "Curation report",
        sections.numbers(funnel, workspace.collection()["kind"]),
        sections.funnel(funnel, active_scorers(workspace, in_use)),
        sections.changes(changes, figures, workspace.root) if changes else "",
        sections.plots(plots, num_drawn, funnel["clips"]),
        sections.examples(groups, figures),
        sections.errors(funnel, failures(workspace)),
        sections.mismatches(mismatch_counts(workspace.mismatches)),
        sections.times(time_spent(workspace)),
    )
    write_text(workspace.report, html)
    return workspace.report
