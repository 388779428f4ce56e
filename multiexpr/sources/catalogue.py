"""Every video in a folder: files, and members of zips and tars, found without unpacking anything."""

import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from exprbench.media import VIDEO_SUFFIXES
from exprbench.media.video import Piece, open_bytes
from multiexpr.sources.entry import Place, Problem

COMPRESSED = {".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"}
CUT = re.compile(r"(?P<whole>.+)(?:_part|\.part|\.)(?P<part>[a-z]{2}|\d{3})")  # as `split` and 7-Zip name parts


def is_video(name: str) -> bool:
    """Does a name look like a video's?"""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not Path(name).name.startswith(".")


def catalogue(root: Path, folder: str = "") -> Iterator[Place | Problem]:
    """Videos under `root/folder`, in the order of their names; archives that cannot be read are problems."""
    return among(root, list(_walk(root, folder)))


def among(root: Path, names: list[str]) -> Iterator[Place | Problem]:
    """The same for given files of a folder alone."""
    cut = _cut_archives(names)
    for name in names:
        suffix = Path(name).suffix.lower()
        if name in cut:
            if cut[name]:
                yield from _archive(root, name, cut[name])
        elif is_video(name):
            yield _file(root, name)
        elif suffix in (".zip", ".tar"):
            yield from _archive(root, name, ())
        elif suffix in COMPRESSED:
            yield Problem("unreadable", name, "a compressed archive cannot be read in place; unpack it first")


def _walk(root: Path, folder: str) -> Iterator[str]:
    """Relative paths of the files in a folder and below, sorted within each folder; links to folders are followed."""
    try:
        entries = sorted(os.scandir(root / folder), key=lambda e: e.name)
    except OSError:
        return
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(root, name)
        else:
            yield name


def _cut_archives(names: list[str]) -> dict[str, tuple[str, ...]]:
    """The parts of every archive cut into several, under the name of the first; under the others, nothing."""
    groups: dict[str, list[str]] = {}
    for name in names:
        match = CUT.fullmatch(name)
        if match and not is_video(name):
            groups.setdefault(match["whole"], []).append(name)
    cut: dict[str, tuple[str, ...]] = {}
    for parts in groups.values():
        if len(parts) > 1:
            cut.update(dict.fromkeys(parts[1:], ()))
            cut[parts[0]] = tuple(parts)
    return cut


def stamp_of(root: Path, paths: tuple[str, ...]) -> str:
    """Sizes and times of change of files; empty where one is missing."""
    try:
        found = [(root / path).stat() for path in paths]
    except OSError:
        return ""
    return ";".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in found)


def _file(root: Path, name: str) -> Place | Problem:
    stamp = stamp_of(root, (name,))
    size = int(stamp.partition(":")[0] or 0)
    if not stamp:
        return Problem("unreadable", name, "it cannot be opened")
    if not size:
        return Problem("unreadable", name, "the file is empty")
    if not os.access(root / name, os.R_OK):
        return Problem("unreadable", name, "there is no permission to read it")
    return Place(path=name, num_bytes=size, packed_bytes=size, stamp=stamp)


def _archive(root: Path, name: str, parts: tuple[str, ...]) -> Iterator[Place | Problem]:
    stamp = stamp_of(root, parts or (name,))
    try:
        with _opened(root, parts or (name,)) as file:
            read = _tar_members if name.endswith(".tar") else _zip_members
            for found in read(file):
                if isinstance(found, Problem):
                    yield Problem(found.kind, f"{name}/{found.path}", found.detail)
                else:
                    yield Place(path=name, parts=parts, stamp=f"{stamp}@{found.pop('at')}", **found)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, NotImplementedError, EOFError) as error:
        yield Problem("unreadable", name, f"the archive cannot be read: {error}")


def pieces_of(root: Path, paths: tuple[str, ...], offset: int, num_bytes: int) -> list[Piece]:
    """A run of bytes of a file cut into parts, as pieces of those."""
    pieces, start = [], 0
    for path in paths:
        size = (root / path).stat().st_size
        first, last = max(offset, start), min(offset + num_bytes, start + size)
        if first < last:
            pieces.append(Piece(str(root / path), first - start, last - first))
        start += size
    return pieces


def _opened(root: Path, paths: tuple[str, ...]) -> BinaryIO:
    if len(paths) == 1:
        return (root / paths[0]).open("rb")
    sizes = [(root / path).stat().st_size for path in paths]
    return open_bytes([Piece(str(root / p), 0, size) for p, size in zip(paths, sizes, strict=True)], 0)


def _zip_members(file: BinaryIO) -> Iterator[dict | Problem]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not is_video(info.filename) or info.is_dir():
                continue
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield Problem("unreadable", info.filename, "encrypted, or packed in an unknown way")
            elif not info.file_size:
                yield Problem("unreadable", info.filename, "the file is empty")
            else:
                yield {
                    "member": info.filename,
                    "packing": "deflated" if info.compress_type else "zip",
                    "offset": info.header_offset,
                    "packed_bytes": info.compress_size,
                    "num_bytes": info.file_size,
                    "crc": info.CRC,
                    "at": info.header_offset,
                }


def _tar_members(file: BinaryIO) -> Iterator[dict | Problem]:
    for info in tar_infos(file):
        if not is_video(info.name):
            continue
        if not info.size:
            yield Problem("unreadable", info.name, "the file is empty")
        else:
            yield {
                "member": info.name,
                "packing": "tar",
                "offset": info.offset_data,
                "packed_bytes": info.size,
                "num_bytes": info.size,
                "at": info.offset_data,
            }


def tar_infos(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The files in a tar, from their headers alone; a tar that ends too early is an error after what it holds."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            if info.isfile():
                if info.offset_data + info.size > size:
                    raise tarfile.ReadError(f"it ends in the middle of {info.name}")
                yield info
