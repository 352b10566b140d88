"""`ftmigrate rule`."""

from __future__ import annotations

import argparse
import sys

from ftmigrate.cli.common import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", metavar="CODE", help="one rule's page, by its code or its name")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    from ftmigrate.linter import pages
    from ftmigrate.linter.rules import every

    known = every()
    if args.code is None:
        if args.format == "json":
            print_json([_json(rule, name) for rule, name in known])
        else:
            for rule, name in known:
                print(
                    f"{rule.code:7} {rule.severity:8} {rule.name:34} {rule.fix and 'fix: ' + rule.fix:15} {name}".rstrip()
                )
        return 0
    found = [(rule, name) for rule, name in known if args.code.upper() == rule.code or args.code == rule.name]
    if not found:
        from difflib import get_close_matches

        names = [rule.code for rule, _ in known] + [rule.name for rule, _ in known]
        close = get_close_matches(args.code, names, 1) or get_close_matches(args.code.upper(), names, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print(f"ftmigrate: there is no rule {args.code}{hint} Without a code all are listed.", file=sys.stderr)
        return 2
    rule, name = found[0]
    page = pages.find(rule.code)
    if args.format == "json":
        print_json({**_json(rule, name), "page": page.text})
        return 0
    whose = f"{name} only" if name else "all frameworks"
    fix = {"": "no fix", "sometimes": "a fix in some cases"}.get(rule.fix, f"a fix ({rule.fix})")
    print(f"# {rule.code} {rule.name}\n\n{rule.severity}; {whose}; {fix}\n\n{page.text}", end="")
    return 0


def _json(rule: object, name: str) -> dict[str, object]:
    from ftmigrate.linter.rules import Rule

    assert isinstance(rule, Rule)
    return {"code": rule.code, "name": rule.name, "severity": str(rule.severity), "fix": rule.fix or None,
            "framework": name or None}  # fmt: skip
