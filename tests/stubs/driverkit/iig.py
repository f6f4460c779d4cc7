#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for Apple's iig: makes the header of a class from its .iig file, as far as type-checking needs it.

usage: iig.py CLASS.iig >CLASS.h

What becomes of a method, as in the headers that iig writes:
- init, free and LOCALONLY ones stay what they are;
- an override becomes <name>_Impl with the same arguments, which must override what the base class has;
- one with TYPE(other::method) becomes <name>_Impl, must have the other's arguments, and gets CreateAction<name>().
Anything else is refused: this shell has no use for it.
"""

import re
import sys

CLASS = re.compile(r"^class (\w+) : public (\w+)\n\{\n(.*?)^\};$", re.S | re.M)
METHOD = re.compile(r"^virtual (?P<type>\w+) (?P<name>\w+)\((?P<args>.*?)\)(?P<marks>[^)(]*(?:\([\w:]*\)[^)(]*)*)$", re.S)
MARKS = {"override", "LOCALONLY", "TYPE", "QUEUENAME"}


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def declare(method):
    """The lines that a method becomes."""
    found = METHOD.match(method)
    if not found:
        raise SystemExit(f"iig.py: not understood: {method}")
    kind, name, marks = found["type"], found["name"], found["marks"]
    args = re.sub(r"\s+", " ", found["args"]).replace(" TARGET", "")
    unknown = set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", marks))) - MARKS
    if unknown:
        raise SystemExit(f"iig.py: {name}: unknown {' '.join(sorted(unknown))}")
    typed = re.search(r"TYPE\(([\w:]+)\)", marks)
    if name in ("init", "free") or "LOCALONLY" in marks:
        return [f"virtual {kind} {name}({args}){' override' if 'override' in marks else ''};"]
    if typed:
        return [
            f"{kind} {name}_Impl({args});",
            f"kern_return_t CreateAction{name}(size_t referenceSize, OSAction **action);",
            f"typedef {kind} {name}_Type({args});",
            f"static_assert(__is_same({name}_Type, {typed[1]}_Type), \"{name} is not of its TYPE\");",
        ]
    if "override" not in marks:
        raise SystemExit(f"iig.py: {name}: a new method needs TYPE or LOCALONLY")
    return [f"{kind} {name}_Impl({args}) override;"]


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        text = without_comments(source.read())
    found = CLASS.search(text)
    if not found:
        raise SystemExit(f"iig.py: {sys.argv[1]}: no class")
    name, base, body = found.groups()
    methods = [part.strip() for part in re.sub(r"^\s*public:", "", body).split(";") if part.strip()]
    lines = [f"struct {name}_IVars;", f"class {name} : public {base}", "{", "  public:", f"{name}_IVars *ivars;"]
    lines += [f"using super = {base};"]
    for method in methods:
        lines += declare(method)
    head, tail = text[: found.start()], text[found.end() :]
    print(re.sub(r"\.iig>", ".h>", head) + "\n".join(lines) + "\n};" + tail)


if __name__ == "__main__":
    main()
