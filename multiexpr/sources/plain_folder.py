"""Any folder of videos, archives of videos among them."""

from collections.abc import Iterator
from pathlib import Path

from multiexpr.sources.catalogue import among, catalogue
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.joining import SourceOptions, full_name


def read_folder(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under their paths; a text file beside a video, of the same name, is its caption."""
    del options  # there are no tables
    folder = root.parent if root.is_file() else root
    for item in among(folder, [root.name]) if root.is_file() else catalogue(folder):
        if isinstance(item, Place):
            yield Entry(key=full_name(item), place=item, caption="" if item.member else _caption(folder / item.path))
        else:
            yield item


def _caption(video: Path) -> str:
    path = video.with_suffix(".txt")
    return path.read_text(encoding="utf-8-sig", errors="replace").strip() if path.is_file() else ""
