"""Lists of training videos: a dataset exported by `multiexpr`, a Hallo3 folder, or a plain list."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.media import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """One video with its caption, of a named source; `name` is unique within the source."""

    source: str
    name: str
    path: Path
    caption: str = ""


def parse_source(text: str) -> tuple[str, Path]:
    """Parse `NAME=PATH`; without a name, that of the folder or file is used."""
    name, sep, path = text.partition("=")
    return (name, Path(path)) if sep else (Path(text).stem, Path(text))


def list_clips(source: str, path: Path) -> list[ClipFile]:
    """Return the videos of a source, sorted by name.

    Three kinds are recognised: a folder with `metadata.parquet` (exported by `multiexpr`), a folder with `videos/` and
    perhaps `caption/` (Hallo3), and a list: `.txt` with a path per line, `.csv` or `.jsonl` with `path` and perhaps
    `caption`. Paths are relative to the list.

    Raises:
        UserError: the path is none of them, or lists no videos.
    """
    if (path / "metadata.parquet").is_file():
        clips = _read_exported(source, path)
    elif (path / "videos").is_dir():
        clips = _read_hallo3(source, path)
    elif path.is_file() and path.suffix in (".txt", ".csv", ".jsonl"):
        clips = _read_list(source, path)
    else:
        raise UserError(
            f"{path} is not a source of clips; expected a dataset of multiexpr, a folder with videos/, or a .txt, .csv "
            "or .jsonl list"
        )
    if not clips:
        raise UserError(f"{path} lists no videos")
    if len({clip.name for clip in clips}) != len(clips):
        raise UserError(f"{path} lists a video twice; expected each once")
    return sorted(clips, key=lambda clip: clip.name)


def _read_exported(source: str, path: Path) -> list[ClipFile]:
    import pandas as pd

    table = pd.read_parquet(path / "metadata.parquet", columns=["file_name", "clip_id", "caption"]).fillna("")
    return [
        ClipFile(source=source, name=row.clip_id, path=path / row.file_name, caption=row.caption)
        for row in table.itertuples()
    ]


def _read_hallo3(source: str, path: Path) -> list[ClipFile]:
    videos = [video for video in (path / "videos").iterdir() if video.suffix.lower() in VIDEO_SUFFIXES]
    clips = []
    for video in videos:
        caption = path / "caption" / f"{video.stem}.txt"  # the published download has none
        text = caption.read_text(encoding="utf-8").strip() if caption.is_file() else ""
        clips.append(ClipFile(source=source, name=video.stem, path=video, caption=text))
    return clips


def _read_list(source: str, path: Path) -> list[ClipFile]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":
        rows = [{"path": line.strip()} for line in text.splitlines() if line.strip()]
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if any("path" not in row for row in rows):
        raise UserError(f"{path} has an entry without `path`; expected columns path and caption")
    return [
        ClipFile(source=source, name=row["path"], path=path.parent / row["path"], caption=row.get("caption") or "")
        for row in rows
    ]
