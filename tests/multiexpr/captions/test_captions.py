import base64
import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from exprbench import UserError
from multiexpr import caption, select
from multiexpr.captions import openai
from multiexpr.captions.prompt import build_prompt
from multiexpr.captions.stage import CaptionStage
from multiexpr.indexing.stage import load_index
from multiexpr.recipe import load_recipe, save_recipe
from multiexpr.sources.locate import ClipError
from multiexpr.storage.parquet import list_shards, read_rows, shard_path
from tests.multiexpr.made import change_index
from tests.videos import number_of

FRAMES = [np.full((48, 80, 3), (40 * i, 60, 200), np.uint8) for i in range(3)]


class Endpoint(ThreadingHTTPServer):
    """Small server with the OpenAI API; `script(n)` returns the kind of the n-th response."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.script = lambda n: "ok"
        self.requests, self.headers = [], {}
        self.num_running = self.max_running = 0
        self.min_running = 0  # responses wait until this number of requests has been running at a time
        self.changed = threading.Condition()
        self.is_over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.changed:
            n = len(server.requests)
            server.requests.append((self.path, dict(self.headers), body))
            server.num_running += 1
            server.max_running = max(server.max_running, server.num_running)
            server.changed.notify_all()
            server.changed.wait_for(lambda: server.max_running >= server.min_running, timeout=600)
        response = server.script(n)
        if response == "slow":
            server.is_over.wait(600)
        with server.changed:
            server.num_running -= 1
        if response == "drop":
            self.connection.close()
        elif response in BROKEN:
            BROKEN[response](self)
        elif isinstance(response, tuple):
            self._send(response[0], b"", {"Location": response[1]})
        elif isinstance(response, bytes):
            self._send(200, response)
        elif isinstance(response, int):
            self._send(response, b'{"error": "busy"}', server.headers)
        else:
            self._send(200, _body(response, body))

    def _send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def cut(handler):
    """Promise more bytes than are sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "half of a')


def cut_chunk(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{")


def not_http(handler):
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")


def huge(handler):
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65536)


def drip(handler):
    """Send a byte now and then, each of them in time."""
    with suppress(OSError):
        while not handler.server.is_over.wait(0.05):
            handler.wfile.write(b"H")


BROKEN = {"cut": cut, "cut chunk": cut_chunk, "not http": not_http, "huge": huge, "drip": drip}


def _body(response, request):
    if response == "html":
        return b"<html>proxy says hello</html>"
    content = {
        "empty": "  ",
        "none": None,
        "blank": " a text \n",
        "parts": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}],
    }.get(response, f"{len(request['messages'][0]['content']) - 1} images")
    return json.dumps({"choices": [] if response == "no choice" else [{"message": {"content": content}}]}).encode()


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr(openai, "FIRST_WAIT_S", 0.01)
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.is_over.set()
    server.shutdown()
    server.server_close()


def params(endpoint, **changes):
    usual = {"backend": "openai", "url": endpoint.url, "model": "tiny-vl", "timeout_s": 600.0}
    return replace(load_recipe().caption, **{**usual, **changes})


def caption_frames(endpoint, **changes):
    return openai.OpenAICaptioner(params(endpoint, **changes)).caption(FRAMES, 2)


def test_the_request_follows_the_protocol(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert caption_frames(endpoint) == "3 images"
    ((path, headers, body),) = endpoint.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("tiny-vl", 0, 400, 0)
    text, *images = body["messages"][0]["content"]
    assert "These are 3 frames of a clip that shows 2 people" in text["text"]
    assert "from left to right" in text["text"]
    for image, frame in zip(images, FRAMES, strict=True):
        kind, data = image["image_url"]["url"].split(",", 1)
        assert kind == "data:image/jpeg;base64"
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.abs(decoded.astype(int) - frame).max() < 4


def test_without_a_key_none_is_sent_and_a_slash_at_the_end_of_the_address_does_not_matter(endpoint, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    caption_frames(endpoint, url=endpoint.url + "/")
    ((path, headers, _),) = endpoint.requests
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers


def test_images_are_sent_without_visible_loss(endpoint):
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (96, 160, 1), np.uint8), (0, 0), 2)
    noise = np.repeat(noise[..., None], 3, 2)
    openai.OpenAICaptioner(params(endpoint)).caption([noise], 2)
    data = endpoint.requests[0][2]["messages"][0]["content"][1]["image_url"]["url"].split(",", 1)[1]
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - noise).mean() < 1.0


@pytest.mark.parametrize(
    ("headers", "waits"),
    [({}, [1.0, 2.0, 4.0]), ({"Retry-After": "7.5"}, [7.5] * 3), ({"Retry-After": "900"}, [60.0] * 3),
     ({"Retry-After": "soon"}, [1.0, 2.0, 4.0])],
)  # fmt: skip
def test_each_wait_is_twice_as_long_or_as_long_as_the_server_says(endpoint, monkeypatch, headers, waits):
    waited = []
    monkeypatch.setattr(openai, "FIRST_WAIT_S", 1.0)
    monkeypatch.setattr(openai, "time", SimpleNamespace(sleep=waited.append))
    endpoint.headers = headers
    endpoint.script = lambda n: 503
    with pytest.raises(ClipError, match="caption_failed"):
        caption_frames(endpoint)
    assert waited == waits  # and none after the last attempt


def test_a_server_that_stops_answering_later_fails_the_clip_and_not_the_run(endpoint):
    captioner = openai.OpenAICaptioner(params(endpoint, attempts=2))
    assert captioner.caption(FRAMES, 2) == "3 images"
    endpoint.script = lambda n: "drop"
    with pytest.raises(ClipError, match="caption_failed: no answer"):
        captioner.caption(FRAMES, 2)


def test_an_answer_has_no_blanks_around_it(endpoint):
    endpoint.script = lambda n: "blank"
    assert caption_frames(endpoint) == "a text"


MALFORMED = [
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"choices": [{"message": {"content": [{"type": "text"}]}}]}',
    b'{"choices": [{"message": "text"}]}',
    b'{"choices": [{"message": {"content": "the"}, "finish_reason": "abort"}]}',
]


@pytest.mark.parametrize(
    "failure",
    [408, 409, 425, 429, 500, 502, 503, 504, "drop", "html", "empty", "none", "no choice", "slow", *BROKEN, *MALFORMED],
)
def test_one_failed_request_is_retried(endpoint, failure):
    endpoint.script = lambda n: failure if n == 0 else "ok"
    assert caption_frames(endpoint, timeout_s=5.0 if failure in ("slow", "drip") else 600.0) == "3 images"
    assert len(endpoint.requests) == 2


def finished(reason, **message):
    return json.dumps({"choices": [{"message": {"content": "a woman", **message}, "finish_reason": reason}]}).encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (finished("length"), r"caption_cut: the caption was cut at caption\.max_tokens; set it higher"),
        (finished("content_filter"), "caption_refused: the model refused: content_filter"),
        (finished("stop", refusal="I cannot"), "caption_refused: the model refused: I cannot"),
    ],
)
def test_a_caption_that_the_model_did_not_finish_is_not_kept(endpoint, answer, message):
    endpoint.script = lambda n: answer
    with pytest.raises(ClipError, match=message):
        caption_frames(endpoint)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("reason", ["stop", None, "eos"])
def test_a_finished_caption_is_kept(endpoint, reason):
    endpoint.script = lambda n: finished(reason)
    assert caption_frames(endpoint) == "a woman"


def test_half_characters_are_replaced(endpoint):
    endpoint.script = lambda n: b'{"choices": [{"message": {"content": "a \\ud83d"}}]}'
    assert caption_frames(endpoint) == "a ?"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_is_sent_to_no_other_host(endpoint, monkeypatch, status):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    other = Endpoint()
    threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
    endpoint.script = lambda n: (status, other.url + "/chat/completions")
    with pytest.raises(UserError, match=rf"redirects to {other.url}.*; give the URL of the endpoint itself"):
        caption_frames(endpoint)
    other.shutdown()
    other.server_close()
    assert other.requests == []


@pytest.mark.parametrize("key", ["a\nb: c", "k\u00e9y", "a\rb"])
def test_a_key_that_cannot_be_sent_is_an_error_without_the_key(endpoint, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="OPENAI_API_KEY contains characters") as error:
        caption_frames(endpoint)
    assert key not in str(error.value)


def test_white_space_around_a_key_is_left_out(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret\n")
    caption_frames(endpoint)
    assert endpoint.requests[0][1]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/v1", "http://[/v1", "http://a b/v1"])
def test_a_url_that_is_none_ends_the_run(endpoint, url):
    with pytest.raises(UserError, match=r"caption\.url is .*which is not a URL|does not respond"):
        caption_frames(endpoint, url=url, attempts=1)


def test_a_response_in_parts_is_joined(endpoint):
    endpoint.script = lambda n: "parts"
    assert caption_frames(endpoint) == "in parts"


@pytest.mark.parametrize(
    ("failure", "message"), [(503, "status 503"), ("html", "malformed answer: <html>"), ("empty", "empty")]
)
def test_repeated_failure_is_an_error_of_the_clip(endpoint, failure, message):
    endpoint.script = lambda n: failure
    with pytest.raises(ClipError, match=f"caption_failed: .*{message}.*, 3 times"):
        caption_frames(endpoint, attempts=3)
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize("status", [400, 402, 413, 422, 501])
def test_a_request_that_is_refused_is_not_sent_again(endpoint, status):
    endpoint.script = lambda n: status
    with pytest.raises(ClipError, match=f"caption_refused: status {status}"):
        caption_frames(endpoint)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run(endpoint, status):
    endpoint.script = lambda n: status
    with pytest.raises(UserError, match=r"refuses requests .*; check caption.url, caption.model and"):
        caption_frames(endpoint)


def test_no_server_ends_the_run(endpoint):
    with pytest.raises(UserError, match=r"does not respond .*; start the server or change caption.url"):
        caption_frames(endpoint, url="http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(UserError, match="need a URL and a model"):
        caption_frames(endpoint, url="")
    with pytest.raises(UserError, match="expected http"):
        caption_frames(endpoint, url="ftp://127.0.0.1/v1")


def test_placeholders_of_a_custom_prompt_are_filled_in():
    assert build_prompt("{frames} of {people}", 3, 8) == "8 of 3"
    assert "8 frames" in build_prompt("", 3, 8)
    assert "3 people" in build_prompt("", 3, 8)


def captions(workspace):
    return [
        row for shard in list_shards(workspace.captions) for row in read_rows(shard_path(workspace.captions, shard))
    ]


def endpoint_recipe(endpoint, *more):
    settings = ["caption.backend=openai", f"caption.url={endpoint.url}", "caption.model=tiny-vl", *more]
    return load_recipe(None, settings)


def test_kept_clips_are_captioned_from_their_own_frames(kept, endpoint):
    endpoint.min_running = 2
    recipe = endpoint_recipe(endpoint, "caption.num_frames=4", "caption.concurrency=3")
    assert caption(kept.root, recipe=recipe) == {"clips": 4, "errors": 0, "empty": 0}
    assert [row["caption"] for row in captions(kept)] == ["4 images"] * 4
    assert load_recipe(kept.recipe) == recipe  # so that a later `curate` does not caption them again
    assert endpoint.max_running in (2, 3)
    firsts = set()
    for _, _, body in endpoint.requests:
        data = body["messages"][0]["content"][1]["image_url"]["url"].split(",", 1)[1]
        frame = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
        firsts.add(number_of(frame))
    assert firsts == {ord(name) + 6 for name in "abcd"}  # the frame at a quarter second


def test_only_failed_clips_are_captioned_again(kept, endpoint):
    recipe = endpoint_recipe(endpoint, "caption.concurrency=1", "caption.attempts=1")
    endpoint.script = lambda n: 503 if n in (1, 2) else "ok"
    assert caption(kept.root, recipe=recipe) == {"clips": 4, "errors": 2, "empty": 0}
    assert Counter(row["error"] for row in captions(kept)) == {"": 2, "caption_failed": 2}
    assert caption(kept.root, recipe=recipe) == {"clips": 2, "errors": 0, "empty": 0}
    assert len(endpoint.requests) == 6
    assert caption(kept.root, recipe=recipe) == {"clips": 0, "errors": 0, "empty": 0}
    assert caption(kept.root, recipe=endpoint_recipe(endpoint, "caption.prompt=Who?"))["clips"] == 4


def test_an_interrupted_run_writes_no_partial_shard(kept, endpoint):
    endpoint.script = lambda n: 401 if n == 2 else "ok"
    with pytest.raises(UserError, match="refuses requests"):
        caption(kept.root, recipe=endpoint_recipe(endpoint, "caption.concurrency=1"))
    assert captions(kept) == []


def test_clips_that_are_no_longer_kept_are_not_captioned(kept, endpoint):
    caption(kept.root, recipe=endpoint_recipe(endpoint))
    strict = load_recipe(None, ["keep.motion.min_expression=9"])
    select(kept.root, recipe=strict)
    assert CaptionStage(kept, endpoint_recipe(endpoint)).shards() == []
    select(kept.root, recipe=load_recipe())
    assert caption(kept.root, recipe=endpoint_recipe(endpoint))["clips"] == 0


def test_the_source_backend_uses_the_collections_text(kept):
    assert caption(kept.root, recipe=load_recipe()) == {"clips": 4, "errors": 0, "empty": 4}
    assert [row["caption"] for row in captions(kept)] == [row["caption"] for row in load_index(kept)]


def test_the_backend_none_writes_nothing(kept):
    assert caption(kept.root, recipe=load_recipe(None, ["caption.backend=none"])) == {
        "clips": 0,
        "errors": 0,
        "empty": 0,
    }


def test_captions_need_verdicts(workspace):
    with pytest.raises(UserError, match="multiexpr select"):
        caption(workspace.root)


def test_empty_captions_are_reported(kept, capsys):
    """The collection has no text, and the backend `none` writes none: neither happens in silence."""
    change_index(kept, 0, lambda rows: [{**row, "caption": "" if i else "text"} for i, row in enumerate(rows)])
    assert caption(kept.root, recipe=load_recipe())["empty"] == 3
    assert "caption: 3 of 4 captions are empty, because the collection has no text" in capsys.readouterr().err
    assert caption(kept.root, recipe=load_recipe(None, ["caption.backend=none"]))["empty"] == 0
    assert "all captions of the dataset are empty" in capsys.readouterr().err


def test_a_failed_caption_changes_no_settings(kept):
    save_recipe(kept.recipe, load_recipe())
    before = kept.recipe.read_bytes()
    for settings in (["caption.backend=openai"], ["caption.backend=cogvlm2", "caption.model=/nowhere"],
                     ["caption.backend=openai", "caption.url=http://127.0.0.1:9/v1", "caption.model=m",
                      "caption.attempts=1"]):  # fmt: skip
        with pytest.raises(UserError):
            caption(kept.root, recipe=load_recipe(None, settings))
        assert kept.recipe.read_bytes() == before
