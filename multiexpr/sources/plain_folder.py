"""Plain folders of videos and archives of videos."""

from collections.abc import Iterator
from pathlib import Path

from multiexpr.sources.catalogue import catalogue, catalogue_file
from multiexpr.sources.entry import Entry, Problem
from multiexpr.sources.joining import SourceOptions, full_path
from multiexpr.sources.tabular import read_caption


def read_folder(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by its path; `NAME.txt` in the folder of `NAME.mp4` is its caption."""
    del options  # the layout has no tables with names to map
    folder = root.parent if root.is_file() else root
    for item in catalogue_file(folder, root.name, {}) if root.is_file() else catalogue(folder):
        if isinstance(item, Problem):
            yield item
            continue
        caption = "" if item.member else read_caption((folder / item.path).with_suffix(".txt"))
        if isinstance(caption, Problem):
            yield caption
        yield Entry(key=full_path(item), location=item, caption="" if isinstance(caption, Problem) else caption)
