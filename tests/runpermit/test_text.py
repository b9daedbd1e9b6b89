"""Foreign text shows as what it is, and takes no effect anywhere."""

import html
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runpermit.text import (
    bounded,
    brief,
    fenced,
    markdown,
    one_line,
    preformatted,
    sentence,
    visible,
)

HOSTILE = [
    "</pre><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</details></pre>\n\n# Approved",
    "```\n# Approve? nothing\n```",
    "~~~\n# heading\n~~~",
    "`" * 50,
    "# heading\n## heading\n- list\n1. list\n> quote\n---\n***",
    "[click](javascript:alert(1)) ![x](http://evil/x.png) <http://evil>",
    "https://evil.example www.evil.example jd@evil.example",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "**bold** __bold__ *it* _it_ ~~gone~~ `code` :smile: $x$",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "line\r\nline\rline\x0bline\x0cline\x85line\u2028line\u2029line",
    "\u202eevorppa\u202c \u2066x\u2069 \u200b\u200d\ufeff\u00ad \x00\x07\x1b[2J\x7f",
    "    indented code\n\tindented code",
    "\\<b\\> \\` \\\\",
    "[link]: http://evil 'title'\n[link]",
    "<!-- comment --> <?php ?> <![CDATA[x]]> <!DOCTYPE html>",
    "\U000e0041\u115f\u3164\u00a0\u034f",
    "",
    "\n\n\n",
    "\ud800",
]
texts = (
    st.sampled_from(HOSTILE)
    | st.text()
    | st.text("`~<>&\n\r \t#*_[]()!|\\-=\u202e\x00ab", max_size=60)
)


class Tags(HTMLParser):
    """The tags and the text of rendered HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(source: str) -> Tags:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tags = Tags()
    tags.feed(parser.render(source))
    tags.close()
    return tags


def shows_no_control(text: str, keep: str) -> bool:
    return all(
        char in keep or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in text
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.27 + 0.02, "0.29"), (0.0, "0.0"), (1e-07, "1e-07"), (3, "3"), ("a\nb", "a b")],
)
def test_of_numbers_in_brief_the_computer_s_last_digits_are_left_away(
    value: object, told: str
) -> None:
    assert brief(value) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("moved by the tuner", "moved by the tuner"),
        ("moved by the tuner of the cavity", "moved by the tuner of …"),
        ("x" * 40, "x" * 23 + "…"),
    ],
)
def test_a_sentence_is_cut_between_words(text: str, told: str) -> None:
    assert sentence(text, 24) == told


@given(texts)
def test_markdown_of_foreign_text_is_nothing_but_text(text: str) -> None:
    shown = rendered(f"before {markdown(text, 400)} after")

    assert shown.tags == ["p"]
    assert shown.text.strip() == f"before {one_line(text, 400)} after".strip()


@given(texts)
def test_markdown_of_foreign_text_starts_no_block_either(text: str) -> None:
    assert set(rendered(markdown(text, 400)).tags) <= {"p"}


@given(texts)
def test_nothing_inside_a_fence_ends_it(text: str) -> None:
    shown = rendered(f"{fenced(text)}\n\nafter")

    assert shown.tags == ["pre", "code", "p"]
    assert shown.text.split() == [*visible(text).replace("\u0085", " ").split(), "after"]


@given(texts)
def test_nothing_inside_preformatted_ends_it(text: str) -> None:
    page = f"<details><summary>s</summary><pre>{preformatted(text, 49)}</pre></details>\n\nafter"
    shown = rendered(page)

    assert shown.tags == ["details", "summary", "pre", "p"]


@given(texts)
def test_no_line_inside_preformatted_is_wider_than_the_page(text: str) -> None:
    lines = html.unescape(preformatted(text, 20)).split("\n")
    assert all(len(line) <= 25 for line in lines[:9_999])


def test_what_stands_far_to_the_right_is_shown_on_lines_of_its_own() -> None:
    shown = preformatted("a" + " " * 40 + "hidden()", 20)
    assert "hidden()" in shown.split("\n")[-1]
    assert "↩" in shown


@given(texts)
def test_visible_shows_control_and_bidirectional_characters_as_escapes(text: str) -> None:
    assert shows_no_control(visible(text), keep="\n\t")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0041", "\\U000e0041"),
        ("a\rb", "a\\x0db"),
        ("a\nb\tc", "a\nb\tc"),
        ("HCM1 → 0.2 µA", "HCM1 → 0.2 µA"),
        ("\ud800", "\\ud800"),
        ("\u3164", "\\u3164"),
        ("e\u0302\u0301", "e\u0302\u0301"),
        ("a" + 4 * "\u0336" + "b\u0336", "a\u0336\u0336\\u0336\\u0336b\u0336"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(texts, st.integers(1, 80))
def test_one_line_is_one_visible_line_of_its_width(text: str, width: int) -> None:
    line = one_line(text, width)

    assert len(line) <= width
    assert shows_no_control(line, keep="")
    assert line.splitlines() in ([], [line])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b\tc", "a b c"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("x" * 100_000, "x" * 9 + "…"),
        (" " * 100_000 + "x", "…"),
    ],
)
def test_one_line_marks_a_cut(text: str, line: str) -> None:
    assert one_line(text, 10) == line


@given(texts, st.integers(100, 10_000))
def test_bounded_stays_within_its_bytes(text: str, limit: int) -> None:
    assert len(bounded(text, limit).encode()) <= limit


def test_bounded_keeps_head_and_tail_and_says_how_much_is_gone() -> None:
    cut = bounded("HEAD" + "x" * 10_000 + "TAIL", 200)

    assert cut.startswith("HEAD")
    assert cut.endswith("TAIL")
    assert "9808 bytes left out" in cut


def test_bounded_cuts_no_character_in_two() -> None:
    assert "\ufffd" not in bounded("é€😀" * 1000, 500)


def test_bounded_leaves_what_fits_as_it_is() -> None:
    assert bounded("é" * 100, 200) == "é" * 100
