"""Captions by an endpoint with the OpenAI API, such as a vLLM server."""

import base64
import http.client
import json
import os
import queue
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from multiexpr.captions.prompt import build_prompt
from multiexpr.recipe import Caption
from multiexpr.sources.locate import ClipError

QUALITY = 90  # of the JPEG images sent
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
RETRY_STATUSES = (408, 409, 425, 429, 500, 502, 503, 504)
FATAL_STATUSES = (401, 403, 404)  # wrong key, model or URL: every other clip would fail too
KEY = "OPENAI_API_KEY"
MAX_ANSWER_BYTES = 1 << 20  # a thousand times as long as a caption


class OpenAICaptioner:
    """Client of the endpoint. Thread-safe.

    Retries if the server is busy or slow, or its answer is cut or malformed. An answer has at most
    `MAX_ANSWER_BYTES`, and a request takes at most `caption.timeout_s`. Redirects are not followed, since the key would
    be sent to the host that they name.
    """

    def __init__(self, params: Caption) -> None:
        if not params.url or not params.model:
            raise UserError(
                "captions from an endpoint need a URL and a model: "
                "--set caption.url=http://127.0.0.1:8000/v1 --set caption.model=NAME"
            )
        self.params = params
        self.has_responded = threading.Event()

    def caption(self, frames: list[np.ndarray], num_people: int) -> str:
        """Return a caption of a clip, from (H, W, 3) uint8 RGB frames.

        Raises:
            ClipError: caption_failed after all attempts, caption_refused, or caption_cut, if it reached max_tokens.
            UserError: there is no server, or it rejects the key, the model or the URL, or redirects to another.
        """
        body = json.dumps(self._request(frames, num_people)).encode()
        problem = ""
        for attempt in range(self.params.attempts):
            try:
                return self._post(body)
            except _RetryableError as error:
                problem = error.detail
                if attempt + 1 < self.params.attempts:
                    time.sleep(min(LONGEST_WAIT_S, error.wait_s or FIRST_WAIT_S * 2**attempt))
        if problem.startswith("no answer") and not self.has_responded.is_set():
            raise UserError(f"{self.params.url} does not respond ({problem}); start the server or change caption.url")
        raise ClipError("caption_failed", f"{problem}, {self.params.attempts} times")

    def _request(self, frames: list[np.ndarray], num_people: int) -> dict[str, Any]:
        text = build_prompt(self.params.prompt, num_people, len(frames))
        images = [{"type": "image_url", "image_url": {"url": _data_url(frame)}} for frame in frames]
        content = [{"type": "text", "text": text}, *images]
        return {
            "model": self.params.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.params.max_tokens,
            "temperature": 0,
            "seed": 0,
        }

    def _post(self, body: bytes) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "multiexpr", **_authorization()}
        url = self.params.url.rstrip("/") + "/chat/completions"
        if not url.startswith(("http://", "https://")):
            raise UserError(f"caption.url is {self.params.url!r}; expected http:// or https://")
        try:
            request = urllib.request.Request(url, body, headers)  # noqa: S310
            text = _parse_caption(_within(self.params.timeout_s, lambda: self._read(request)))
        except urllib.error.HTTPError as error:
            self.has_responded.set()
            raise self._http_error(error) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise UserError(f"caption.url is {self.params.url!r}, which is not a URL ({error})") from error
        except (http.client.HTTPException, OSError) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            detail = "time is up" if isinstance(reason, (TimeoutError, socket.timeout)) else str(reason) or repr(reason)
            raise _RetryableError(f"no answer: {detail}") from error
        self.has_responded.set()
        return text

    def _read(self, request: urllib.request.Request) -> bytes:
        """Return the body of the response; a longer one than allowed is malformed."""
        with _OPENER.open(request, timeout=self.params.timeout_s) as response:
            body = response.read(MAX_ANSWER_BYTES + 1)
            if len(body) > MAX_ANSWER_BYTES:
                raise _RetryableError(f"a malformed answer: more than {MAX_ANSWER_BYTES} bytes")
            if response.length:  # the rest of a body of known length, which `read(n)` does not miss
                raise http.client.IncompleteRead(body, response.length)
            return body

    def _http_error(self, error: urllib.error.HTTPError) -> Exception:
        if 300 <= error.code < 400:
            place = error.headers.get("Location", "another URL")
            return UserError(
                f"{self.params.url} redirects to {place}; give the URL of the endpoint itself as caption.url"
            )
        detail = f"status {error.code}: {_error_text(error)}"
        if error.code in FATAL_STATUSES:
            return UserError(
                f"{self.params.url} refuses requests ({detail}); check caption.url, caption.model and ${KEY}"
            )
        if error.code not in RETRY_STATUSES:
            return ClipError("caption_refused", detail)
        wait = error.headers.get("Retry-After", "")
        return _RetryableError(detail, float(wait) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", wait) else 0.0)


class _RetryableError(Exception):
    """Failure of one request that can succeed later; `wait_s` is the server's Retry-After, 0 if it sent none."""

    def __init__(self, detail: str, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.wait_s = wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Return no request, which makes a redirect an `HTTPError`."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _authorization() -> dict[str, str]:
    """Return the header with the key of the environment, if there is one."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"${KEY} contains characters that cannot be sent; expected one line of ASCII text")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _within(seconds: float, function: Callable[[], bytes]) -> bytes:
    """Return the result of a function that runs in another thread.

    The timeout of a socket is that of each of its operations: a server that sends a byte at a time could take forever.

    Raises:
        TimeoutError: it took longer.
    """
    results: queue.SimpleQueue = queue.SimpleQueue()

    def call() -> None:
        try:
            results.put((function(), None))
        except Exception as error:  # raised by the waiting thread
            results.put((b"", error))

    threading.Thread(target=call, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error:
        raise error
    return result


def _parse_caption(body: bytes) -> str:
    """Return the text of a response.

    Raises:
        _RetryableError: the response is malformed or empty.
        ClipError: the model stopped before the end of its text.
    """
    try:
        choice = json.loads(body)["choices"][0]
        content, reason = choice["message"]["content"], choice.get("finish_reason")
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part.get("type") == "text")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _RetryableError(f"a malformed answer: {_first_line(body)}") from error
    _check_end(reason, choice["message"].get("refusal"))
    if not isinstance(content, str) or not content.strip():
        raise _RetryableError("an empty answer")
    return content.strip().encode("utf-8", "replace").decode()  # half characters cannot be stored


def _check_end(reason: Any, refusal: Any) -> None:
    """Raise if the model did not stop by itself."""
    if reason == "length":
        raise ClipError("caption_cut", "the caption was cut at caption.max_tokens; set it higher")
    if reason == "content_filter" or refusal:
        raise ClipError("caption_refused", f"the model refused: {str(refusal or reason)[:200]}")
    if reason in ("abort", "error"):  # vLLM's and others', when the server stopped the request
        raise _RetryableError(f"an answer that ended with {reason!r}")


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        return _first_line(error.read(MAX_ANSWER_BYTES))
    except (http.client.HTTPException, OSError):
        return "an answer that cannot be read"


def _first_line(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def _data_url(frame: np.ndarray) -> str:
    import cv2

    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
