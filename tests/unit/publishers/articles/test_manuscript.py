"""Markdown: what is shown is clean, what is free is never the whole."""

import re

import pytest

from publishers.articles import manuscript
from publishers.articles.manuscript import NotPrintable, one_line, prepare

LONG = " ".join(f"word{n}" for n in range(100))


def test_everything_above_the_divider_is_free_and_nothing_below():
    ready = prepare("One *two*.\n\n<!-- paywall -->\n\nThree four.")
    assert ready.teaser_html == "<p>One <em>two</em>.</p>"
    assert ready.body_html == "<p>One <em>two</em>.</p>\n<p>Three four.</p>"
    assert (ready.teaser_words, ready.words) == (2, 4)


@pytest.mark.parametrize("divider", ["<!-- paywall -->", "  <!--paywall-->  ", "<!-- PAYWALL -->"])
def test_the_divider_needs_no_empty_lines_around_it(divider):
    ready = prepare(f"- one\n{divider}\ntwo\n{divider}\nthree")
    assert ready.teaser_html == "<ul>\n<li>one</li>\n</ul>"
    assert "paywall" not in ready.body_html.lower()


def test_a_divider_at_the_top_gives_nothing_away():
    assert prepare("<!-- paywall -->\nAll of it is paid.").teaser_html == ""


@pytest.mark.parametrize("text", ["All free.\n\n<!-- paywall -->\n", "All free.\n<!-- paywall -->\n\n[a]: /b\n"])
def test_a_divider_with_nothing_below_it_is_refused(text):
    with pytest.raises(NotPrintable, match="nothing to sell"):
        prepare(text)


@pytest.mark.parametrize("text", ["", " \n\t\n", "[a]: /b", "<!-- paywall -->", "\u0000"])
def test_an_empty_text_is_refused(text):
    with pytest.raises(NotPrintable, match="at least one sentence"):
        prepare(text)


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        f"{LONG}\n\nTail.",
        "word",
        "two words",
        f"# {LONG}\n\nTail.",
        "x " * 5 + "y" * 5000,
        "y" * 5000 + " x" * 50,
        f"> {LONG}",
        f"```\n{LONG}\n```",
        f"| {LONG} |\n|-|\n| b |",
        f"Short.\n\n<!-- not shown -->\n\n{LONG}",
        f"{LONG} <!-- and {LONG} -->",
    ],
)
def test_without_a_divider_at_most_a_fifth_is_free(text):
    ready = prepare(text)
    shown = re.sub(r"<[^>]*>|…", " ", ready.teaser_html).split()
    assert len(shown) <= ready.words / 5
    assert sum(map(len, shown)) <= len(re.sub(r"\s", "", text)) / 5


def test_without_a_divider_the_first_paragraph_is_free_when_it_is_short():
    assert prepare(f"# Heading\n\nFirst *one*.\n\n{LONG}").teaser_html == "<p>First <em>one</em>.</p>"


def test_a_reader_never_gets_active_content():
    corpus = """
<script>alert(1)</script>
<img src=x onerror=alert(1)>
<svg/onload=alert(1)>
[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](vbscript:x) [e](&#106;avascript:x)
![x](javascript:alert(1)) ![y](https://example.org/p.png "onerror=alert(1)") ![<b>](https://example.org/q.png)
<https://example.org/?"onmouseover=alert(1)>
<a href="javascript:x">y</a>
```"><script>alert(1)</script>
<script>alert(1)</script>
```
[ok](https://example.org/ "title \\" onclick=alert(1)")
"""
    html = prepare(corpus).body_html
    tags = re.findall(r"<(/?)([a-z0-9]+)([^>]*)>", html)
    assert {tag for _, tag, _ in tags} <= manuscript._TAGS
    for _, _, attributes in tags:
        plain = re.sub(r'"[^"]*"', '""', attributes)
        assert not re.search(r"\bon\w+\s*=|style|src", plain)
        assert not re.search(r'href="(?!https://|http://|mailto:)', attributes)
    assert "<img" not in html


def test_a_picture_becomes_a_link():
    assert '<a href="https://example.org/p.png"' in prepare("![A map](https://example.org/p.png) and words").body_html


def test_the_title_stays_the_only_first_heading():
    assert "<h1" not in prepare("# One\n\nTwo\n===\n\ntext").body_html


def test_a_table_scrolls_by_itself_and_numbers_stand_right():
    html = prepare("|a|b|\n|-|-:|\n|1|2|").body_html
    assert '<div class="table-scroll" tabindex="0"><table>' in html
    assert '<td class="num">2</td>' in html


def test_a_buyer_gets_the_markdown_without_the_divider():
    assert manuscript.without_divider("a\n\n<!-- paywall -->\n\nb") == "a\n\nb\n"


def test_titles_are_one_visible_line():
    assert one_line(" a\u202eb\x00\n c\u200b\u2066 ") == "ab c"
    assert one_line("e" + "\u0301" * 60) == "é" + "\u0301" * 3
    assert one_line("\u2067\u200f\x07") == ""
    assert one_line("\u200d") == ""
    assert one_line("नमस्\u200dते 👩\u200d🚀") == "नमस्\u200dते 👩\u200d🚀"
    one_line("\ud800 lone").encode()


def test_a_text_survives_the_database():
    assert manuscript.plain_text("a\x00b\ud800c\r\nd\re\tf") == "abc\nd\ne\tf"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ä" * 250_001, "500 kB"),
        ("a\n" * 10_001, "lines"),
        ("[" * 20_001, "marks"),
    ],
)
def test_a_text_beyond_the_limits_is_refused_with_a_sentence(text, said):
    with pytest.raises(NotPrintable, match=said):
        prepare(text)
