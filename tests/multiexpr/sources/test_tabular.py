import pytest

from exprbench import UserError
from multiexpr.sources.tabular import (
    CAPTIONS,
    column_names,
    iter_rows,
    normalize_name,
    parse_columns,
    parse_scores,
    pop_caption,
)


@pytest.mark.parametrize(
    ("name", "normal"),
    [("aesthetic score", "aesthetic_score"), (" FPS ", "fps"), ("a/b (c)", "a_b_c"), ("Unnamed: 3", "unnamed_3")],
)
def test_names_of_columns_are_normalised(name, normal):
    assert normalize_name(name) == normal


def rows_in(path, text):
    path.write_text(text, encoding="utf-8")
    return list(iter_rows(path))


def test_tables_are_read_as_people_write_them(tmp_path):
    long = "x" * 200_000
    rows = rows_in(tmp_path / "t.csv", f"\ufeffA b,,c\n1,2,{long}\n\n,,\n1,2,3,,\n4\0,,\n")
    assert rows == [{"a_b": "1", "c": long}, {"a_b": "1", "c": "3"}, {"a_b": "4"}]
    assert rows_in(tmp_path / "t.tsv", "a\tb,c\n1\t2,3\n") == [{"a": "1", "b_c": "2,3"}]
    assert column_names(tmp_path / "t.tsv") == ["a", "b_c"]
    assert rows_in(tmp_path / "t.jsonl", '\ufeff{"A": 1, "b": null, "c": ""}\n\n') == [{"a": 1}]
    assert rows_in(tmp_path / "t.json", '{"x.mp4": {"a": 1}, "y.mp4": {"a": 2}}') == [
        {"name": "x.mp4", "a": 1}, {"name": "y.mp4", "a": 2}]  # fmt: skip
    assert rows_in(tmp_path / "t.json", '[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]
    assert rows_in(tmp_path / "t.json", '{"a": 1}') == [{"a": 1}]


@pytest.mark.parametrize(("name", "text", "where"), [
    ("t.csv", "a,b\n1,2,3\n", "t.csv, line 2"), ("t.jsonl", "{}\n[1]\n{", "t.jsonl, line 1"),
    ("t.json", "{", "t.json"), ("t.json", "[1]", "t.json"), ("t.parquet", "text", "t.parquet"),
])  # fmt: skip
def test_what_cannot_be_read_of_a_table_is_a_problem(tmp_path, name, text, where):
    problem = rows_in(tmp_path / name, text)[0]
    assert (problem.kind, problem.path) == ("unreadable", where)


def test_a_caption_is_taken_from_the_first_column_that_is_one():
    row = {name: f" {name} " for name in reversed(CAPTIONS)} | {"score": "1.5", "note": "x", "list": [1], "bad": "nan"}
    assert pop_caption(row) == "caption"
    assert parse_scores(row) == {"score": 1.5, "note": "x", "list": "[1]", "bad": "nan"}
    assert pop_caption({"score": 1}) == ""


@pytest.mark.parametrize("text", ["path", "=x", "path=", "path=a,b"])
def test_names_of_columns_that_are_none(text):
    with pytest.raises(UserError, match="OURS=THEIRS"):
        parse_columns(text)
    assert parse_columns(" path = a ,caption=b") == {"path": "a", "caption": "b"}
