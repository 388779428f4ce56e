"""The field's words: docstrings begin with a verb, and words that no reader of the field expects stay out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("exprbench", "multiexpr", "baselines", "fantasyportrait")
PAGES = ("*.md", "docs/*.md", "benchmarks/*.md", "examples/*.py", "multiexpr/*.toml")

QUAINT = re.compile(
    r"\b(told|tells?|anew|mend(s|ed|ing)?|befell|befall|whom|sights?|nobody|somebody|everybody|lies|lay|lie|besides?"
    r"|so many|so much as|to be had|by way of|made otherwise|of its own accord|(to|at) hand|held to account|goes on where"
    r"|what (it|they|was|is) (came|come|comes|made|said|given|asked|seen|there)"
    r"|keep to ourselves"
    r"|(an?|the|one|some|any|each|two|first|second) looks?|looks? (at itself|upon)|(is|of) no matter"
    r"|hence|thereof|wherein|whereby|whilst|amongst|albeit|upon|betwixt|thereby|forthwith)\b",
    re.IGNORECASE,
)
NOT_A_VERB = re.compile(
    r"(the|an?|one|two|three|what|whom?|where|when|how|is|are|was|were|its|his|her|their|our|your|of|in|by|to|for|from"
    r"|with|at|as|on|that|this|these|those|whether|which|every|each|all|no|none|nothing|same|both|if|so|up|under|over"
    r"|half|seconds|names?|rows|columns)",
    re.IGNORECASE,
)


def source_files():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def text_files():
    pages = {page for pattern in PAGES for page in ROOT.glob(pattern)}
    return sorted([*source_files(), *pages])


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", text_files(), ids=name_of)
def test_words_that_no_reader_of_the_field_expects_stay_out(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    found = [f"{i}: {m[0]!r} in {line.strip()}" for i, line in enumerate(lines, 1) for m in QUAINT.finditer(line)]
    assert found == []


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_docstrings_of_functions_begin_with_a_verb(path):
    odd = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (doc := ast.get_docstring(node)):
            word = re.match(r"\W*([A-Za-z]+)", doc)
            if not word or NOT_A_VERB.fullmatch(word[1]) or not word[1][0].isupper():
                odd.append(f"{node.name}: {doc.splitlines()[0]}")
    assert odd == []


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_names_are_the_fields(path):
    quaint = re.compile(r"(?:^|_)(told|tell|tells|lies|beside|anew|mend|mended|nobody|somebody|sight|whom)(?:_|$)")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    names |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    assert {name for name in names if quaint.search(name)} == set()
