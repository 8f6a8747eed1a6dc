"""A page as a test reads it: its text, its elements, and what it would load."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from PIL import Image

_EMPTY = {"meta", "link", "img", "br", "input", "hr"}


@dataclass
class ReadPage(HTMLParser):
    """The elements of a page, parsed as a browser does it."""

    html: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scripts: list[tuple[dict[str, str], str]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        assert len(given) == len(attributes), f"an attribute is given twice: {attributes}"
        self.elements.append((tag, given))
        if tag not in _EMPTY:
            self.open_tags.append(tag)
        if tag == "script":
            self.scripts.append((given, ""))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        inside = self.open_tags[-1] if self.open_tags else ""
        if inside == "script":
            given, text = self.scripts[-1]
            self.scripts[-1] = given, text + data
        elif inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """The text that a reader sees, in one line."""
        return " ".join(" ".join(self.texts).split())

    @property
    def titles(self) -> list[str]:
        """The names of its sections."""
        return [given["id"] for tag, given in self.elements if tag == "section"]

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a tag."""
        return [given for name, given in self.elements if name == tag]

    def pictures(self) -> list[Image.Image]:
        """The sheets of pictures."""
        found = re.findall(r'url\("data:image/jpeg;base64,([A-Za-z0-9+/=]+)"\)', self.html)
        return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def read(html: str) -> ReadPage:
    """A page after the checks that hold for every page: it is well formed, loads nothing, and permits one script."""
    page = ReadPage(html)
    assert not page.open_tags
    loading = {"src", "srcset", "data", "poster", "background", "action", "formaction", "ping", "xlink:href"}
    for tag, given in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "link", "audio", "video", "base", "form", "image", "use")
        assert not loading & set(given), (tag, given)
        assert not [name for name in given if name.startswith("on")], (tag, given)
        if "href" in given:
            assert given["href"].startswith("#"), given
    assert set(re.findall(r"url\((.{0,30})", html)) <= {'"data:image/jpeg;base64,/9j/'} or all(
        each.startswith('"data:image/jpeg;base64,') for each in re.findall(r"url\((.{0,30})", html)
    )
    assert "@import" not in html
    identifiers = [given["id"] for _, given in page.elements if "id" in given]
    assert len(identifiers) == len(set(identifiers))
    (policy,) = [given["content"] for given in page.of("meta") if given.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    running = [text for given, text in page.scripts if given.get("type") != "application/json"]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert len(digests) == 1
    assert f"'sha256-{digests[0]}'" in policy
    return page
