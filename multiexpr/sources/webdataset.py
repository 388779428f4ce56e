"""WebDataset: tars whose members `KEY.mp4`, `KEY.json` and `KEY.txt` make one sample."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from exprbench.media.video import Piece, open_bytes
from multiexpr.sources.catalogue import catalogue, tar_infos
from multiexpr.sources.entry import Entry, Problem
from multiexpr.sources.joining import SourceOptions, full_name
from multiexpr.sources.tabular import Row, caption_of, column, scores_of

SIDECARS = {".json", ".txt", ".caption"}
MAX_SIDECAR_BYTES = 1 << 24


def is_webdataset(root: Path) -> bool:
    """Do tars lie here?"""
    return any(root.glob("*.tar")) or any(root.glob("*/*.tar"))


def read_webdataset(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under the path of their tar and their key."""
    del options  # keys tell what belongs together
    sidecars: dict[str, dict[str, bytes]] = {}
    at = ""
    for item in catalogue(root):
        if isinstance(item, Problem) or item.packing != "tar":
            yield item if isinstance(item, Problem) else Entry(key=full_name(item), place=item)
            continue
        if item.path != at:
            at, sidecars = item.path, _sidecars(root / item.path)
        row, problem = _row(sidecars.get(_stem(item.member), {}), full_name(item))
        if problem:
            yield problem
        caption = caption_of(row)
        yield Entry(key=_stem(full_name(item)), place=item, caption=caption, scores=scores_of(row))


def _stem(name: str) -> str:
    """A sample's key: the member's path up to the first dot of its name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _sidecars(path: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with open_bytes([Piece(str(path), 0, path.stat().st_size)], 0) as file:
        for info in tar_infos(file):
            suffix = PurePosixPath(info.name).suffix.lower()
            if suffix in SIDECARS and info.size <= MAX_SIDECAR_BYTES:
                with path.open("rb") as data:
                    data.seek(info.offset_data)
                    found.setdefault(_stem(info.name), {})[suffix] = data.read(info.size)
    return found


def _row(sidecars: dict[str, bytes], name: str) -> tuple[Row, Problem | None]:
    text = (sidecars.get(".txt") or sidecars.get(".caption") or b"").decode("utf-8", "replace").strip()
    problem = None
    values: Any = {}
    try:
        values = json.loads(sidecars.get(".json") or b"{}")
    except ValueError as error:
        problem = Problem("unreadable", name, f"its sidecar is not JSON: {error}")
    row = {column(k): v for k, v in values.items()} if isinstance(values, dict) else {}
    return {**row, "caption": text} if text else row, problem
