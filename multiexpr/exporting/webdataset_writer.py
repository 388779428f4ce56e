"""WebDataset shards: tars of samples `ID.mp4`, `ID.json`, `ID.txt`, `ID.tracks.npz`, `ID.masks.npz`."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exprbench.core.files import atomic_path

Row = dict[str, Any]


def write_shards(dataset: Path, rows: list[Row], tar_bytes: int) -> None:
    """Write `webdataset/00000.tar ...` of at most about `tar_bytes` each; equal clips give equal bytes."""
    folder = dataset / "webdataset"
    count = 0
    for count, group in enumerate(_groups(dataset, rows, tar_bytes), 1):
        with atomic_path(folder / f"{count - 1:05d}.tar") as temporary, tarfile.open(temporary, "w") as tar:
            for row in group:
                _add_sample(tar, dataset, row)
    for old in sorted(folder.glob("*.tar"))[count:]:
        old.unlink()


def _groups(dataset: Path, rows: list[Row], tar_bytes: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    group_bytes = 0
    for row in rows:
        num_bytes = sum(path.stat().st_size for path in _files(dataset, row).values())
        if group and group_bytes + num_bytes > tar_bytes:
            yield group
            group, group_bytes = [], 0
        group.append(row)
        group_bytes += num_bytes
    if group:
        yield group


def _files(dataset: Path, row: Row) -> dict[str, Path]:
    """Return the files of a sample by their suffix in the tar."""
    columns = {"mp4": "file_name", "tracks.npz": "tracks", "masks.npz": "masks"}
    paths = {suffix: dataset / row[column] for suffix, column in columns.items()}
    return {suffix: path for suffix, path in paths.items() if path.exists()}


def _add_sample(tar: tarfile.TarFile, dataset: Path, row: Row) -> None:
    for suffix, path in _files(dataset, row).items():
        _add(tar, f"{row['clip_id']}.{suffix}", path.read_bytes())
    _add(tar, f"{row['clip_id']}.txt", row["caption"].encode())
    _add(tar, f"{row['clip_id']}.json", json.dumps(row, sort_keys=True, ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # time 0 and no owner: equal for every run
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
