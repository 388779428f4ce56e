import base64
import json
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from exprbench import UserError
from multiexpr import caption, index, select
from multiexpr.captions import openai
from multiexpr.captions.prompt import prompt_for
from multiexpr.captions.stage import CaptionStage
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.indexing.stage import load_index
from multiexpr.recipe import load_recipe
from multiexpr.sources.locate import ClipError
from multiexpr.storage.parquet import read_rows, shard_path, shards_in
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.made import COLUMNS, ORDER, good
from tests.videos import number_of

FRAMES = [np.full((48, 80, 3), 40 * i, np.uint8) for i in range(3)]


class Endpoint(ThreadingHTTPServer):
    """A small server that speaks the OpenAI protocol; `script(n)` says how the n-th request is answered."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.script = lambda n: "ok"
        self.seen = []
        self.running = self.most_running = 0
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            n = len(server.seen)
            server.seen.append((self.path, dict(self.headers), body))
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        what = server.script(n)
        time.sleep(0.05)
        if what == "slow":
            time.sleep(3)
        with server.lock:
            server.running -= 1
        if what == "drop":
            self.connection.close()
        elif isinstance(what, int):
            self._send(what, b'{"error": "busy"}', {"Retry-After": "0"} if what == 429 else {})
        else:
            self._send(200, _body(what, body))

    def _send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def _body(what, request):
    if what == "html":
        return b"<html>proxy says hello</html>"
    content = {
        "empty": "  ",
        "none": None,
        "parts": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}],
    }.get(what, f"{len(request['messages'][0]['content']) - 1} images")
    return json.dumps({"choices": [] if what == "no choice" else [{"message": {"content": content}}]}).encode()


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr(openai, "FIRST_WAIT_S", 0.01)
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def asked(endpoint, **changes):
    params = replace(load_recipe().caption, backend="openai", url=endpoint.url, model="tiny-vl", timeout_s=1.0)
    return openai.OpenAI(replace(params, **changes)).caption(FRAMES, 2)


def test_the_request_is_what_the_protocol_wants(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert asked(endpoint) == "3 images"
    ((path, headers, body),) = endpoint.seen
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny-vl", 0, 400)
    text, *images = body["messages"][0]["content"]
    assert "shows 2 people" in text["text"]
    assert "from left to right" in text["text"]
    for image, frame in zip(images, FRAMES, strict=True):
        kind, data = image["image_url"]["url"].split(",", 1)
        assert kind == "data:image/jpeg;base64"
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.abs(decoded.astype(int) - frame).max() < 4


@pytest.mark.parametrize("trouble", [429, 500, 503, "drop", "html", "empty", "none", "no choice", "slow"])
def test_trouble_that_passes_costs_nothing(endpoint, trouble):
    endpoint.script = lambda n: trouble if n == 0 else "ok"
    assert asked(endpoint) == "3 images"
    assert len(endpoint.seen) == 2


def test_an_answer_in_parts(endpoint):
    endpoint.script = lambda n: "parts"
    assert asked(endpoint) == "in parts"


@pytest.mark.parametrize(
    ("trouble", "told"), [(503, "status 503"), ("html", "malformed answer: <html>"), ("empty", "empty")]
)
def test_trouble_that_lasts_is_the_clips_error(endpoint, trouble, told):
    endpoint.script = lambda n: trouble
    with pytest.raises(ClipError, match=f"caption_failed: .*{told}.*, 3 times"):
        asked(endpoint, attempts=3)
    assert len(endpoint.seen) == 3


def test_a_request_that_is_refused_is_not_sent_again(endpoint):
    endpoint.script = lambda n: 400
    with pytest.raises(ClipError, match="caption_refused: status 400"):
        asked(endpoint)
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_ends_the_run(endpoint, status):
    endpoint.script = lambda n: status
    with pytest.raises(UserError, match=r"see caption.url, caption.model and"):
        asked(endpoint)


def test_no_server_ends_the_run(endpoint):
    with pytest.raises(UserError, match="gives no answer"):
        asked(endpoint, url="http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(UserError, match="need its address and a model"):
        asked(endpoint, url="")
    with pytest.raises(UserError, match="expected http"):
        asked(endpoint, url="ftp://127.0.0.1/v1")


def test_prompts_of_ones_own():
    assert prompt_for("{frames} of {people}", 3, 8) == "8 of 3"


@pytest.fixture
def kept(tmp_path, drawn):
    """Four kept clips that really are there, in one shard."""
    import pyarrow as pa

    from multiexpr.storage.parquet import write_rows
    from multiexpr.storage.score_files import STATE

    index(drawn, tmp_path / "out", execution=ExecutionConfig(workers=0))
    workspace = Workspace(tmp_path / "out")
    for name in ORDER:
        values = good(length_s=2.0)[name]
        head = [{"clip_id": r["clip_id"], "stamp": r["stamp"], "state": "scored"} for r in load_index(workspace)]
        write_rows(
            shard_path(workspace.scores(name), 0), [{**h, **values} for h in head], pa.schema([*STATE, *COLUMNS[name]])
        )
    select(workspace.root)
    return workspace


def captions(workspace):
    return [row for shard in shards_in(workspace.captions) for row in read_rows(shard_path(workspace.captions, shard))]


def of(endpoint, *more):
    settings = ["caption.backend=openai", f"caption.url={endpoint.url}", "caption.model=tiny-vl", *more]
    return load_recipe(None, settings)


def test_kept_clips_are_captioned_from_their_own_frames(kept, endpoint):
    recipe = of(endpoint, "caption.num_frames=4", "caption.concurrency=3")
    assert caption(kept.root, recipe=recipe) == {"clips": 4, "errors": 0}
    assert [row["caption"] for row in captions(kept)] == ["4 images"] * 4
    assert load_recipe(kept.recipe) == recipe  # a later `curate` does not caption them anew
    assert 1 < endpoint.most_running <= 3
    firsts = set()
    for _, _, body in endpoint.seen:
        data = body["messages"][0]["content"][1]["image_url"]["url"].split(",", 1)[1]
        frame = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
        firsts.add(number_of(frame))
    assert firsts == {ord(name) + 6 for name in "abcd"}  # the frame at a quarter second


def test_what_is_captioned_is_not_asked_for_again_and_what_failed_is(kept, endpoint):
    recipe = of(endpoint, "caption.concurrency=1", "caption.attempts=1")
    endpoint.script = lambda n: 503 if n in (1, 2) else "ok"
    assert caption(kept.root, recipe=recipe) == {"clips": 4, "errors": 2}
    assert Counter(row["error"] for row in captions(kept)) == {"": 2, "caption_failed": 2}
    assert caption(kept.root, recipe=recipe) == {"clips": 2, "errors": 0}
    assert len(endpoint.seen) == 6
    assert caption(kept.root, recipe=recipe) == {"clips": 0, "errors": 0}
    assert caption(kept.root, recipe=of(endpoint, "caption.prompt=Who?"))["clips"] == 4


def test_a_run_that_is_stopped_keeps_whole_shards(kept, endpoint):
    endpoint.script = lambda n: 401 if n == 2 else "ok"
    with pytest.raises(UserError, match="refuses"):
        caption(kept.root, recipe=of(endpoint, "caption.concurrency=1"))
    assert captions(kept) == []


def test_clips_no_longer_kept_lose_their_captions(kept, endpoint):
    caption(kept.root, recipe=of(endpoint))
    strict = load_recipe(None, ["keep.motion.min_expression=9"])
    select(kept.root, recipe=strict)
    assert CaptionStage(kept, of(endpoint)).shards() == []
    select(kept.root, recipe=load_recipe())
    assert caption(kept.root, recipe=of(endpoint))["clips"] == 0


def test_the_collections_own_text(kept):
    assert caption(kept.root, recipe=load_recipe()) == {"clips": 4, "errors": 0}
    assert [row["caption"] for row in captions(kept)] == [row["caption"] for row in load_index(kept)]


def test_none_writes_nothing(kept):
    assert caption(kept.root, recipe=load_recipe(None, ["caption.backend=none"])) == {"clips": 0, "errors": 0}


def test_captions_need_verdicts(tmp_path, drawn):
    index(drawn, tmp_path / "out", execution=ExecutionConfig(workers=0))
    with pytest.raises(UserError, match="multiexpr select"):
        caption(tmp_path / "out")
