"""`source_rules.py` finds what it is there to find, and nothing else."""

import pytest
from source_rules import (
    EXCEPTIONS,
    SourceFile,
    check_attribute_docstrings,
    check_class_names,
    check_exceptions,
    check_lengths,
    check_words,
    main,
)

FIELD = '''class Holder:
    size: {kind} = {value}
    """{docstring}"""
'''


def lines_of(count: int, first: str = "def long():") -> str:
    """A function of so many lines, counted from its `def`."""
    return first + "\n    pass" * (count - 1) + "\n"


@pytest.mark.parametrize(("count", "found"), [(50, 0), (51, 1)])
def test_functions_have_at_most_50_lines(count: int, found: int) -> None:
    assert len(list(check_lengths(SourceFile("a.py", lines_of(count))))) == found


@pytest.mark.parametrize(("count", "found"), [(400, 0), (401, 1)])
def test_modules_have_at_most_400_lines(count: int, found: int) -> None:
    assert len(list(check_lengths(SourceFile("a.py", "x = 1\n" * count)))) == found


@pytest.mark.parametrize("decorator", ["@njit", "@njit(**INLINE)", "@intrinsic"])
def test_compiled_functions_may_be_longer(decorator: str) -> None:
    source = lines_of(60, f"{decorator}\ndef long():")
    assert not list(check_lengths(SourceFile("a.py", source)))


def test_exceptions_may_be_longer() -> None:
    path, _, function = next(iter(EXCEPTIONS)).partition(":")
    source = lines_of(60, f"def {function}():")
    assert not list(check_lengths(SourceFile(path, source)))
    assert len(list(check_lengths(SourceFile("other.py", source)))) == 1


def test_an_exception_that_is_gone_is_found() -> None:
    assert len(list(check_exceptions([]))) == len(EXCEPTIONS)


@pytest.mark.parametrize(
    "docstring",
    [
        "Largest share of a run's time spent saving journals.",
        "The scale of a pixel.",
        "Name of a body: one of BODIES.",
        "float32, shape (height, width).",
        "Seconds since the first run.",
    ],
)
def test_nouns_pass(docstring: str) -> None:
    source = FIELD.format(kind="int", value=0, docstring=docstring)
    assert not list(check_attribute_docstrings(SourceFile("a.py", source)))


@pytest.mark.parametrize(
    "docstring",
    [
        "Of the time at most goes into saving a journal.",
        "What of a folder stands for its content.",
        "That are tried.",
        "None: all of them.",
        "The same for colour.",
        "All of it, with room to spare.",
        "(height, width), as it is stored.",
        "0 gives the input back.",
        "Whether it is there.",
    ],
)
def test_other_words_are_found(docstring: str) -> None:
    source = FIELD.format(kind="int", value=0, docstring=docstring)
    assert len(list(check_attribute_docstrings(SourceFile("a.py", source)))) == 1
    constant = f'SIZE = 0\n"""{docstring}"""\n'
    assert len(list(check_attribute_docstrings(SourceFile("a.py", constant)))) == 1


def test_booleans_may_begin_with_whether() -> None:
    source = FIELD.format(kind="bool", value=True, docstring="Whether it is there.")
    assert not list(check_attribute_docstrings(SourceFile("a.py", source)))


def test_a_class_name_stands_once() -> None:
    files = [
        SourceFile("unetmm/a.py", "class Layout: ...\nclass _Own: ...\n"),
        SourceFile("unetmm_cli/b.py", "class Layout: ...\nclass _Own: ...\n"),
        SourceFile("tests/c.py", "class Layout: ...\n"),
    ]
    assert [str(f) for f in check_class_names(files)] == [
        "unetmm_cli/b.py:1: class name Layout is taken by unetmm/a.py"
    ]


@pytest.mark.parametrize("line", ["piece = 1", "# in pieces", "PIECES = 2", "def do_piece(): ..."])
def test_the_banned_word_is_found(line: str) -> None:
    assert len(list(check_words(SourceFile("a.py", line)))) == 1


def test_a_wrong_place_is_told_with_exit_code_1(tmp_path, capsys) -> None:
    (tmp_path / "unetmm").mkdir()
    (tmp_path / "unetmm" / "a.py").write_text(lines_of(51))
    assert main(["--root", str(tmp_path)]) == 1
    assert "unetmm/a.py:1: function long of 51 lines; at most 50" in capsys.readouterr().out
