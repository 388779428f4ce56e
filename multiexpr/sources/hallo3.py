"""Hallo3: `NAME/videos/0001.mp4` beside `NAME/caption/0001.txt`; captions are missing from some releases."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.joining import SourceOptions, full_name


def is_hallo3(root: Path) -> bool:
    """Is there a folder `videos` with a folder `caption` beside it?"""
    return any((videos.parent / "caption").is_dir() for videos in _video_folders(root))


def _video_folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / "videos", *root.glob("*/videos")) if path.is_dir())


def read_hallo3(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under their paths; captions without a video are rows without a file."""
    del options  # there are no tables that could name anything otherwise
    for videos in _video_folders(root):
        folder = videos.parent
        captions = {path.stem: path for path in sorted((folder / "caption").glob("*.txt"))}
        for item in catalogue(root, videos.relative_to(root).as_posix()):
            if isinstance(item, Place):
                path = captions.pop(PurePosixPath(item.name).stem, None)
                caption = path.read_text(encoding="utf-8-sig", errors="replace").strip() if path else ""
                yield Entry(key=full_name(item), place=item, caption=caption)
            else:
                yield item
        for path in captions.values():
            yield Problem("row_without_file", path.relative_to(root).as_posix(), "a caption without a video")
