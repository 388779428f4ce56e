"""Fetch the files of a manifest into the input folders of `exprbench build`."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from exprbench.collection.download import WAIT_S, download
from exprbench.collection.manifest import FOLDERS, SourceFile, build_command, load_manifest, plain_number
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import inside, sha256_path, write_text
from exprbench.core.locks import sole_writer
from exprbench.core.progress import progress

COLUMNS = ("file", "source", "url", "author", "licence", "person", "faces", "start_s")
MAX_MB = 2000
ALWAYS = ("portraits", "driving")  # folders that `exprbench build` requires
# Sites whose terms exclude collecting files for evaluation without permission, with the page that says so.
PERMISSION_NEEDED = {
    "pexels.com": "help.pexels.com/hc/en-us/articles/900005880463-What-are-the-Terms-and-Conditions",
}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Outcome of one file: `present` before, `fetched`, or an `error` with its code and detail."""

    file: SourceFile
    outcome: Literal["present", "fetched", "error"]
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A collected folder.

    Attributes:
        command: command that builds the benchmark.
        benchmark_sha256: hash that it then has, if the libraries that encode video are of the same versions.
    """

    root: Path
    files: tuple[Fetched, ...]
    command: str
    benchmark_sha256: str

    @property
    def failed(self) -> list[Fetched]:
        """Return the files that could not be fetched."""
        return [item for item in self.files if item.outcome == "error"]


def collect(
    manifest: Path | str,
    out: Path | str,
    *,
    max_mb: float = MAX_MB,
    permitted: Sequence[str] = (),
    wait_s: float = WAIT_S,
) -> Collection:
    """Fetch and verify the files of a manifest, and write a `sources.csv` into each folder.

    Files that are present with the right hash are kept, interrupted downloads continue, and a file that fails does not
    affect the others. Files are fetched one after the other.

    Args:
        manifest: file that `exprbench manifest` wrote.
        out: folder for `portraits/`, `driving/`, `multi-portraits/` and `multi-driving/`.
        max_mb: largest size of a file in megabytes.
        permitted: sites (`pexels.com`) from which you have permission to collect files for this purpose.
        wait_s: seconds before the second attempt at a file.

    Raises:
        UserError: the manifest cannot be used, or another run writes to `out`.
    """
    content, root = load_manifest(manifest), Path(out)
    if max_mb <= 0:
        raise UserError(f"--max-mb is {max_mb:g}; expected a number above 0")
    with sole_writer(root):
        partial = root / ".partial"
        partial.mkdir(parents=True, exist_ok=True)
        files = []
        for file in progress(content.files, total=len(content.files), label="collect", unit="file"):
            files.append(_fetch_one(file, root, partial, round(max_mb * 1e6), permitted, wait_s))
        folders = _write_sources(root, files)
        if not any(item.outcome == "error" for item in files):
            shutil.rmtree(partial)
    command = build_command(content, root, folders)
    return Collection(root=root, files=tuple(files), command=command, benchmark_sha256=content.benchmark_sha256)


def _fetch_one(
    file: SourceFile, root: Path, partial: Path, max_bytes: int, permitted: Sequence[str], wait_s: float
) -> Fetched:
    target = inside(root, file.path)
    if target.is_file() and sha256_path(target) == file.sha256:
        return Fetched(file=file, outcome="present")
    try:
        _check_terms(file.url, permitted)
        download(
            file.url,
            partial / file.sha256,
            sha256=file.sha256,
            num_bytes=file.num_bytes,
            max_bytes=max_bytes,
            wait_s=wait_s,
        )
    except ItemError as error:
        return Fetched(file=file, outcome="error", code=error.code, detail=error.detail)
    target.parent.mkdir(parents=True, exist_ok=True)
    (partial / file.sha256).replace(target)
    return Fetched(file=file, outcome="fetched")


def _check_terms(url: str, permitted: Sequence[str]) -> None:
    host = (urlsplit(url).hostname or "").lower()
    for site, terms in PERMISSION_NEEDED.items():
        if (host == site or host.endswith(f".{site}")) and site not in permitted:
            detail = f"the terms of {site} ask for permission ({terms}); if you have it, add --permitted {site}"
            raise ItemError("permission_needed", detail)


def _write_sources(root: Path, files: Sequence[Fetched]) -> list[str]:
    """Write a sources.csv into every folder that holds files of the manifest, and return those folders."""
    folders = []
    for folder in FOLDERS:
        kept = [item.file for item in files if item.file.folder == folder and item.outcome != "error"]
        if kept or folder in ALWAYS:
            write_text(root / folder / "sources.csv", _sources_text(kept))
            folders.append(folder)
    return folders


def _sources_text(files: Sequence[SourceFile]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file in sorted(files, key=lambda f: f.name):
        origin = [file.source, file.url, file.author, file.licence, file.person]
        writer.writerow([file.name, *origin, file.faces or "", plain_number(file.start_s) if file.start_s else ""])
    return text.getvalue()
