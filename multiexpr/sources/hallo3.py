"""Hallo3: `NAME/videos/0001.mp4` with `NAME/caption/0001.txt`; some releases have no captions."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.joining import SourceOptions, full_path


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
        captions = {path.stem: path for path in sorted((folder / "caption").glob("*.txt"))}
        for item in catalogue(root, videos.relative_to(root).as_posix()):
            if isinstance(item, Location):
                path = captions.pop(PurePosixPath(item.name).stem, None)
                caption = path.read_text(encoding="utf-8-sig", errors="replace").strip() if path else ""
                yield Entry(key=full_path(item), location=item, caption=caption)
            else:
                yield item
        for path in captions.values():
            yield Problem("row_without_file", path.relative_to(root).as_posix(), "a caption without a video")
