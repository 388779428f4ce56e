"""WebDataset: tars whose members `KEY.mp4`, `KEY.json` and `KEY.txt` form one sample."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exprbench.core.text import guess_encoding
from exprbench.media.video import Piece, open_bytes
from multiexpr.sources.catalogue import catalogue, files_with_suffix, tar_infos
from multiexpr.sources.entry import Entry, Problem
from multiexpr.sources.joining import SourceOptions, full_path
from multiexpr.sources.tabular import Row, normalize_name, parse_json, parse_scores, pop_caption

SIDECARS = {".json", ".txt", ".caption"}
MAX_SIDECAR_BYTES = 1 << 24

Sidecars = dict[str, bytes | None]  # contents by extension; None if a file is too large


def is_webdataset(root: Path) -> bool:
    """Return whether there are tars in a folder or in its subfolders, one level deep."""
    return any(files_with_suffix(folder, ".tar") for folder in (root, *root.glob("*/")))


def read_webdataset(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by the path of its tar and its key in it."""
    del options  # samples are joined by key
    sidecars: dict[str, Sidecars] = {}
    current_tar = ""
    for item in catalogue(root):
        if isinstance(item, Problem) or item.packing != "tar":
            yield item if isinstance(item, Problem) else Entry(key=full_path(item), location=item)
            continue
        if item.path != current_tar:
            current_tar, sidecars = item.path, _read_sidecars(root / item.path)
        row, problem = _row(_sidecars_of(sidecars.get(_stem(item.member), {}), item.member), full_path(item))
        if problem:
            yield problem
        caption = pop_caption(row)
        yield Entry(key=_stem(full_path(item)), location=item, caption=caption, scores=parse_scores(row))


def _stem(name: str) -> str:
    """Return the key of a sample: the path of a member up to the first dot of its name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _extension(name: str) -> str:
    """Return the rest of a member's name after its first dot, in lower case."""
    return PurePosixPath(name).name.partition(".")[2].lower()


def _read_sidecars(path: Path) -> dict[str, Sidecars]:
    """Return the sidecar files of a tar by key and extension; of a damaged tar, those before the damage."""
    sidecars: dict[str, Sidecars] = {}
    with open_bytes([Piece(str(path), 0, path.stat().st_size)], 0) as file, path.open("rb") as data:
        try:
            for info in tar_infos(file):
                if PurePosixPath(info.name).suffix.lower() in SIDECARS:
                    data.seek(info.offset_data)
                    content = data.read(info.size) if info.size <= MAX_SIDECAR_BYTES else None
                    sidecars.setdefault(_stem(info.name), {})[_extension(info.name)] = content
        except Exception:  # `catalogue` lists the damage
            return sidecars
    return sidecars


def _sidecars_of(sample: Sidecars, name: str) -> Sidecars:
    """Return the sidecars of a video in a sample, by suffix.

    In a sample of several videos, such as `KEY.left.mp4` and `KEY.right.mp4`, `KEY.left.txt` belongs to the first one,
    and `KEY.txt` to both.
    """
    middle = _extension(name).rpartition(".")[0]
    own = {suffix: sample[f"{middle}{suffix}"] for suffix in SIDECARS if middle and f"{middle}{suffix}" in sample}
    return {**{suffix: sample[suffix[1:]] for suffix in SIDECARS if suffix[1:] in sample}, **own}


def _row(sidecars: Sidecars, name: str) -> tuple[Row, Problem | None]:
    if None in sidecars.values():
        return {}, Problem("unreadable", name, f"a sidecar has more than {MAX_SIDECAR_BYTES} bytes")
    text = _decode(sidecars.get(".txt") or sidecars.get(".caption") or b"").strip()
    values, detail = parse_json(_decode(sidecars.get(".json") or b"{}"))
    problem = Problem("unreadable", name, f"its sidecar is {detail}") if detail else None
    row = {normalize_name(k): v for k, v in values.items()} if isinstance(values, dict) else {}
    return {**row, "caption": text} if text else row, problem


def _decode(data: bytes) -> str:
    return data.decode(guess_encoding(data), "replace")
