"""Foreign text made safe and small: the one place where it is bounded, made visible and escaped."""

import html
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

ERROR_TEXT_BYTES = 8 * 1024

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Letters, marks and variation selectors that are no control characters, yet show as nothing.
_BLANK = re.compile(
    "[\u00a0\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200a\u202f\u205f\u2800"
    "\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_MARKS = {"Mn", "Me"}
_MOST_MARKS = 2  # on one letter, as languages have them; heaps of them cover other lines
# Quotes stay: beside text alone they mean nothing, and as references they are set the wrong way.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:/@$^=])")
_BACKTICKS = re.compile(r"`+")


def bounded(text: str, limit: int = ERROR_TEXT_BYTES) -> str:
    """Head and tail of `text` in at most `limit` bytes of UTF-8, saying how much was left out."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    note = f"\n… {len(raw) - limit} bytes left out …\n"
    keep = max(limit - len(note.encode()), 0)
    head, tail = raw[: keep - keep // 2], raw[len(raw) - keep // 2 :]
    return head.decode("utf-8", "ignore") + note + tail.decode("utf-8", "ignore")


def visible(text: str, *, keep: str = "\n\t") -> str:
    """`text` with control, bidirectional and invisible characters, but for `keep`, as escapes.

    So are marks that heap up on a letter.
    """
    return "".join(_seen(text, keep))


def one_line(text: str, width: int) -> str:
    """`text` on one visible line of at most `width` characters; an ellipsis marks a cut."""
    # Four times the width is enough to fill it, and keeps a line of 100 KB from being walked.
    line = visible(" ".join(text[: width * 4].split()), keep="")
    return line if len(line) <= width and len(text) <= width * 4 else line[: width - 1] + "…"


def sentence(text: str, width: int) -> str:
    """As `one_line`, cut between two words where that leaves most of it."""
    line = one_line(text, width)
    if not line.endswith("…") or text.endswith("…"):
        return line
    whole = line[:-1].rpartition(" ")[0]
    return f"{whole} …" if len(whole) > width // 2 else line


def moment(told: str) -> str:
    """A time that came as text, for people; as it came, on one line, where it is none."""
    try:
        return f"{datetime.fromisoformat(told).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return one_line(told, 40)


def brief(value: object) -> str:
    """Whatever a channel holds, on one line of at most 60 characters; of numbers ten digits."""
    told = float(f"{value:.10g}") if isinstance(value, float) else value
    return one_line(str(told), 60)


def cells(text: str) -> int:
    """How many columns of a fixed-width font `text` takes: East Asian letters and pictures two."""
    return sum(_cells(char) for char in text)


def pieces(line: str, width: int) -> list[str]:
    """`line` in pieces of at most `width` columns, at least one."""
    found, start, taken = [], 0, 0
    for at, char in enumerate(line):
        if taken + _cells(char) > width:
            found.append(line[start:at])
            start, taken = at, 0
        taken += _cells(char)
    return [*found, line[start:]]


def markdown(text: str, width: int) -> str:
    """One visible line of `text` in which no Markdown or HTML of its own takes effect."""
    return _MARKDOWN.sub(lambda match: f"&#{ord(match.group())};", one_line(text, width))


def fenced(text: str, language: str = "") -> str:
    """`text` as a Markdown code block that nothing inside can end."""
    shown = visible(text)
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def preformatted(text: str, width: int) -> str:
    """`text` for the inside of an HTML `<pre>`: visible, escaped, its lines numbered.

    A line of over `width` columns goes on in the next, marked with an arrow: what stands
    beyond the edge of a page is not read. The numbers keep every line from being blank, where
    Markdown would end the block.
    """
    shown = []
    for number, line in enumerate(visible(text).expandtabs(4).split("\n"), 1):
        first, *rest = pieces(line, width)
        shown.append(f"{number:>4} {first}")
        shown += [f"   ↩ {piece}" for piece in rest]
    return html.escape("\n".join(shown))


def _seen(text: str, keep: str) -> Iterator[str]:
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        hidden = category in _INVISIBLE or _BLANK.match(char) or marks > _MOST_MARKS
        yield _escape(char) if hidden and char not in keep else char


def _cells(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _escape(char: str) -> str:
    code = ord(char)
    if code <= ord("\xff"):
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= ord("\uffff") else f"\\U{code:08x}"
