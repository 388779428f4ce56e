"""Workspaces with synthetic scores, in the format of the score stage."""

import numpy as np
import pyarrow as pa

from exprbench.core.files import write_json
from multiexpr.indexing.listing import ENTRIES, list_collection
from multiexpr.indexing.stage import CLIPS, IndexStage, load_index
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe, Shots
from multiexpr.scorers import container, make_scorers
from multiexpr.storage.parquet import read_metadata, read_rows, shard_path, write_rows
from multiexpr.storage.score_files import STATE

ORDER = ["container", "people", "damage", "sharpness", "photomotion", "cuts", "motion"]
COLUMNS = {
    "container": container.COLUMNS,
    **{s.name: list(s.columns) for s in make_scorers(Recipe(), Models(Recipe()))},
}


def of_people(count, **changes):
    """Return the columns of faces of `count` people who pass every rule, with changes such as `px=[20.0, 200.0]`."""
    values = {
        "seen": 1.0,
        "px": 200.0,
        "effective_px": 100.0,
        "clipped": 0.0,
        "crushed": 0.0,
        "luma": 0.4,
        "expression": 2.0,
    }
    faces = {name: [value] * count for name, value in values.items()}
    return {f"face_{name}": value for name, value in {**faces, "speaking": [None] * count, **changes}.items()}


def good(**changes):
    """Return the columns by scorer of a clip that passes every rule, with changes."""
    values = {
        "container": {"width": 1280, "height": 720, "fps": 25.0, "num_frames": 125, "length_s": 5.0, "num_keyframes": 1,
                      "constant_rate": True, "codec": "h264", "pixel_format": "yuv420p", "container": "mov",
                      "rotation_deg": 0, "square_pixels": True, "has_audio": False},
        "people": {"people_counts": [2] * 5, "people_frame": [i for i in range(5) for _ in (0, 1)],
                   "people_box": [0.1, 0.1, 0.4, 0.9, 0.5, 0.1, 0.9, 0.9] * 5, "people_height": [0.8] * 10,
                   "people_confidence": [0.9] * 10},
        "damage": {"noise": 1.0, "grain": 0.0, "blockiness": 0.1, "posterisation": 0.4, "combing": 0.0, "halos": 0.0,
                   "enlargement": 1.0, "source_px": 720.0},
        "sharpness": {"effective_px": 300.0, "sharpness": 100.0, "luma": 0.4, "contrast": 0.8},
        "photomotion": {"photomotion": 7.0},
        "cuts": {"cut": 0.0, "jump": 0.0, "gradual": 0.0, "cut_times_s": []},
        "motion": {"face_seen": [1.0, 0.9], "face_px": [200.0, 150.0], "face_effective_px": [100.0, 80.0],
                   "face_clipped": [0.0, 0.1], "face_crushed": [0.0, 0.1], "face_luma": [0.4, 0.3],
                   "face_speaking": [None, None],
                   "face_expression": [2.5, 2.2], "face_moment_s": [0.5, 1.5],
                   "face_moment_box": [0.1, 0.2, 0.3, 0.5] * 2 + [0.6, 0.2, 0.8, 0.5] * 2},
    }  # fmt: skip
    for name, value in changes.items():
        scorer = next(s for s, columns in COLUMNS.items() if name in dict(columns))
        values[scorer][name] = value
    return values


def dropped_at(scorer, **changes):
    """Return the columns of a clip that is scored only up to a scorer, with changes."""
    values = good(**changes)
    return {name: values[name] for name in ORDER[: ORDER.index(scorer) + 1]}


def failed_at(scorer, code="decode_errors"):
    """Return the columns of a clip that fails in a scorer, with the error code in place of that scorer's columns."""
    values = good()
    return {**{name: values[name] for name in ORDER[: ORDER.index(scorer)]}, scorer: code}


def fill(workspace, shards, root="/nowhere"):
    """Write shards of clips: lists of columns by scorer, with an error code in place of columns for a failure."""
    write_json(workspace.source, {"root": str(root), "kind": "folder", "options": {}})
    for number, clips in enumerate(shards):
        ids = [f"{number:04d}{i:016d}" for i in range(len(clips))]
        rows = [{"clip_id": c, "source": "folder", "key": f"{c}.mp4", "path": f"{c}.mp4", "member": "", "parts": [],
                 "packing": "file", "stamp": "1:1", "start_s": 0.0, "caption": f"text of {c}", "source_scores": "",
                 "problem": ""} for c in ids]  # fmt: skip
        write_rows(shard_path(workspace.entries, number), rows, ENTRIES)
        write_rows(shard_path(workspace.index, number), rows, CLIPS, {"key": f"clips {number}"})
        for name in ORDER:
            values = [_row(c, clip.get(name)) for c, clip in zip(ids, clips, strict=True)]
            write_rows(shard_path(workspace.scores(name), number), values, pa.schema([*STATE, *COLUMNS[name]]))


def fill_collection(workspace, root, **listing):
    """Index the short videos of a real collection as whole clips, and write scores by which all are kept."""
    list_collection(root, workspace, **listing)
    stage = IndexStage(workspace, Shots())
    for shard in stage.shards():
        stage.finish(shard, {})
    clips = load_index(workspace)
    for name in ORDER:
        values = good(length_s=2.0)[name]
        rows = [{"clip_id": c["clip_id"], "stamp": c["stamp"], "state": "scored", **values} for c in clips]
        write_rows(shard_path(workspace.scores(name), 0), rows, pa.schema([*STATE, *COLUMNS[name]]))


def _row(clip_id, values):
    head = {"clip_id": clip_id, "stamp": "1:1", "state": "", "error": "", "detail": ""}
    if isinstance(values, str):
        return {**head, "state": "error", "error": values, "detail": "synthetic"}
    return {**head, "state": "scored", **values} if values else head


def change_index(workspace, shard, change):
    """Write a shard of the index with `change(rows)` in place of its rows."""
    path = shard_path(workspace.index, shard)
    write_rows(path, change(read_rows(path)), CLIPS, read_metadata(path))


def random_clips(count, seed=0):
    """Return clips with random scores, of which some pass and some fail each rule."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        faces = rng.integers(1, 5)
        clips.append(good(
            length_s=float(rng.uniform(1, 35)), effective_px=float(rng.exponential(320)), luma=float(rng.uniform(0, 1)),
            photomotion=float(rng.uniform(2, 9)), cut=float(rng.exponential(8)),
            people_confidence=rng.uniform(0.3, 1, 10).tolist(), face_seen=rng.uniform(0.5, 1, faces).tolist(),
            face_px=rng.uniform(30, 300, faces).tolist(), face_effective_px=rng.exponential(100, faces).tolist(),
            face_expression=rng.exponential(2, faces).tolist(),
            face_clipped=rng.uniform(0, 0.5, faces).tolist(), face_crushed=rng.uniform(0, 0.3, faces).tolist(),
            face_speaking=[None] * int(faces), face_luma=rng.uniform(0.05, 0.9, faces).tolist(),
        ))  # fmt: skip
    return clips
