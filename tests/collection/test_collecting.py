"""Fetching from a server that misbehaves: a file that fails has a code, and the rest goes on."""

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from exprbench import collect
from exprbench.cli import main
from exprbench.collection import collecting
from exprbench.core.errors import UserError
from exprbench.core.locks import sole_writer

A, B = "driving/a.mp4", "portraits/b.png"
NAME = "driving-a.mp4"


def outcomes(collection):
    return {item.file.path: item.code or item.outcome for item in collection.files}


def test_files_are_fetched_verified_and_listed(server, manifest, tmp_path):
    path = manifest(A, B, author="Ada, the first", licence="CC-BY-4.0", person="Ada;Bo", source="https://example.org/1")
    found = collect(path, tmp_path / "in", wait_s=0)
    assert outcomes(found) == {A: "fetched", B: "fetched"}
    assert (tmp_path / "in" / A).read_bytes() == server.files[NAME]
    with (tmp_path / "in/driving/sources.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "file": "a.mp4", "source": "https://example.org/1", "url": server.url(NAME), "author": "Ada, the first",
        "licence": "CC-BY-4.0", "person": "Ada;Bo", "faces": "", "start_s": "",
    }  # fmt: skip
    assert not (tmp_path / "in/.partial").exists()


def test_a_second_run_fetches_nothing(server, manifest, tmp_path):
    path = manifest(A, B)
    collect(path, tmp_path / "in", wait_s=0)
    server.requests.clear()
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "present", B: "present"}
    assert server.requests == []


def test_a_changed_file_is_replaced(server, manifest, tmp_path):
    path = manifest(A)
    collect(path, tmp_path / "in", wait_s=0)
    (tmp_path / "in" / A).write_bytes(b"changed")
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "fetched"}
    assert (tmp_path / "in" / A).read_bytes() == server.files[NAME]


def test_an_interrupted_download_continues_where_it_stopped(server, manifest, tmp_path):
    path = manifest(A, B)
    size = len(server.files[NAME])
    server.behaviour[NAME] = "cut 10000"
    first = collect(path, tmp_path / "in", wait_s=0)
    assert outcomes(first) == {A: "interrupted", B: "fetched"}
    assert [r for p, r in server.requests if p == NAME] == [None, "bytes=10000-", "bytes=20000-"]
    assert not (tmp_path / "in" / A).exists()
    del server.behaviour[NAME]
    server.requests.clear()
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "fetched", B: "present"}
    assert server.requests == [(NAME, "bytes=30000-")]
    assert size > 30000
    assert (tmp_path / "in" / A).read_bytes() == server.files[NAME]


def test_a_server_without_ranges_sends_it_all_again(server, manifest, tmp_path):
    path = manifest(A)
    partial = tmp_path / "in/.partial"
    partial.mkdir(parents=True)
    sha256 = json.loads(path.read_text())["files"][0]["sha256"]
    (partial / sha256).write_bytes(b"other bytes")
    server.behaviour[NAME] = "no-range"
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "fetched"}


@pytest.mark.parametrize("extra", [b"", b"too long"])
def test_a_partial_file_that_is_complete_or_too_long_is_handled(server, manifest, tmp_path, extra):
    path = manifest(A)
    partial = tmp_path / "in/.partial"
    partial.mkdir(parents=True)
    sha256 = json.loads(path.read_text())["files"][0]["sha256"]
    (partial / sha256).write_bytes(server.files[NAME] + extra)
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "fetched"}
    assert (tmp_path / "in" / A).read_bytes() == server.files[NAME]


FAILURES = [
    ("status 404", "http_404"),
    ("status 403", "http_403"),
    ("status 503", "http_503"),
    ("to file:///etc/hostname", "redirect_refused"),
    ("to ftp://127.0.0.1/x", "redirect_refused"),
    ("to data:text/plain,x", "redirect_refused"),
    ("to /driving-a.mp4", "redirect_refused"),  # to itself, for ever
    ("claim 99999999", "too_large"),
    ("endless", "too_large"),
]


@pytest.mark.parametrize(("behaviour", "code"), FAILURES)
def test_one_file_fails_and_the_rest_goes_on(server, manifest, tmp_path, behaviour, code):
    path = manifest(A, B)
    server.behaviour[NAME] = behaviour
    found = collect(path, tmp_path / "in", wait_s=0)
    assert outcomes(found) == {A: code, B: "fetched"}
    assert not (tmp_path / "in" / A).exists()
    assert "a.mp4" not in (tmp_path / "in/driving/sources.csv").read_text()


def test_a_wrong_hash_is_an_error_and_the_file_is_not_kept(server, manifest, tmp_path):
    path = manifest(A, B)
    server.files[NAME] = server.files[NAME][::-1]
    found = collect(path, tmp_path / "in", wait_s=0)
    assert outcomes(found) == {A: "hash_mismatch", B: "fetched"}
    assert list((tmp_path / "in/.partial").iterdir()) == []


def test_a_redirect_to_http_is_followed_and_a_passing_failure_is_tried_again(server, manifest, tmp_path):
    path = manifest(A, B)
    server.files["moved"] = server.files[NAME]
    server.behaviour = {NAME: f"to {server.url('moved')}", "portraits-b.png": "once 503"}
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "fetched", B: "fetched"}


def test_a_redirect_from_https_to_http_is_refused():
    import urllib.request

    from exprbench.collection.download import _SafeRedirect
    from exprbench.core.errors import ItemError

    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(ItemError, match="redirects to http: "):
        _SafeRedirect().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_server_that_is_not_there(server, manifest, tmp_path):
    path = manifest(A, url="http://127.0.0.1:1/a.mp4")
    assert outcomes(collect(path, tmp_path / "in", wait_s=0)) == {A: "unreachable"}


def test_a_size_above_the_limit_is_not_asked_for(server, manifest, tmp_path):
    path = manifest(A)
    assert outcomes(collect(path, tmp_path / "in", max_mb=0.01, wait_s=0)) == {A: "too_large"}
    assert server.requests == []


@pytest.mark.parametrize("host", ["pexels.com", "images.PEXELS.com", "www.pexels.com"])
def test_a_site_whose_terms_ask_for_permission_is_not_fetched_without_it(manifest, tmp_path, host, monkeypatch):
    path = manifest(A, url=f"https://{host}/a.mp4")
    found = collect(path, tmp_path / "in", wait_s=0)
    assert outcomes(found) == {A: "permission_needed"}
    assert "--permitted pexels.com" in found.failed[0].detail
    asked = []
    monkeypatch.setattr(collecting, "download", lambda url, partial, **_: (asked.append(url), partial.touch()))
    assert outcomes(collect(path, tmp_path / "in", permitted=["pexels.com"], wait_s=0)) == {A: "fetched"}
    assert asked == [f"https://{host}/a.mp4"]


def test_a_site_of_a_similar_name_is_another(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "download", lambda url, partial, **_: partial.touch())
    assert outcomes(collect(manifest(A, url="https://notpexels.com/a"), tmp_path / "in")) == {A: "fetched"}


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("../a.mp4", {}, "its folder is '..'"),
        ("/etc/passwd", {}, "its folder is ''"),
        ("driving/../../a.mp4", {}, "not a plain file name"),
        ("driving/..", {}, "not a plain file name"),
        ("driving/", {}, "not a plain file name"),
        ("driving/.bashrc", {}, "not a plain file name"),
        ("driving/a\\b.mp4", {}, "not a plain file name"),
        ("driving/a\x00.mp4", {}, "not a plain file name"),
        (f"driving/{'x' * 300}.mp4", {}, "not a plain file name"),
        ("driving/Sources.CSV", {}, "taken by the list of sources"),
        (A, {"url": "file:///etc/passwd"}, "expected http:// or https://"),
        (A, {"url": "ftp://example.org/a"}, "expected http:// or https://"),
        (A, {"url": ""}, "expected http:// or https://"),
        (A, {"url": "http://example.org/a b"}, "expected http:// or https://"),
        (A, {"url": "http://me:secret@example.org/a"}, "has a user name or password"),
        (A, {"url": "http://[::1/a"}, "is not valid"),
        (A, {"sha256": "abc"}, "expected 64 hexadecimal digits"),
        (A, {"num_bytes": -1}, "expected 0 or more"),
        (A, {"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_an_unsafe_manifest_is_refused_as_a_whole(server, manifest, tmp_path, path, changes, message):
    with pytest.raises(UserError) as error:
        collect(manifest(path, **changes), tmp_path / "in")
    assert message in str(error.value)
    assert server.requests == []
    assert not (tmp_path / "in").exists()


def test_one_name_twice_is_refused(manifest, tmp_path):
    with pytest.raises(UserError, match="is listed twice"):
        collect(manifest("driving/a.mp4", "driving/A.mp4"), tmp_path / "in")


def test_a_link_out_of_the_folder_is_not_followed(manifest, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/driving").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="leads out of"):
        collect(manifest(A), tmp_path / "in", wait_s=0)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_command_lists_failures_and_ends_with_3(server, manifest, tmp_path, capsys):
    path = manifest(A, B)
    server.behaviour[NAME] = "status 404"
    assert main(["collect", str(path), "--out", str(tmp_path / "in")]) == 3
    shown = capsys.readouterr()
    assert "driving/a.mp4: http_404: " in shown.err
    assert shown.out == f"1 of 2 files in {tmp_path / 'in'}\n"
    del server.behaviour[NAME]
    assert main(["collect", str(path), "--out", str(tmp_path / "in")]) == 0
    assert "build with    exprbench build --portraits " in capsys.readouterr().out


def test_a_folder_into_which_another_run_collects_is_refused(server, manifest, tmp_path):
    path = manifest(A)
    with sole_writer(tmp_path / "in"), ThreadPoolExecutor(1) as other:
        second = other.submit(collect, path, tmp_path / "in")
        with pytest.raises(UserError, match=rf"in is being written by process {os.getpid()} of .*; wait for it"):
            second.result()
    assert server.requests == []
