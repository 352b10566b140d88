"""What should not stand in a file that is shared: secrets, one person's paths; and code that comes with a model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftmigrate.document.model import Leaf, Source
from ftmigrate.linter.rules import Checks, Finding
from ftmigrate.linter.subject import Subject

CHECKS = Checks()
_KEYS = ("api_key", "apikey", "secret", "password", "passwd", "access_token", "auth_token", "hf_token", "hub_token",
         "bearer_token", "wandb_key")  # fmt: skip
# what a secret begins with, what it is, and all of it
_SECRETS = (
    ("hf_", "a Hugging Face token", r"hf_[A-Za-z0-9]{24,}"),
    ("sk-", "an OpenAI-style key", r"sk-[A-Za-z0-9_-]{24,}"),
    ("gh", "a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"),
    ("AKIA", "an AWS access key", r"\bAKIA[0-9A-Z]{16}\b"),
    ("xox", "a Slack token", r"xox[abp]-[A-Za-z0-9-]{20,}"),
)
_PLACEHOLDER = r"(?i)<.*>|\$|\*{3,}|x{4,}|your|todo|changeme|env|example|dummy|none|null"
_HOMES = ("/home/", "/Users/", "/root/")
_WINDOWS = r"[A-Za-z]:\\+Users\\+(?!shared\b)[\w.-]+"
_SHORTEST = 12
# what a shell would put something else in for, at the beginning of a text
_SHELL = re.compile(r"(?:~|\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)\})(?=(?:/\S*)?\Z)")
_EXPANDED = ("data_files", "data_dir")  # datasets.load_dataset puts the home directory in for `~` in these


@CHECKS("FT040", "FT041", "FT042", "FT043")
def words(subject: Subject) -> Iterator[Finding]:
    """One pass over all texts of the file."""
    homes: list[Leaf] = []
    code: Leaf | None = None
    for leaf in subject.document.leaves.values():
        if leaf.source is not Source.FILE:
            continue
        if leaf.value is True:
            if leaf.path[-1] == "trust_remote_code":
                code = code or leaf
            continue
        for text in leaf.value if isinstance(leaf.value, list) else (leaf.value,):
            if not isinstance(text, str) or len(text) < 6:
                continue
            what = _secret(str(leaf.path[-1]), text)
            if what:
                message = (
                    f"This is {what} in plain text: whoever sees the file can use it. Revoke it, "
                    "and give it in the environment instead."
                )
                yield subject.finding("FT040", leaf, message)
            elif _home(text):
                homes.append(leaf)
            elif text[0] in "~$" and (found := _SHELL.match(text)):
                yield from _unexpanded(subject, leaf, text, found)
    if homes:
        more = f" (and {len(homes) - 1} more)" if len(homes) > 1 else ""
        message = f"`{homes[0].value}` lies in one person's home directory{more}: the config works for nobody else."
        yield subject.finding("FT041", homes[0], message)
    if code is not None:
        message = "Code that comes with the model or the data is run. Pin a revision, and read the code before."
        yield subject.finding("FT042", code, message)


def _secret(key: str, text: str) -> str:
    for begin, what, pattern in _SECRETS:
        if begin in text and re.search(pattern, text):
            return what
    key = key.lower()
    if key.endswith(_KEYS) and len(text) >= _SHORTEST and " " not in text and not re.search(_PLACEHOLDER, text):
        return f"what `{key}` holds"
    return ""


def _unexpanded(subject: Subject, leaf: Leaf, text: str, found: re.Match[str]) -> Iterator[Finding]:
    name, key = found[1] or found[2], str(leaf.path[-1])
    if not name and key in _EXPANDED:
        return
    if key.lower().endswith(_KEYS):
        hint = "Leave the key out, and give it in the environment."
    elif subject.framework.layout.interpolated:
        hint = f"Write `${{oc.env:{name or 'HOME'}}}`, or the path itself."
    else:
        hint = "Write the path itself."
    message = f"`{text}` is taken as it is written: no shell puts in what `{found[0]}` stands for. {hint}"
    yield subject.finding("FT043", leaf, message)


def _home(text: str) -> bool:
    if text.startswith(_HOMES):
        return not text.startswith(("/Users/Shared", "/Users/shared")) and text not in _HOMES
    return text[1:2] == ":" and re.match(_WINDOWS, text) is not None
