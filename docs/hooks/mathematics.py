"""Equations of the site: LaTeX between dollars becomes MathML when the site is built, so that pages load nothing.

`$x$` is an equation in the text, `$$ x $$` a displayed one, without blank lines in it, in pages and in docstrings. What
cannot be converted fails the build.
"""

import unicodedata
import xml.etree.ElementTree as etree

import latex2mathml.converter
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
_BRACKETS = {"langle": "⟨", "rangle": "⟩", "⟨": "⟨", "⟩": "⟩"}


def mathml(latex: str, display: str) -> etree.Element:
    """The element <math> of an equation, with its LaTeX as the text that is read aloud. Raises `ValueError`."""
    source = " ".join(latex.split())
    try:
        element = etree.fromstring(latex2mathml.converter.convert(source, display=display))
    except Exception as error:
        raise ValueError(f"cannot convert the equation {source}: {error!r}") from error
    for part in element.iter():
        part.tag = part.tag.removeprefix(NAMESPACE)
        text = part.text or ""
        if text.lstrip("\\") in _BRACKETS:  # the converter takes them for letters, and misses large ones
            part.tag, part.text = "mo", _BRACKETS[text.lstrip("\\")]
            if "minsize" not in part.attrib:
                part.set("stretchy", "false")
        elif text.startswith("\\"):
            raise ValueError(f"cannot convert {text} in the equation {source}")
        if (variant := part.get("mathvariant")) in _ALPHABETS:
            part.text = "".join(_letter(_ALPHABETS[variant], c) for c in text)
            del part.attrib["mathvariant"]
    element.set("xmlns", NAMESPACE[1:-1])
    element.set("alttext", source)
    return element


# Browsers know these alphabets as letters of their own.
_ALPHABETS = {"monospace": "MATHEMATICAL MONOSPACE", "script": "MATHEMATICAL SCRIPT"}


def _letter(alphabet: str, c: str) -> str:
    if not c.isalpha():
        return c
    name = f"{alphabet} {'CAPITAL' if c.isupper() else 'SMALL'} {c.upper()}"
    try:
        return unicodedata.lookup(name)
    except KeyError:  # some were there before the others, as SCRIPT CAPITAL L
        return unicodedata.lookup(name.removeprefix("MATHEMATICAL "))


class _Equation(InlineProcessor):
    def __init__(self, pattern: str, display: str):
        super().__init__(pattern)
        self.display = display

    def handleMatch(self, m, data):
        return mathml(m.group(1), self.display), m.start(0), m.end(0)


class Mathematics(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # Before escapes (180), which would eat backslashes, and after code (190).
        md.inlinePatterns.register(_Equation(r"\$\$(.+?)\$\$", "block"), "displayed equations", 186)
        md.inlinePatterns.register(_Equation(r"(?<!\\)\$([^$]+?)\$", "inline"), "equations", 185)


def on_config(config):
    config.markdown_extensions.append(Mathematics())
    return config
