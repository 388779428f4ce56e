"""Figures of clips: moments in a grid that play the clip, with the verdict below; made by worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprbench.core.processes import num_cores
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.execution.worker import ClipWorker, clip_pool
from multiexpr.recipe import Recipe
from multiexpr.reporting.markup import Html, code, text
from multiexpr.reporting.numbers import clip_name
from multiexpr.reporting.previews import moments, moments_grid, preview_name, write_preview
from multiexpr.selection.explain import Explanation, explain
from multiexpr.sources.locate import video_source
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]


@dataclass(frozen=True)
class ClipFigure:
    """Figure of one clip.

    Attributes:
        explanation: verdict with the settings in use.
        after: verdict with the changed settings; None if the page compares none.
        moments: moments as a JPEG in base64; None if the clip cannot be read.
    """

    explanation: Explanation
    after: Explanation | None
    moments: str | None

    def markup(self, *, compared: bool = False) -> Html:
        """Return the figure; with `compared`, the caption gives the verdict before and after the change."""
        clip, people = self.explanation.clip, self.explanation.people
        name = clip_name(clip)
        picture = '<div class="none">no picture</div>'
        if self.moments:
            image = f'<img src="data:image/jpeg;base64,{self.moments}" alt="" decoding="async">'
            label = text(f"play {name}")
            picture = f'<a class="play" href="report/{preview_name(clip)}" aria-label="{label}">{image}</a>'
        lines: list[object] = [Html(f"{code(clip['clip_id'][:10])} {text(name)}")]
        if compared and self.after:
            lines += [f"in use: {self.explanation.summary}", f"changed: {self.after.summary}"]
        else:
            lines += [self.explanation.summary, *people]
        return Html(f"<figure>{picture}<figcaption>{'<br>'.join(map(text, lines))}</figcaption></figure>")


def make_figures(
    workspace: Workspace, recipe: Recipe, clips: Sequence[Row], *, changed: Recipe | None, execution: ExecutionConfig
) -> dict[str, ClipFigure]:
    """Return figures by clip id, write their videos, and remove the videos of earlier reports.

    Args:
        workspace: folder of the curation.
        recipe: settings in use.
        clips: rows of the index, with their shard.
        changed: settings to compare with those in use; None compares none.
        execution: only the number of workers is used.
    """
    by_id = {clip["clip_id"]: clip for clip in clips}
    explanations = {clip_id: explain(workspace, recipe, clip["shard"], clip) for clip_id, clip in by_id.items()}
    workspace.previews.mkdir(exist_ok=True)
    _remove_others(workspace.previews, {preview_name(clip) for clip in clips})
    requests = (
        (clip_id, {"task": pictures_task, "clip": clip, "moments": moments(explanations[clip_id]),
                   "preview": str(workspace.previews / preview_name(clip))})
        for clip_id, clip in by_id.items()
    )  # fmt: skip
    root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
    with clip_pool(root, recipe, num_workers=num_workers) as pool:
        grids = {clip_id: answer for clip_id, answer in pool.map(requests) if isinstance(answer, str)}
    return {
        clip_id: ClipFigure(
            explanation=explanations[clip_id],
            after=explain(workspace, changed, clip["shard"], clip) if changed else None,
            moments=grids.get(clip_id),
        )
        for clip_id, clip in by_id.items()
    }


def pictures_task(worker: ClipWorker, request: Row) -> str:
    """Write the video of a request's clip and return its moments in a grid, in a worker."""
    video = video_source(request["clip"], worker.root)
    write_preview(video, Path(request["preview"]))
    return moments_grid(video, request["moments"])


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*.mp4"):
        if path.name not in names:
            path.unlink()
