from hypothesis import given
from hypothesis import strategies as st

from kernels.output import Output


def collected(*pieces: str, limit: int) -> str:
    output = Output(limit)
    for piece in pieces:
        output.add(piece)
    return output.text


def test_little_output_is_kept_whole() -> None:
    assert collected("a", "ä", "", "b\n", limit=100) == "aäb\n"


def test_much_output_keeps_head_and_tail_and_counts_the_rest() -> None:
    assert collected("aaaa", "b" * 92, "cccc", limit=8) == "aaaa\n… 92 bytes left out …\ncccc"


def test_a_lone_surrogate_is_shown_as_an_escape() -> None:
    assert collected("\ud800", limit=100) == "\\ud800"


@given(st.lists(st.text(alphabet="ab", max_size=30)))
def test_the_way_the_text_is_cut_into_pieces_does_not_matter(pieces: list[str]) -> None:
    assert collected(*pieces, limit=20) == collected("".join(pieces), limit=20)
