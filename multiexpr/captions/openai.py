"""Captions from an endpoint that speaks the OpenAI protocol, such as a vLLM server."""

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
from multiexpr.captions.prompt import prompt_for
from multiexpr.recipe import Caption
from multiexpr.sources.locate import ClipError

QUALITY = 90  # of the JPEG images sent
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
OURS = (401, 403, 404)  # what no other clip will meet with more luck
KEY = "OPENAI_API_KEY"


class OpenAI:
    """Asks the endpoint, again where it is busy or answers nonsense. Safe to be used by several threads."""

    def __init__(self, params: Caption) -> None:
        if not params.url or not params.model:
            raise UserError(
                "captions from an endpoint need its address and a model: "
                "--set caption.url=http://127.0.0.1:8000/v1 --set caption.model=NAME"
            )
        self.params = params
        self.answered = threading.Event()

    def caption(self, frames: list[np.ndarray], num_people: int) -> str:
        """The text for (H, W, 3) uint8 RGB frames of a clip.

        Raises:
            ClipError: caption_failed, after all attempts; caption_refused.
            UserError: there is no server, or it does not know the model or the key.
        """
        body = json.dumps(self._request(frames, num_people)).encode()
        problem = ""
        for attempt in range(self.params.attempts):
            try:
                return self._ask(body)
            except _Again as error:
                problem = error.told
                if attempt + 1 < self.params.attempts:
                    time.sleep(min(LONGEST_WAIT_S, error.wait_s or FIRST_WAIT_S * 2**attempt))
        if problem.startswith("no answer") and not self.answered.is_set():
            raise UserError(f"{self.params.url} gives no answer ({problem}); is the server running?")
        raise ClipError("caption_failed", f"{problem}, {self.params.attempts} times")

    def _request(self, frames: list[np.ndarray], num_people: int) -> dict[str, Any]:
        text = prompt_for(self.params.prompt, num_people, len(frames))
        images = [{"type": "image_url", "image_url": {"url": _data_url(frame)}} for frame in frames]
        content = [{"type": "text", "text": text}, *images]
        return {
            "model": self.params.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.params.max_tokens,
            "temperature": 0,
            "seed": 0,
        }

    def _ask(self, body: bytes) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "multiexpr"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        url = self.params.url.rstrip("/") + "/chat/completions"
        if not url.startswith(("http://", "https://")):
            raise UserError(f"caption.url is {self.params.url!r}; expected http:// or https://")
        request = urllib.request.Request(url, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.params.timeout_s) as answer:  # noqa: S310
                text = _text_of(answer.read())
        except urllib.error.HTTPError as error:
            self.answered.set()
            raise self._http_problem(error) from error
        except (OSError, TimeoutError) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            told = "time is up" if isinstance(reason, (TimeoutError, socket.timeout)) else str(reason)
            raise _Again(f"no answer: {told}") from error
        self.answered.set()
        return text

    def _http_problem(self, error: urllib.error.HTTPError) -> Exception:
        told = f"status {error.code}: {_first_line(error.read())}"
        if error.code in OURS:
            return UserError(f"{self.params.url} refuses: {told}; see caption.url, caption.model and ${KEY}")
        if error.code not in AGAIN:
            return ClipError("caption_refused", told)
        wait = error.headers.get("Retry-After", "")
        return _Again(told, float(wait) if wait.replace(".", "", 1).isdigit() else 0.0)


class _Again(Exception):
    """A reason to ask once more."""

    def __init__(self, told: str, wait_s: float = 0.0) -> None:
        super().__init__(told)
        self.told = told
        self.wait_s = wait_s


def _text_of(body: bytes) -> str:
    """The text in an answer; an answer without one is asked for again."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise _Again(f"a malformed answer: {_first_line(body)}") from error
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise _Again("an empty answer")
    return content.strip()


def _first_line(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def _data_url(frame: np.ndarray) -> str:
    import cv2

    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
