"""Find all videos in a folder: files, and members of zips and tars, which are not unpacked."""

import io
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import basename, splitext
from typing import BinaryIO

from exprbench.core.text import printable
from exprbench.media import VIDEO_SUFFIXES
from exprbench.media.video import Piece, open_bytes
from multiexpr.sources.entry import Location, Problem
from multiexpr.sources.on_disk import DiskDict

TAR_BLOCK = 512  # bytes; a block of zeros marks the end of a tar
MAX_RATIO = 100  # of packing; videos hardly get smaller
MAX_DEPTH = 100  # of folders
MAX_IN_MEMORY = 100_000  # names of one folder; more are kept on disk
COMPRESSED = {".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"}
PART_NAME = re.compile(r"(?P<whole>.+)(?:_part|\.part|\.)(?P<part>[a-z]{2}|\d{3})")  # as named by `split` and 7-Zip


def is_video(name: str) -> bool:
    """Return whether a file name has the suffix of a video and is not hidden."""
    return splitext(name)[1].lower() in VIDEO_SUFFIXES and not basename(name).startswith(".")


def is_regular(path: Path) -> bool:
    """Return whether a path is a regular file, or a link to one; false if that cannot be determined."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # no permission, or a name with a NUL byte
        return False


def files_with_suffix(folder: Path, suffix: str) -> list[Path]:
    """Return the regular files directly in a folder with a suffix, in lower or upper case, sorted by name."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if path.suffix.lower() == suffix and is_regular(path)]


def catalogue(root: Path, folder: str = "") -> Iterator[Location | Problem]:
    """Yield the videos under `root/folder`, sorted by name, and a problem for each unreadable file or archive."""
    yield from _walk(root, folder, ())


def catalogue_file(root: Path, name: str, parts: dict[str, tuple[str, ...]]) -> Iterator[Location | Problem]:
    """Yield the videos in a file of a folder, and problems, as `catalogue` does; see `_archive_parts` for `parts`."""
    suffix = Path(name).suffix.lower()
    is_read = name in parts or is_video(name) or suffix in (".zip", ".tar")
    if is_read and (detail := _obstacle(root, name)):
        yield Problem("unreadable", printable(name), detail)
    elif name in parts:
        if parts[name]:
            yield from _archive(root, name, parts[name])
    elif is_video(name):
        yield _file(root, name)
    elif suffix in (".zip", ".tar"):
        yield from _archive(root, name, ())
    elif suffix in COMPRESSED:
        yield Problem("unreadable", printable(name), "a compressed archive cannot be read in place; unpack it first")
    elif suffix == ".gif":
        yield Problem("unreadable", printable(name), "a GIF; expected a video, such as .mp4")


def _obstacle(root: Path, name: str) -> str:
    """Return why a file cannot be listed, an empty text if it can."""
    if printable(name) != name:
        return "its name is not UTF-8; rename it"
    try:
        mode = os.stat(root / name).st_mode
    except OSError:
        return "it cannot be opened"
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _walk(root: Path, folder: str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[Location | Problem]:
    """Yield the videos in all files under a folder, sorted within each folder, and problems.

    Links to folders are followed, except to one of the `ancestors`, given by device and inode.
    """
    try:
        names = _list_folder(root / folder)
        status = os.stat(root / folder)
    except (OSError, ValueError) as error:
        if ancestors:
            yield Problem("unreadable", printable(folder), f"the folder cannot be opened: {_reason(error)}")
        return
    ancestors = (*ancestors, (status.st_dev, status.st_ino))
    prefix = f"{folder}/" if folder else ""
    parts = _archive_parts(prefix + name for name, is_folder in names.items() if not is_folder)
    for name, is_folder in names.items():
        path = prefix + name
        if not is_folder:
            yield from catalogue_file(root, path, parts)
        elif detail := _folder_obstacle(root / path, ancestors):
            yield Problem("unreadable", printable(path), detail)
        else:
            yield from _walk(root, path, ancestors)


def _list_folder(path: Path) -> dict[str, bool] | DiskDict:
    """Return {name: whether it is a folder} of the visible entries of a folder, sorted by name."""
    names: dict[str, bool] | DiskDict = {}
    for entry in os.scandir(path):
        if len(names) == MAX_IN_MEMORY and isinstance(names, dict):
            names = _move_to_disk(names)
        if not entry.name.startswith("."):
            names[entry.name] = _is_folder(entry)
    return dict(sorted(names.items())) if isinstance(names, dict) else names


def _move_to_disk(names: dict[str, bool]) -> DiskDict:
    on_disk = DiskDict()
    for name, is_folder in names.items():
        on_disk[name] = is_folder
    return on_disk


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _folder_obstacle(path: Path, ancestors: tuple[tuple[int, int], ...]) -> str:
    """Return why a folder is not read, an empty text if it is."""
    status = os.stat(path)
    if (status.st_dev, status.st_ino) in ancestors:
        return "a link to a folder that contains it"
    return f"folders are nested more than {MAX_DEPTH} deep" if len(ancestors) >= MAX_DEPTH else ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _archive_parts(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the parts of split archives: all parts under the name of the first, an empty tuple under the others."""
    groups: dict[str, list[str]] = {}
    for name in names:
        match = PART_NAME.fullmatch(name)
        if match and not is_video(name):
            groups.setdefault(match["whole"], []).append(name)
    by_name: dict[str, tuple[str, ...]] = {}
    for parts in groups.values():
        if len(parts) > 1:
            by_name.update(dict.fromkeys(parts[1:], ()))
            by_name[parts[0]] = tuple(parts)
    return by_name


def file_stamp(root: Path, paths: tuple[str, ...]) -> str:
    """Return sizes and modification times of files as one string; empty if a file is missing."""
    try:
        files = [(root / path).stat() for path in paths]
    except OSError:
        return ""
    return ";".join(f"{file.st_size}:{file.st_mtime_ns}" for file in files)


def _file(root: Path, name: str) -> Location | Problem:
    stamp = file_stamp(root, (name,))
    size = int(stamp.partition(":")[0] or 0)
    if not stamp:
        return Problem("unreadable", name, "it cannot be opened")
    if not size:
        return Problem("unreadable", name, "the file is empty")
    if not os.access(root / name, os.R_OK):
        return Problem("unreadable", name, "there is no permission to read it")
    return Location(path=name, num_bytes=size, packed_bytes=size, stamp=stamp)


def _archive(root: Path, name: str, parts: tuple[str, ...]) -> Iterator[Location | Problem]:
    stamp = file_stamp(root, parts or (name,))
    try:
        with _open(root, parts or (name,)) as file:
            list_members = _tar_members if name.lower().endswith(".tar") else _zip_members
            for member in list_members(file):
                if isinstance(member, Problem):
                    yield Problem(member.kind, f"{name}/{printable(member.path)}", member.detail)
                else:
                    yield Location(path=name, parts=parts, stamp=f"{stamp}@{member.pop('position')}", **member)
    except Exception as error:  # damaged archives make zipfile and tarfile raise almost anything
        yield Problem("unreadable", name, f"the archive cannot be read: {_reason(error)}")


def range_to_pieces(root: Path, paths: tuple[str, ...], offset: int, num_bytes: int) -> list[Piece]:
    """Return a range of bytes of a split file as pieces of its parts."""
    pieces, start = [], 0
    for path in paths:
        size = (root / path).stat().st_size
        first, last = max(offset, start), min(offset + num_bytes, start + size)
        if first < last:
            pieces.append(Piece(str(root / path), first - start, last - first))
        start += size
    return pieces


def _open(root: Path, paths: tuple[str, ...]) -> BinaryIO:
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
            elif info.file_size > MAX_RATIO * info.compress_size:
                yield Problem("unreadable", info.filename, f"unpacked, it is more than {MAX_RATIO} times as large")
            else:
                yield {
                    "member": info.filename,
                    "packing": "deflated" if info.compress_type else "zip",
                    "offset": info.header_offset,
                    "packed_bytes": info.compress_size,
                    "num_bytes": info.file_size,
                    "crc": info.CRC,
                    "position": info.header_offset,
                }


def _tar_members(file: BinaryIO) -> Iterator[dict | Problem]:
    for info in tar_infos(file):
        if not is_video(info.name):
            continue
        if not info.size:
            yield Problem("unreadable", info.name, "the file is empty")
        elif printable(info.name) != info.name:
            yield Problem("unreadable", info.name, "its name is not UTF-8")
        elif info.issparse():
            yield Problem("unreadable", info.name, "a sparse file, which is not stored in one piece")
        else:
            yield {
                "member": info.name,
                "packing": "tar",
                "offset": info.offset_data,
                "packed_bytes": info.size,
                "num_bytes": info.size,
                "position": info.offset_data,
            }


def tar_infos(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the files of a tar, reading only their headers.

    Raises:
        tarfile.ReadError: the tar is truncated or damaged; raised after its complete files.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            if info.isfile():
                if info.offset_data + info.size > size:
                    raise tarfile.ReadError(f"it ends in the middle of {info.name}")
                yield info
        end = archive.offset  # tarfile takes a damaged header, or none, for the end
    file.seek(end)
    if file.read(TAR_BLOCK) != bytes(TAR_BLOCK):
        raise tarfile.ReadError(f"it is cut short or damaged at byte {end}")
