"""Collections on object storage, such as `s3://bucket/folder`, through fsspec.

Listing makes an outline of the collection in the folder of the curation: tables and captions are copied, and each video
becomes a sparse file of the same size and time, which holds the version of the object and takes no space. Readers list
the outline as any folder. Workers download the video of a clip for each task, and remove it afterwards.
"""

import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_bytes, write_json
from exprbench.media import MediaError
from multiexpr.sources.catalogue import COMPRESSED, is_video
from multiexpr.sources.locate import ClipError

OUTLINE = ".remote.json"  # in the top folder of an outline: the URL of the collection
COPIED = {".csv", ".tsv", ".json", ".jsonl", ".txt", ".caption", ".parquet"}
ARCHIVES = {".zip", ".tar", *COMPRESSED}
CHECKSUMS = ("ETag", "etag", "md5Hash")  # names of several kinds of storage

Row = dict[str, Any]


def is_url(place: object) -> bool:
    """Return whether a place is a URL of object storage, such as `s3://bucket/folder`."""
    scheme, separator, _ = str(place).partition("://")
    return bool(separator) and scheme not in ("", "file")


def open_storage(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it; credentials and endpoints are those of its library.

    Raises:
        UserError: fsspec, or the package for this kind of storage, is not installed, or the URL is malformed.
    """
    try:
        import fsspec

        storage, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise UserError(f"{url} cannot be opened ({error}); pip install 'exprbench[s3]', and check the URL") from error
    return storage, path.rstrip("/")


def make_outline(url: str, folder: Path) -> int:
    """Make or update the outline of a collection in a local folder, and return the number of its archives.

    Archives are left out, because they could only be read as a whole.

    Raises:
        UserError: the storage cannot be reached, or has no such folder.
    """
    storage, top = open_storage(url)
    num_archives = num_objects = 0
    try:
        for path, folders, objects in storage.walk(top, detail=True, on_error="raise"):
            local = folder / PurePosixPath(path).relative_to(top)
            num_objects += len(objects)
            num_archives += sum(PurePosixPath(name).suffix.lower() in ARCHIVES for name in objects)
            names = {name for name in objects if is_video(name) or PurePosixPath(name).suffix.lower() in COPIED}
            _remove_others(local, {*names, *folders, OUTLINE})
            for name in sorted(names):
                _outline_file(storage, objects[name], local / name)
    except Exception as error:  # each kind of storage has errors of its own
        raise UserError(f"{url} cannot be listed ({_one_line(error)}); check URL, endpoint and credentials") from error
    if not num_objects:
        raise UserError(f"there is nothing at {url}; expected a folder of videos")
    write_json(folder / OUTLINE, {"url": url})
    return num_archives


def _outline_file(storage: Any, info: Row, target: Path) -> None:
    version = _version(info)
    if target.exists() and target.stat().st_mtime_ns == _time_ns(version):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_video(target.name):
        size = info["size"] or 0
        content = next((str(info[name]) for name in CHECKSUMS if info.get(name)), info["name"])
        write_bytes(target, content.encode()[:size])  # equal for equal contents: their search reads it
        os.truncate(target, size)
    else:
        write_bytes(target, storage.cat_file(info["name"]))
    os.utime(target, ns=(_time_ns(version),) * 2)


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _version(info: Row) -> str:
    """Return a text that changes with the content of an object."""
    found = next((str(info[name]) for name in (*CHECKSUMS, "LastModified", "mtime", "created") if info.get(name)), "")
    return f"{found} {info.get('size')}"


def _time_ns(version: str) -> int:
    """Return a modification time that stands for a version, since stamps of files are sizes and times."""
    return zlib.crc32(version.encode()) * 1_000_000_000


@contextmanager
def local_files(row: Row, root: Path) -> Iterator[Path]:
    """Yield the folder that has the video of an index row: the collection itself, or a download from object storage.

    Raises:
        MediaError: missing_file.
        ClipError: source_changed, or download_failed.
    """
    url = read_json(root / OUTLINE).get("url")
    if not url:
        yield root
        return
    folder = Path(tempfile.mkdtemp(prefix="multiexpr-"))
    try:
        _download(f"{url.rstrip('/')}/{row['path']}", root / row["path"], folder / row["path"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(url: str, outline: Path, target: Path) -> None:
    storage, path = open_storage(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        info = storage.info(path)
        if _time_ns(_version(info)) != outline.stat().st_mtime_ns:
            raise ClipError("source_changed", f"{url} has changed since it was listed; run the command again")
        storage.get_file(path, str(target))
    except FileNotFoundError as error:
        raise MediaError("missing_file", f"there is no object {url}") from error
    except ClipError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise ClipError("download_failed", f"{url}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
