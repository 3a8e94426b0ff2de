#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages from what the program says of itself, and from pages.md for what it does not.

usage: generate.py HUSK PAGES DIRECTORY: writes husk.1 and husk-VERB.1 for each verb of 'husk --help'.

Usage, description and options are those of 'husk VERB --help'. PAGES has a section '## VERB' ('## husk' for
the program) with parts '### NAME': paragraphs, blocks between ``` and, for lists, lines '- `TERM`: text'.
"""
import os
import re
import subprocess
import sys


def say(husk, *args):
    return subprocess.run([husk, *args, "--help"], check=True, capture_output=True, text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def inline(text):
    """Words between backticks are bold."""
    return "".join(f"\\fB{escape(t)}\\fP" if i % 2 else escape(t) for i, t in enumerate(text.split("`")))


def parse_help(text):
    """Usage lines, paragraphs of lines, and options as (what, help)."""
    lines = text.splitlines()
    usage = []
    while lines and lines[0].strip():
        usage.append(re.sub(r"^(usage:|\s+) *", "", lines.pop(0)))
    paragraphs, options, current = [], [], []
    for line in [*lines, ""]:
        option = re.match(r"  (\S.*?)(?:  +|$)(.*)$", line) if line.startswith("  ") else None
        joined = re.match(r"  ((?:-., )?--\S+ \S+) (.*)$", line)
        if option and not option[2] and joined:
            option = joined
        if option and not line.startswith("   "):
            options.append([option[1], option[2].strip()])
        elif line.startswith("   ") and options:
            options[-1][1] = (options[-1][1] + " " + line.strip()).strip()
        elif line:
            current.append(line)
        if not line and current:
            paragraphs.append(current)
            current = []
    return usage, paragraphs, options


def parse_pages(path):
    pages, parts, lines = {}, None, None
    for line in open(path, encoding="utf-8"):
        if line.startswith("## "):
            parts = pages.setdefault(line[3:].strip(), {})
        elif line.startswith("### "):
            lines = parts.setdefault(line[4:].strip(), [])
        elif lines is not None:
            lines.append(line.rstrip("\n"))
    return pages


def roff_part(lines):
    out, literal, pending = [], False, []

    def flush():
        if pending:
            out.extend([".PP", inline(" ".join(pending))])
            pending.clear()

    for line in lines:
        item = re.match(r"- (`[^`]+`): (.*)", line)
        if line == "```":
            flush()
            out.append(".fi\n.RE" if literal else ".PP\n.RS 4\n.nf")
            literal = not literal
        elif literal:
            out.append(escape(line) or ".sp")
        elif item:
            flush()
            out.extend([".TP", inline(item[1]), inline(item[2])])
        elif line.startswith("  ") and out:
            out.append(inline(line.strip()))
        elif line:
            pending.append(line)
        else:
            flush()
    flush()
    return out


def page(name, summary, help_text, parts, others):
    usage, paragraphs, options = parse_help(help_text)
    out = [f'.TH {name.upper()} 1 "" husk husk', ".SH NAME",
           f"{escape(name)} \\- {escape(summary)}", ".SH SYNOPSIS"]
    for line in usage:
        out.extend([".PP", f"\\fB{escape(line)}\\fP"])
    out.append(".SH DESCRIPTION")
    for lines in paragraphs:
        out.extend([".PP", *map(escape, lines)])
    out.extend(roff_part(parts.get("Description", [])))
    if options:
        out.append(".SH OPTIONS")
    for what, text in options:
        out.extend([".TP", f"\\fB{escape(what)}\\fP", escape(text) or "\\&"])
    for title, lines in parts.items():
        if title != "Description":
            out.extend([f".SH {title.upper()}", *roff_part(lines)])
    out.extend([".SH SEE ALSO", ", ".join(f"\\fB{escape(o)}\\fP(1)" for o in others)])
    return "\n".join(out) + "\n"


def verbs_of(text):
    """(name, summary) of each, and the help without them."""
    head, rest = text.split("verbs:\n")
    listed, rest = rest.split("\n\n", 1)
    return [tuple(line.split(None, 1)) for line in listed.splitlines()], head + rest


def main():
    husk, pages_path, directory = sys.argv[1:]
    pages = parse_pages(pages_path)
    verbs, own = verbs_of(say(husk))
    wrong = {"husk", *(v for v, _ in verbs)} ^ pages.keys()
    if wrong:
        sys.exit(f"{pages_path}: a section too many, or missing: {', '.join(sorted(wrong))}")
    texts = {"husk": page("husk", "run containers in small virtual machines", own.replace("options before the verb:\n", ""),
                          pages["husk"], [f"husk-{v}" for v, _ in verbs])}
    for verb, summary in verbs:
        texts[f"husk-{verb}"] = page(f"husk-{verb}", summary, say(husk, verb), pages[verb], ["husk"])
    for name, text in texts.items():
        with open(os.path.join(directory, f"{name}.1"), "w", encoding="utf-8") as f:
            f.write(text)


main()
