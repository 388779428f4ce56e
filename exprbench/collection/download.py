"""Download one file safely: http(s) only, limited in size, resumed, verified by its hash."""

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path

CHUNK = 1 << 18
TIMEOUT_S = 30
ATTEMPTS = 3
WAIT_S = 2.0
USER_AGENT = "exprbench-collect"
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # statuses after which a later request can succeed


def download(url: str, partial: Path, *, sha256: str, num_bytes: int, max_bytes: int, wait_s: float = WAIT_S) -> None:
    """Download `url` into `partial`, continuing after the bytes that the file holds already, and verify its hash.

    Args:
        sha256: expected hash.
        num_bytes: expected size; 0 if unknown.
        max_bytes: largest allowed size.
        wait_s: seconds before the second attempt; they double with each further one.

    Raises:
        ItemError: `too_large`, `http_404` and other statuses, `redirect_refused`, `unreachable` or `interrupted` (the
            next run continues), or `hash_mismatch` (the file is removed).
    """
    if num_bytes > max_bytes:
        raise ItemError("too_large", f"{num_bytes:,} bytes; at most {max_bytes:,} are allowed (--max-mb)")
    for attempt in range(ATTEMPTS):
        try:
            _fetch(url, partial, num_bytes or max_bytes)
            break
        except _AgainError as error:
            if attempt + 1 == ATTEMPTS:
                raise ItemError(error.code, error.detail) from error
            time.sleep(wait_s * 2**attempt)
    found = sha256_path(partial)
    if found != sha256:
        partial.unlink()
        raise ItemError("hash_mismatch", f"the file at {url} has sha256 {found}, not {sha256}; not kept")


class _AgainError(ItemError):
    """A failure after which another attempt can succeed."""


def _fetch(url: str, partial: Path, limit: int) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the scheme was checked)
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            _save(response, partial, start, limit)
    except urllib.error.HTTPError as error:
        _explain_status(error, partial)
    except urllib.error.URLError as error:
        raise _AgainError("unreachable", f"{url}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError("interrupted", f"{url}: {type(error).__name__} {error}") from error


def _explain_status(error: urllib.error.HTTPError, partial: Path) -> None:
    if 300 <= error.code < 400:
        raise ItemError("redirect_refused", f"{error.url}: {error.reason}") from error
    if error.code == 416:  # the partial file is as long as the file, or longer: a complete one passes the hash
        if _total(error.headers) != partial.stat().st_size:
            partial.unlink(missing_ok=True)
            raise _AgainError("http_416", "the server has a shorter file than was downloaded before") from error
        return
    kind = _AgainError if error.code in AGAIN else ItemError
    raise kind(f"http_{error.code}", f"{error.url}: {error.reason}") from error


def _total(headers: Any) -> int | None:
    """Return the size of the whole file from a `Content-Range` header, None if it is not given."""
    total = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(total) if total.isascii() and total.isdecimal() else None


def _save(response: Any, partial: Path, start: int, limit: int) -> None:
    """Append the body to `partial`, or replace it if the server sends the whole file."""
    resumed = response.status == 206 and (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
    if response.status == 206 and not resumed:
        partial.unlink(missing_ok=True)
        raise _AgainError("interrupted", "the server sent another part of the file than was asked for")
    size = start if resumed else 0
    length = response.headers.get("Content-Length")
    expected = size + int(length) if length and length.isascii() and length.isdecimal() else None
    if expected is not None and expected > limit:
        raise ItemError("too_large", f"the server announces {expected:,} bytes; expected {limit:,} or fewer")
    with partial.open("ab" if resumed else "wb") as file:
        while block := response.read(CHUNK):
            size += len(block)
            if size > limit:
                break
            file.write(block)
    if size > limit:
        partial.unlink()
        raise ItemError("too_large", f"the server sends more than {limit:,} bytes")
    if expected is not None and size < expected:
        raise _AgainError("interrupted", f"{size:,} of {expected:,} bytes were received")


class _SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and none from https to http."""

    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old, new) == ("https", "http"):
            raise ItemError("redirect_refused", f"{req.full_url} redirects to {new}: {newurl[:200]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener without handlers of other schemes (file, ftp, data)."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SafeRedirect(),
    ):
        opener.add_handler(handler)
    return opener
