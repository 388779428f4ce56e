"""WebDataset: tars whose members `KEY.mp4`, `KEY.json` and `KEY.txt` form one sample."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from exprbench.media.video import Piece, open_bytes
from multiexpr.sources.catalogue import catalogue, tar_infos
from multiexpr.sources.entry import Entry, Problem
from multiexpr.sources.joining import SourceOptions, full_path
from multiexpr.sources.tabular import Row, normalize_name, parse_scores, pop_caption

SIDECARS = {".json", ".txt", ".caption"}
MAX_SIDECAR_BYTES = 1 << 24


def is_webdataset(root: Path) -> bool:
    """Return whether there are tars in a folder or in its subfolders, one level deep."""
    return any(root.glob("*.tar")) or any(root.glob("*/*.tar"))


def read_webdataset(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by the path of its tar and its key in it."""
    del options  # samples are joined by key
    sidecars: dict[str, dict[str, bytes]] = {}
    current_tar = ""
    for item in catalogue(root):
        if isinstance(item, Problem) or item.packing != "tar":
            yield item if isinstance(item, Problem) else Entry(key=full_path(item), location=item)
            continue
        if item.path != current_tar:
            current_tar, sidecars = item.path, _read_sidecars(root / item.path)
        row, problem = _row(sidecars.get(_stem(item.member), {}), full_path(item))
        if problem:
            yield problem
        caption = pop_caption(row)
        yield Entry(key=_stem(full_path(item)), location=item, caption=caption, scores=parse_scores(row))


def _stem(name: str) -> str:
    """Return the key of a sample: the path of a member up to the first dot of its name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _read_sidecars(path: Path) -> dict[str, dict[str, bytes]]:
    """Return the sidecar files of a tar by key and suffix."""
    sidecars: dict[str, dict[str, bytes]] = {}
    with open_bytes([Piece(str(path), 0, path.stat().st_size)], 0) as file:
        for info in tar_infos(file):
            suffix = PurePosixPath(info.name).suffix.lower()
            if suffix in SIDECARS and info.size <= MAX_SIDECAR_BYTES:
                with path.open("rb") as data:
                    data.seek(info.offset_data)
                    sidecars.setdefault(_stem(info.name), {})[suffix] = data.read(info.size)
    return sidecars


def _row(sidecars: dict[str, bytes], name: str) -> tuple[Row, Problem | None]:
    text = (sidecars.get(".txt") or sidecars.get(".caption") or b"").decode("utf-8", "replace").strip()
    problem = None
    values: Any = {}
    try:
        values = json.loads(sidecars.get(".json") or b"{}")
    except ValueError as error:
        problem = Problem("unreadable", name, f"its sidecar is not JSON: {error}")
    row = {normalize_name(k): v for k, v in values.items()} if isinstance(values, dict) else {}
    return {**row, "caption": text} if text else row, problem
