import errno

import pytest

from exprbench.core.errors import UserError
from exprbench.media import MediaError
from multiexpr.execution.worker import _Worker
from multiexpr.sources.catalogue import stamp_of


@pytest.fixture
def request_for(tmp_path):
    """A request about a file that is as it was listed, and a worker whose one task raises what it is told to."""
    (tmp_path / "clip.mp4").write_bytes(b"bytes")
    clip = {"path": "clip.mp4", "parts": [], "problem": "", "stamp": stamp_of(tmp_path, ("clip.mp4",))}

    def make(trouble):
        def task(request):
            raise trouble

        worker = _Worker({"root": str(tmp_path), "recipe": {}})
        worker.tasks["score"] = task
        return worker.answer({"task": "score", "clip": clip})

    return make


@pytest.mark.parametrize(
    ("trouble", "answer"),
    [
        (MediaError("truncated", "it ends early"), {"error": ["truncated", "it ends early"]}),
        (UserError("no model"), {"fatal": "no model"}),
        (OSError(errno.ENOSPC, "full", "a.mp4"), {"fatal": "No space left on device: a.mp4"}),
        (OSError(errno.EROFS, "", "a.mp4"), {"fatal": "Read-only file system: a.mp4"}),
    ],
)
def test_trouble_is_the_clips_or_the_users(request_for, trouble, answer):
    assert request_for(trouble) == answer


@pytest.mark.parametrize("trouble", [KeyError("x"), OSError(errno.EBADF, "bad", "a.mp4")])
def test_anything_else_is_a_bug_and_told_as_one(request_for, trouble):
    assert "Traceback" in request_for(trouble)["bug"]
