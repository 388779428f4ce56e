"""Dataset card: sources, funnel, recipe, models and terms."""

import json
from typing import Any

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path, write_text
from multiexpr.models.detector import find_people_model
from multiexpr.recipe import Recipe, to_toml
from multiexpr.reporting.funnel import funnel_lines
from multiexpr.selection.verdicts import active_scorers
from multiexpr.storage.workspace import Workspace

LICENCES = {
    "openvid": "OpenVid-1M: CC-BY-4.0 for its annotations; its videos carry the terms of Panda-70M, ChronoMagic, "
    "CelebV-HQ, Open-Sora-Plan and Pexels",
    "openhumanvid": "OpenHumanVid: its own terms for research, agreed to when access was given",
    "hallo3": "Hallo3 training data: its own terms; the sources of its videos are not labelled",
}
HEAD = """\
---
pretty_name: {name}
tags: [video, portrait animation, facial expression, multiple people]
task_categories: [image-to-video]
configs:
  - config_name: default
    data_files: metadata.parquet
---

# {name}

{count} clips of people whose faces move expressively, curated from `{kind}` by `multiexpr`, after section 4.1 of
"FantasyPortrait".

```python
import pandas
clips = pandas.read_parquet("metadata.parquet")             # one row a clip: file_name, caption, scores, origin

from datasets import load_dataset
clips = load_dataset("videofolder", data_dir=".")           # the same, with the videos
```

The folder of `clips/ab/ID.mp4` also holds `ID.tracks.npz` (the faces of the people who count, frame by frame;
`exprbench.faces.load_tracks`) and `ID.masks.npz` (where each face is, on the grid of the video encoder). People are in
order from left to right.
"""


def write_card(workspace: Workspace, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
    """Write `dataset/README.md`."""
    kind = workspace.collection()["kind"]
    parts = [
        HEAD.format(name="Multi-Expr clips", count=f"{len(rows):,}", kind=kind),
        "## How clips were chosen\n\n```\n" + "\n".join(_funnel(workspace)) + "\n```",
        "The recipe:\n\n```toml\n" + to_toml(recipe).strip() + "\n```",
        "## Models\n\n" + "\n".join(_models(workspace, recipe)),
        "## Terms\n\n" + "\n".join(_terms(kind)),
    ]
    write_text(workspace.dataset / "README.md", "\n\n".join(part.strip() for part in parts) + "\n")


def _funnel(workspace: Workspace) -> list[str]:
    path = workspace.root / "funnel.json"
    return funnel_lines(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _models(workspace: Workspace, recipe: Recipe) -> list[str]:
    lines = ["| used for | model | sha256 | licence |", "|---|---|---|---|"]
    used = active_scorers(workspace, recipe)
    lines.append(f"| people | {_people_model(recipe)} | AGPL-3.0 (Ultralytics YOLO, model and code) |")
    lines.append(_model_row("faces", "face_landmarker"))
    if "laion" in used:
        lines.append(_model_row("aesthetics", "laion_aesthetic"))
        lines.append(f"| aesthetics | {recipe.score.aesthetics.clip} | | MIT (OpenAI CLIP) |")
    if recipe.caption.backend in ("openai", "cogvlm2"):
        name = recipe.caption.model or "cogvlm2-llama3-caption"
        lines.append(f"| captions | {name} | | see the model's own terms |")
    return lines


def _people_model(recipe: Recipe) -> str:
    try:
        path = find_people_model(recipe.score.people.model)
    except UserError:
        return f"{recipe.score.people.model} | not on this machine"
    return f"{path.name} | {sha256_path(path)}"


def _model_row(use: str, name: str) -> str:
    model = weights.get(name)
    return f"| {use} | {model.filename} | {model.sha256} | {model.licence} |"


def _terms(kind: str) -> list[str]:
    return [
        f"- The videos keep the terms of their source. {LICENCES.get(kind, 'See where they were collected.')}",
        "- They show people who were not asked. Whoever publishes or trains on them answers for the law that holds.",
        "- Clips were chosen with Ultralytics YOLO, which is AGPL-3.0: whoever offers the choosing as a service, or a "
        "program made with it, has to offer the source too, or needs Ultralytics' licence. Scores are not code.",
    ]
