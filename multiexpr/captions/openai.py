"""Captions by an endpoint with the OpenAI API, such as a vLLM server."""

import base64
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
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


class OpenAICaptioner:
    """Client of the endpoint. Retries if the server is busy, slow or returns a malformed response. Thread-safe."""

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
            ClipError: caption_failed after all attempts, or caption_refused.
            UserError: there is no server, or it rejects the key, the model or the URL.
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
        headers = {"Content-Type": "application/json", "User-Agent": "multiexpr"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        url = self.params.url.rstrip("/") + "/chat/completions"
        if not url.startswith(("http://", "https://")):
            raise UserError(f"caption.url is {self.params.url!r}; expected http:// or https://")
        request = urllib.request.Request(url, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.params.timeout_s) as response:  # noqa: S310
                text = _parse_caption(response.read())
        except urllib.error.HTTPError as error:
            self.has_responded.set()
            raise self._http_error(error) from error
        except (OSError, TimeoutError) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            detail = "time is up" if isinstance(reason, (TimeoutError, socket.timeout)) else str(reason)
            raise _RetryableError(f"no answer: {detail}") from error
        self.has_responded.set()
        return text

    def _http_error(self, error: urllib.error.HTTPError) -> Exception:
        detail = f"status {error.code}: {_first_line(error.read())}"
        if error.code in FATAL_STATUSES:
            return UserError(
                f"{self.params.url} refuses requests ({detail}); check caption.url, caption.model and ${KEY}"
            )
        if error.code not in RETRY_STATUSES:
            return ClipError("caption_refused", detail)
        wait = error.headers.get("Retry-After", "")
        return _RetryableError(detail, float(wait) if wait.replace(".", "", 1).isdigit() else 0.0)


class _RetryableError(Exception):
    """Failure of one request that can succeed later; `wait_s` is the server's Retry-After, 0 if it sent none."""

    def __init__(self, detail: str, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.wait_s = wait_s


def _parse_caption(body: bytes) -> str:
    """Return the text of a response.

    Raises:
        _RetryableError: the response is malformed or empty.
    """
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise _RetryableError(f"a malformed answer: {_first_line(body)}") from error
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise _RetryableError("an empty answer")
    return content.strip()


def _first_line(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def _data_url(frame: np.ndarray) -> str:
    import cv2

    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
