"""Docstrings on the site: their words are set as the mathematics they spell.

In the source they are read in terminals, so all but displayed equations is plain text, as alpha <|lambda|^2>,
g^2 / N, x_i -> 0. Here Greek letters, indices, powers, averages and signs of that text are typeset; code stays.
"""

import html
import re

import griffe

_NAMES = "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
_ENTITIES = [*_NAMES.split(), *(name.title() for name in "gamma delta theta lambda xi pi sigma phi psi omega".split())]
_GREEK = {name: html.unescape(f"&{name};") for name in _ENTITIES}
_SIGNS = {"<->": "↔", "->": "→", "=>": "⇒", "<=": "≤", ">=": "≥", "+-": "±"}

# Displayed equations, code between backticks, and indented blocks after a blank line.
_KEPT = re.compile(r"(\$\$.*?\$\$|``.+?``|`[^`]+`|(?:\A|(?<=\n))[ ]*\n(?:[ ]{4}[^\n]*(?:\n|\Z))+)", re.DOTALL)
_LETTER = f"[A-Za-z{''.join(_GREEK.values())}∞]"
_INDEX = rf"(?:\{{[^{{}}]*\}}|{_LETTER}{{1,3}}(?![A-Za-z])|\d+)"
_POWER = rf"(?:\{{[^{{}}]*\}}|\([^()]*\)|-?\d+|-?{_LETTER}+|[+∗])"
# One letter or a differential, what ends with a bracket or a bar, a number: longer words with underscores are names.
_BASE = rf"(?:(?<![A-Za-z_])(?:sinh|cosh|sech|min|prod|[A-Z]{{2}}|d?{_LETTER})'*|[)\]|⟩∑∫]|(?<![\w.])\d+)"
_SCRIPTS = re.compile(rf"({_BASE})(?:_({_INDEX}))?(?:\^({_POWER}))?")


def typeset(text: str) -> str:
    """Markdown of a docstring for the page."""
    return "".join(part if i % 2 else _words(part) for i, part in enumerate(_KEPT.split(text)))


def _words(text: str) -> str:
    text = re.sub(r"<(?![-=\s])([^<>\n]*(?:\n[^<>\n]*)?[^<>\s-])>(?![=])", r"⟨\1⟩", text)
    text = re.sub("|".join(map(re.escape, _SIGNS)), lambda m: _SIGNS[m.group()], text)
    text = re.sub(r"(?<![A-Za-z])(sum|int)(?=_)", lambda m: {"sum": "∑", "int": "∫"}[m.group()], text)
    greek = rf"(?<![A-Za-z])(d?)({'|'.join(_GREEK)})(?![A-Za-z]|(?<=lambda) \w+:)"  # not the `lambda e:` of Python
    text = re.sub(greek, lambda m: m[1] + _GREEK[m[2]], text)
    return _SCRIPTS.sub(_scripts, text.replace("*", "∗").replace("<", "&lt;"))


def _scripts(m: re.Match) -> str:
    base, index, power = m.groups()
    lower = "" if index is None else f"<sub>{_bare(index)}</sub>"
    upper = "" if power is None else f"<sup>{_bare(power)}</sup>"
    return base + lower + upper


def _bare(script: str) -> str:
    inner = script[1:-1] if script[0] in "{(" else script
    return _SCRIPTS.sub(_scripts, inner.replace("-", "−"))


class Reference(griffe.Extension):
    """What the reference shows: docstrings typeset; of classes the fields, and the methods that have a docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring is not None:
            obj.docstring.value = typeset(obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **kwargs) -> None:
        # Fields that a constructor sets are its arguments, and said there.
        constructed = "__init__" in cls.members
        for name, member in list(cls.members.items()):
            if member.is_attribute:
                member.value = None
                member.labels.clear()
            if member.docstring is None and (name != "__init__" if constructed else member.is_function):
                del cls.members[name]

    def on_module(self, *, mod: griffe.Module, **kwargs) -> None:
        exported = mod.exports or ()
        for name, member in list(mod.members.items()):
            if not member.is_alias and member.is_attribute and name not in exported and name != "__all__":
                del mod.members[name]
