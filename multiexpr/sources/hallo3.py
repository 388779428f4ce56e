"""Hallo3: `NAME/videos/0001.mp4` with `NAME/caption/0001.txt`; some releases have no captions."""

from collections.abc import Iterator
from pathlib import Path

from exprbench.core.text import printable
from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Problem
from multiexpr.sources.joining import SourceOptions, full_path
from multiexpr.sources.tabular import read_caption


def is_hallo3(root: Path) -> bool:
    """Return whether there is a folder `videos` with a folder `caption` next to it."""
    return any((videos.parent / "caption").is_dir() for videos in _video_folders(root))


def _video_folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "videos", *root.glob("*/videos")) if path.is_dir())


def read_hallo3(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by its path; a caption without a video is a row without a file."""
    del options  # the layout has no tables with names to map
    for videos in _video_folders(root):
        folder = videos.parent
        captions = {
            _name(path, folder / "caption"): path for path in sorted((folder / "caption").rglob("*.[tT][xX][tT]"))
        }
        for item in catalogue(root, videos.relative_to(root).as_posix()):
            if isinstance(item, Problem):
                yield item
                continue
            path = captions.pop(_name(Path(item.member or root / item.path), videos), None)
            caption = read_caption(path) if path else ""
            if isinstance(caption, Problem):
                yield caption
            yield Entry(key=full_path(item), location=item, caption="" if isinstance(caption, Problem) else caption)
        for path in captions.values():
            yield Problem("row_without_file", printable(path.relative_to(root).as_posix()), "a caption without a video")


def _name(path: Path, folder: Path) -> str:
    """Return the path of a video or caption in a folder, without suffix; its name if it is in an archive."""
    path = path.with_suffix("")
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
