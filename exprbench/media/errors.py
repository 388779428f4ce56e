"""Errors of reading media files."""

from exprbench.core.errors import ItemError

CODES = {
    "missing_file": "there is no such file",
    "zero_bytes": "the file is empty",
    "open_failed": "no decoder opens the file",
    "no_video_stream": "the file holds no video",
    "truncated": "the frames end before the time the header promises",
    "decode_errors": "damaged data: frames could not be decoded, or only in part",
    "timeout": "the decoder sent no frame in time",
    "too_short": "fewer frames than needed",
}


class MediaError(ItemError):
    """A file that cannot be read, or not to its end; `code` is one of `CODES`."""

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"unknown media error code {code!r}")
        super().__init__(code, detail or CODES[code])
