"""The program in a model's answer (pure): out of JSON, out of fences, or as it stands."""

import ast
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any

from runpermit.models.wire import CODE_BYTES

# JSON escapes and words around a program of CODE_BYTES; more is not even looked at.
_ANSWER_BYTES = 4 * CODE_BYTES
_PYTHON = {"python", "python3", "py", "py3", "ipython"}
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})[ \t]*(?P<language>[\w.+-]*)")
_MAX_BLOCKS = 50
_CLOSING_TRIES = 20
# A line that no prose has; the rule is for text that does not parse, and errs towards code.
_CODE_LINE = re.compile(
    r"""\s*(?:
        (?:import|from)\s+[\w.]+(?:\s+(?:import|as)\s.+|\s*,.+)?$
        | (?:async\s+)?(?:def|class)\s+\w+\s*[(:]
        | (?:if|elif|for|while|with|except|try|else|finally)\b.*:\s*(?:\#.*)?$
        | [\w.\[\]"']+(?:\s*,\s*[\w.\[\]"']+)*\s*(?:[-+*/%|&^]|//|\*\*|:[^=]+)?=(?!=)
        | [\w.]+\((?:.*[^.!?])?$
        | @\w
    )""",
    re.VERBOSE,
)


class NoProgramError(ValueError):
    """Why an answer holds no usable program."""


@dataclass(frozen=True)
class Answer:
    """A program without fences and with line feeds alone, and what the model said about it."""

    code: str
    explanation: str = ""


def read_answer(content: str) -> Answer:
    """The program in `content`: `{"code": …}`, the largest Python block, or the text itself.

    A program with a syntax error is one, since analysis tells its author more. Raises
    NoProgramError for an empty answer, prose, and code over 256 KB or with broken characters.
    """
    if len(content) > _ANSWER_BYTES:
        raise NoProgramError(f"the answer is over {_ANSWER_BYTES // 1024} KB")
    text = _with_line_feeds(content)
    if not text.strip():
        raise NoProgramError("the answer is empty")
    answer = _structured(text)
    code, is_labelled = _block(answer.code)
    _check(code, is_labelled=is_labelled)
    return Answer(code.strip("\n") + "\n", answer.explanation)


def _structured(text: str) -> Answer:
    """The fields of a JSON answer, fenced or not; any other text is the code."""
    value = _json_object(text)
    if value is not None and not isinstance(value.get("code"), str):
        raise NoProgramError('the answer is a JSON object without text in its field "code"')
    if value is None:
        fenced = (_json_object(block.text) for block in _blocks(text) if block.language == "json")
        value = next(
            (found for found in fenced if found and isinstance(found.get("code"), str)), None
        )
    if value is None:
        return Answer(text)
    explanation = value.get("explanation")
    said = explanation if isinstance(explanation, str) else ""
    return Answer(_with_line_feeds(value["code"]), said)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class _Block:
    text: str
    language: str


def _block(text: str) -> tuple[str, bool]:
    """The largest Python block of `text`, else the largest without a language, else `text`.

    The flag says whether the block is labelled as Python.
    """
    # A program may hold fences in its strings, and is no text with blocks then.
    if parses(text):
        return text, False
    blocks = _blocks(text)
    labelled = [block.text for block in blocks if block.language in _PYTHON]
    plain = [block.text for block in blocks if not block.language]
    if labelled:
        return max(labelled, key=len), True
    return (max(plain, key=len) if plain else text), False


def _blocks(text: str) -> list[_Block]:
    lines = text.split("\n")
    blocks: list[_Block] = []
    index = 0
    while index < len(lines) and len(blocks) < _MAX_BLOCKS:
        opening = _FENCE.match(lines[index])
        index += 1
        if opening is None:
            continue
        language = opening["language"].lower()
        end = _closing(lines, index, opening, is_python=language in _PYTHON)
        blocks.append(_Block(_inside(lines[index:end], opening["indent"]), language))
        index = end + 1
    return blocks


def _closing(lines: list[str], start: int, opening: re.Match[str], *, is_python: bool) -> int:
    """The line that closes a block, or the end of the text.

    Fences also stand in the strings of a program: the first one that leaves whole Python counts.
    """
    closing = re.compile(rf"[ \t]*{opening['marks'][0]}{{{len(opening['marks'])},}}[ \t]*")
    ends = (n for n in range(start, len(lines)) if closing.fullmatch(lines[n]))
    first = next(ends, len(lines))
    if is_python:
        later = [end for _, end in zip(range(_CLOSING_TRIES), ends, strict=False)]
        for end in (first, *later):
            if parses(_inside(lines[start:end], opening["indent"])):
                return end
    return first


def _inside(lines: list[str], indent: str) -> str:
    return "\n".join(line.removeprefix(indent) for line in lines)


def _check(code: str, *, is_labelled: bool) -> None:
    try:
        size = len(code.encode())
    except UnicodeEncodeError:
        raise NoProgramError("the code holds characters that are no Unicode text") from None
    if size > CODE_BYTES:
        raise NoProgramError(f"the code has {size // 1024} KB, {CODE_BYTES // 1024} KB are allowed")
    tree = _parsed(code)
    if tree is None:
        is_code = is_labelled or any(_CODE_LINE.match(line) for line in code.split("\n"))
    else:
        is_code = any(not _is_word(statement) for statement in tree.body)
    if not is_code:
        raise NoProgramError("the answer holds no Python code")


def _is_word(statement: ast.stmt) -> bool:
    """A bare name or constant, such as `Sorry` or a docstring, does nothing."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Constant)


def parses(code: str) -> bool:
    """Whether `code` is Python of this version."""
    return _parsed(code) is not None


def _parsed(code: str) -> ast.Module | None:
    if len(code) > CODE_BYTES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes and comparisons
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _with_line_feeds(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
