"""Text from elsewhere (log lines, messages of programs) made fit for a terminal, a file or XML.

A program's output may move the cursor, clear the screen, ring the bell or be no text at all; none
of that may reach the user's terminal through us. Colours may, where colours are wanted.
"""

from __future__ import annotations

import re

__all__ = ["coloured", "encodable", "plain", "xml_text"]

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # strings: titles, links, device control
    r"|[ -/]*[0-~]"  # the short ones
    r"|)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RESET = "\x1b[0m"


def _last_overwrite(text: str) -> str:
    """A progress line rewrites itself by carriage returns: keep what would be seen at the end."""
    text = text.rstrip("\r\n")
    return text.rsplit("\r", 1)[-1] if "\r" in text else text


def plain(text: str) -> str:
    """One line without escape sequences and control characters; tabs become spaces."""
    text = _last_overwrite(text)
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    text = text.expandtabs(8) if "\t" in text else text
    return text if text.isprintable() else _CONTROL.sub("", text).replace("\n", " ")


def coloured(text: str) -> str:
    """The same, but colours stay, and end with the line."""
    text = _last_overwrite(text)
    if "\x1b" not in text:
        return plain(text)
    parts: list[str] = []
    at = 0
    for match in _SGR.finditer(text):
        parts += [plain(text[at : match.start()]), match.group()]
        at = match.end()
    parts.append(plain(text[at:]))
    return "".join(parts) + (_RESET if len(parts) > 1 else "")


def encodable(text: str, encoding: str) -> str:
    """`text` with everything that `encoding` cannot express replaced by `?`."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        return text.encode("utf-8", "replace").decode("utf-8")
    return text.encode(encoding, "replace").decode(encoding)


def xml_text(text: str) -> str:
    """`text` with everything removed that XML 1.0 cannot hold, escape sequences among them."""
    return _NOT_XML.sub("", _ESCAPE.sub("", text))
