"""Plain folders of videos and archives of videos."""

from collections.abc import Iterator
from pathlib import Path

from multiexpr.sources.catalogue import catalogue, catalogue_files
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.joining import SourceOptions, full_path


def read_folder(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by its path; `NAME.txt` in the folder of `NAME.mp4` is its caption."""
    del options  # the layout has no tables with names to map
    folder = root.parent if root.is_file() else root
    for item in catalogue_files(folder, [root.name]) if root.is_file() else catalogue(folder):
        if isinstance(item, Location):
            yield Entry(key=full_path(item), location=item, caption="" if item.member else _caption(folder / item.path))
        else:
            yield item


def _caption(video: Path) -> str:
    path = video.with_suffix(".txt")
    return path.read_text(encoding="utf-8-sig", errors="replace").strip() if path.is_file() else ""
