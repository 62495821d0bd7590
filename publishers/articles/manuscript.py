"""Turns what a publisher typed into what is safe to show: Markdown in, teaser and body HTML out.

Text is rendered and sanitised once, when a version is saved. The result has no raw HTML, no active content and no
images: an image becomes a link, so that a page loads nothing from elsewhere. Only the teaser is shown without payment.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

DIVIDER = "<!-- paywall -->"
BODY_MAX_BYTES = 500_000
# Parsing is linear in the text but costly per mark and per line; these limits keep the worst text under two seconds.
MARKS_MAX = 20_000
LINES_MAX = 10_000
TEASER_SHARE_PERCENT = 20

_DIVIDER_LINE = re.compile(r"^[ \t]*<!--[ \t]*paywall[ \t]*-->[ \t]*$", re.MULTILINE | re.IGNORECASE)
_MARKS = re.compile(r"[\[\]*_~`<>|!&\\]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TAGS = {
    *("a", "blockquote", "br", "code", "del", "div", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"),
    *("pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "div": {"tabindex"}, "pre": {"tabindex"}}
_CLASSES = {"div": {"table-scroll"}, "td": {"num"}, "th": {"num"}}


class NotPrintable(ValueError):
    """A text that cannot be published as it is; the message is a sentence for its author."""


@dataclass(frozen=True, slots=True)
class Manuscript:
    """A rendered text: clean HTML of the teaser and of the whole body, and the length of both in words."""

    teaser_html: str
    body_html: str
    words: int
    teaser_words: int


def prepare(markdown: str) -> Manuscript:
    """Check, render and sanitise a text.

    A line `<!-- paywall -->` ends the teaser. Without such a line the teaser is the first paragraph, cut at a fifth of
    the text. Raises NotPrintable with a sentence for the author.
    """
    text = plain_text(markdown)
    _check_size(text)
    tokens = _MARKDOWN.parse(_DIVIDER_LINE.sub(f"\n\n{DIVIDER}\n\n", text))
    dividers = [at for at, token in enumerate(tokens) if _is_divider(token)]
    body = _without(tokens, dividers)
    words = _words(body)
    if not words:
        raise NotPrintable("Enter at least one sentence.")
    if not dividers:
        teaser_html, teaser_words = _automatic_teaser(body, words)
    else:
        # The divider is the content of a paragraph, which starts one token before it.
        teaser = tokens[: dividers[0] - 1]
        teaser_words = len(_words(teaser))
        if teaser_words == len(words):
            raise NotPrintable("There is no text below the paywall line, so there is nothing to sell.")
        teaser_html = _render(teaser)
    return Manuscript(teaser_html, _render(body), len(words), teaser_words)


def plain_text(text: str) -> str:
    """The text without invisible characters that databases and headers should not hold, with line ends as \\n."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def one_line(text: str) -> str:
    """A title, name or summary as one line, composed (NFC), without control, direction or invisible characters."""
    kept: list[str] = []
    marks = 0
    for c in unicodedata.normalize("NFC", " ".join(text.split())):
        category = unicodedata.category(c)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        # Some scripts and emoji need the joiners; the other invisible characters only deceive.
        if (category in ("Cc", "Cf", "Cs") and c not in "\u200c\u200d") or marks > 3:
            continue
        kept.append(c)
    return " ".join("".join(kept).split()).strip("\u200c\u200d")


def without_divider(markdown: str) -> str:
    """The author's Markdown as a buyer gets it, without the paywall line."""
    return re.sub(r"\n{3,}", "\n\n", _DIVIDER_LINE.sub("\n", markdown)).strip() + "\n"


def _check_size(text: str) -> None:
    if len(text.encode()) > BODY_MAX_BYTES:
        raise NotPrintable(f"The text is longer than {BODY_MAX_BYTES // 1000} kB. Split it into several articles.")
    if text.count("\n") > LINES_MAX:
        raise NotPrintable(f"The text has more than {LINES_MAX:,} lines. Split it into several articles.")
    if sum(1 for _ in _MARKS.finditer(text)) > MARKS_MAX:
        raise NotPrintable(f"The text has more than {MARKS_MAX:,} Markdown marks such as * and [. Use fewer.")


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image_as_link)
    parser.add_render_rule("table_open", lambda *_: '<div class="table-scroll" tabindex="0"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _image_as_link(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    address = nh3.clean_text(str(tokens[at].attrs.get("src", "")))
    label = nh3.clean_text(renderer.renderInlineAsText(tokens[at].children or [], options, env))
    return f'<a href="{address}">{label or "Picture"}</a>'


def _render(tokens: Sequence[Token]) -> str:
    for token in tokens:
        # The title is the page's only top heading.
        if token.tag == "h1":
            token.tag = "h2"
        if token.attrGet("style") == "text-align:right":
            token.attrSet("class", "num")
        if token.type in ("fence", "code_block"):
            token.info = ""
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    # A box that scrolls sideways must be reachable with the keyboard.
    html = html.replace("<pre>", '<pre tabindex="0">')
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    ).strip()


def _is_divider(token: Token) -> bool:
    return token.type == "inline" and token.level == 1 and token.content.strip() == DIVIDER


def _without(tokens: Sequence[Token], dividers: Sequence[int]) -> list[Token]:
    dropped = {at + step for at in dividers for step in (-1, 0, 1)}
    return [token for at, token in enumerate(tokens) if at not in dropped]


def _words(tokens: Sequence[Token]) -> list[str]:
    """The words that a reader sees, without link addresses and Markdown marks."""
    found: list[str] = []
    for token in tokens:
        if token.type == "inline":
            found += "".join(_text(child) for child in token.children or []).split()
        elif token.type in ("fence", "code_block"):
            found += token.content.split()
    return found


def _text(token: Token) -> str:
    return " " if token.type in ("softbreak", "hardbreak") else token.content


def _automatic_teaser(tokens: Sequence[Token], words: Sequence[str]) -> tuple[str, int]:
    """The first paragraph, or as many of its first words as make up a fifth of the text, by words and by letters."""
    start = next((at for at, token in enumerate(tokens) if token.type == "paragraph_open" and token.level == 0), None)
    if start is None:
        return "", 0
    paragraph = tokens[start : start + 3]
    teaser = _words(paragraph)
    word_limit = len(words) * TEASER_SHARE_PERCENT // 100
    letter_limit = sum(map(len, words)) * TEASER_SHARE_PERCENT // 100
    if len(teaser) <= word_limit and sum(map(len, teaser)) <= letter_limit:
        return _render(paragraph), len(teaser)
    cut: list[str] = []
    for word in teaser[:word_limit]:
        letter_limit -= len(word)
        if letter_limit < 0:
            break
        cut.append(word)
    if not cut:
        return "", 0
    return nh3.clean(f"<p>{nh3.clean_text(' '.join(cut))} …</p>", tags={"p"}), len(cut)


_MARKDOWN = _parser()
