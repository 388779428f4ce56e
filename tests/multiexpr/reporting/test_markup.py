"""HTML of the report."""

from multiexpr.reporting.markup import Html, code, note, page, section, table, text


def test_markup_escapes_text():
    assert text("<b>") == "&lt;b&gt;"
    assert text(Html("<b>")) == "<b>"
    assert text(1234567) == "1,234,567"
    assert '<td class="n">3</td>' in table([["<x>", 3]])
    assert "&lt;x&gt;" in table([["<x>", 3]])


def test_everything_from_outside_is_escaped_wherever_it_stands():
    for made in (code("<&"), note("<&"), section("<&", "<&"), table([["<&"]], ["<&"]), page("<&", "<&")):
        assert "<&" not in made
        assert "&lt;&amp;" in made
    assert page("a", Html("<br>")).count("<br>") == 1
    assert '<meta charset="utf-8">' in page("a")


def test_numbers_and_headings_of_numbers_stand_to_the_right():
    right = ' class="n"'
    assert table([[1, 2.5, " 7 %", "a"]]).count(right) == 3
    assert table([], ["name", " clips"]) == f"<table><tr><th>name</th><th{right}>clips</th></tr></table>"
    assert table([["a"]]) == "<table><tr><td>a</td></tr></table>"
    assert text(2.5) == "2.5"
