"""Model files: looked for, fetched from a server of the test's own, held against their hashes."""

from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from exprbench import cli, weights
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_bytes
from exprbench.metrics import METRICS, PROFILES

CONTENT = bytes(range(256)) * 5000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which its files can be had."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def entry(served, own_cache, tmp_path, monkeypatch):
    """A model file that the server has."""
    folder, address = served
    (folder / "net.pt").write_bytes(CONTENT)
    made = replace(
        weights.get("inception"),
        name="net",
        filename="net.pt",
        url=f"{address}/net.pt",
        num_bytes=len(CONTENT),
        sha256=sha256_bytes(CONTENT),
        exports=("net.onnx",),
    )
    monkeypatch.setitem(weights.ALL, "net", made)
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "mine"))
    return made


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_once_and_whole(entry, served, own_cache):
    assert weights.state(entry) == "missing"
    path = weights.fetch("net")
    assert path.read_bytes() == CONTENT
    assert files(own_cache) == ["net.pt"]
    (served[0] / "net.pt").unlink()
    assert weights.fetch("net") == path
    assert weights.require("net") == path
    assert weights.state(entry) == "verified"


def test_another_file_than_the_published_one_is_not_kept(entry, served, own_cache):
    (served[0] / "net.pt").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="is not the published file"):
        weights.fetch("net")
    assert files(own_cache) == []


def test_offline_one_line_says_what_to_put_where(entry, served, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(weights.ALL, "net", replace(entry, url="http://127.0.0.1:9/net.pt"))
    assert cli.main(["weights", "fetch", "net"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("net.pt", "http://127.0.0.1:9/net.pt", entry.sha256, str(tmp_path / "mine")):
        assert part in line


def test_a_file_without_a_download_says_where_to_get_it(monkeypatch, entry):
    monkeypatch.setitem(weights.ALL, "net", replace(entry, url=""))
    with pytest.raises(UserError, match=r"no direct download; put net\.pt from github"):
        weights.fetch("net")


def test_a_changed_file_is_refused_where_it_lies(entry, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.pt").write_bytes(b"something else")
    assert weights.state(entry) == "differs"
    with pytest.raises(weights.WeightsError, match="weights_differ"):
        weights.require("net")
    assert cli.main(["weights", "verify", "net"]) == 3
    assert "differs" in capsys.readouterr().out


def test_folders_are_searched_in_their_order(entry, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "net.pt").write_bytes(CONTENT)
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", f"{first}:{second}")
    assert weights.locate("net") == first / "net.pt"
    (first / "net.pt").unlink()
    assert weights.locate("net") == second / "net.pt"


def test_the_list_names_every_file_and_where_it_is(entry, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.onnx").write_bytes(b"")
    assert cli.main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(weights.ALL)
    assert lines[-2].split()[:2] == ["net", "exported"]
    assert lines[-1].strip() == str(tmp_path / "mine" / "net.onnx")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'inception'"):
        weights.get("incepton")


def test_an_empty_entry_of_the_path_is_not_the_current_folder(entry, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "net.pt").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", f"{tmp_path / 'mine'}:")
    assert weights.locate("net") is None


def test_a_file_without_a_published_hash_is_accepted(entry, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.pt").write_bytes(b"whatever")
    monkeypatch.setitem(weights.ALL, "net", replace(entry, sha256=""))
    assert weights.state(weights.get("net")) == "present"
    assert weights.require("net") == weights.fetch("net") == tmp_path / "mine" / "net.pt"


def test_a_file_that_differs_is_fetched_into_the_cache_and_not_replaced(entry, tmp_path, own_cache):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.pt").write_bytes(b"something else")
    assert weights.fetch("net") == own_cache / "weights" / "net.pt"
    assert (tmp_path / "mine" / "net.pt").read_bytes() == b"something else"
    assert (own_cache / "weights" / "net.pt").read_bytes() == CONTENT


def test_a_folder_can_be_an_export_but_not_a_model_file(entry, tmp_path):
    (tmp_path / "mine" / "net.pt").mkdir(parents=True)
    assert weights.locate("net") is None
    (tmp_path / "mine" / "net.onnx").mkdir()
    assert weights.locate_export("net") == tmp_path / "mine" / "net.onnx"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_model_file_of_a_profile_can_be_fetched_and_verified(profile):
    for name in {name for metric in METRICS.values() for name in metric.weights.get(profile, ())}:
        file = weights.get(name)
        assert file.url.startswith("https://") or file.comes_with, name
        assert len(file.sha256) == 64
        assert file.num_bytes > 0


def test_a_package_that_reads_a_file_is_asked_for_by_the_name_of_its_extra(monkeypatch, entry):
    weights.require_package("net")
    monkeypatch.setitem(weights.ALL, "net", replace(entry, package="no_such_package", extra="paper"))
    with pytest.raises(weights.WeightsError, match=r"package_missing: .* pip install 'exprbench\[paper\]'"):
        weights.require_package("net")
