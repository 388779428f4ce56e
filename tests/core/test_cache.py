import threading
import time

import pytest
from filelock import FileLock, Timeout

from exprbench import UserError
from exprbench.core.cache import cache_root, cached, entry_lock, entry_path, read_entry, write_entry


def test_what_is_kept_is_found_again(own_cache):
    write_entry("kind", {"a": 1}, b"body")
    assert read_entry("kind", {"a": 1}) == b"body"
    assert read_entry("kind", {"a": 2}) is None
    assert read_entry("other", {"a": 1}) is None


def test_the_order_of_a_keys_names_does_not_matter(own_cache):
    assert entry_path("kind", {"a": 1, "b": 2}) == entry_path("kind", {"b": 2, "a": 1})


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:3] + b"?" + d[4:], lambda d: d + b"x"]
)
def test_a_damaged_entry_is_no_entry(own_cache, damage):
    write_entry("kind", 1, b"body of some length")
    path = entry_path("kind", 1)
    path.write_bytes(damage(path.read_bytes()))
    assert read_entry("kind", 1) is None


def test_values_are_made_once(own_cache):
    made = []

    def make():
        made.append(1)
        return "value"

    for _ in range(3):
        assert cached("kind", "key", make, str.encode, bytes.decode) == "value"
    assert len(made) == 1


def test_an_empty_value_is_cached(own_cache):
    made = []
    for _ in range(2):
        assert cached("kind", "key", lambda: made.append(1) or "", str.encode, bytes.decode) == ""
    assert len(made) == 1


def test_a_lock_is_of_one_kind_and_one_key(own_cache):
    with entry_lock("kind", 1):
        with pytest.raises(Timeout):
            FileLock(entry_path("locks/kind", 1), timeout=0).acquire()
        for kind, key in (("other", 1), ("kind", 2)):
            path = entry_path(f"locks/{kind}", key)
            path.parent.mkdir(parents=True, exist_ok=True)
            FileLock(path, timeout=0).acquire().lock.release()


def test_what_is_being_made_is_waited_for(own_cache):
    order = []

    def hold():
        with entry_lock("kind", "key"):
            order.append("first")
            time.sleep(0.3)
            order.append("first done")

    thread = threading.Thread(target=hold)
    thread.start()
    while not order:
        time.sleep(0.01)
    with entry_lock("kind", "key"):
        order.append("second")
    thread.join()
    assert order == ["first", "first done", "second"]


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("EXPRBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "exprbench"


def test_a_cache_that_cannot_be_written_says_what_to_set(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="EXPRBENCH_CACHE"):
        write_entry("kind", 1, b"x")


def test_a_folder_where_an_entry_belongs_is_the_users_to_mend(own_cache):
    entry_path("kind", 1).mkdir(parents=True)
    assert read_entry("kind", 1) is None
    with pytest.raises(UserError, match="EXPRBENCH_CACHE"):
        write_entry("kind", 1, b"x")


def test_a_failed_write_leaves_the_previous_entry(own_cache, small_disk):
    write_entry("kind", 1, b"whole")
    with pytest.raises(OSError, match="too large"):
        write_entry("kind", 1, bytes(5000))
    assert read_entry("kind", 1) == b"whole"
    with pytest.raises(OSError, match="too large"):
        write_entry("kind", 2, bytes(5000))
    assert [p for p in own_cache.rglob("*") if p.is_file()] == [entry_path("kind", 1)]
