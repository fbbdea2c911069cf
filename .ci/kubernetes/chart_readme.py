"""README.md of the chart, made of the comments of values.yaml that begin with `# --`.

    python -B .ci/kubernetes/chart_readme.py            writes it
    python -B .ci/kubernetes/chart_readme.py --check    says whether it is current

A comment stands directly above its key and may go on over several lines. Every key that is not commented must lead to keys that
are.
"""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "audit-relay"
MARK = "<!-- values: made of values.yaml by .ci/kubernetes/chart_readme.py -->\n"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")


def described(text):
    """(path, comment) of each commented key, in the order of the file. Raises ValueError where a leaf has no comment."""
    comment, path, found = [], [], []
    for number, line in enumerate(text.splitlines(), 1):
        begun = re.match(r"^ *# -- (.*)", line)
        more = re.match(r"^ *# ?(.*)", line)
        key = KEY.match(line)
        if begun:
            comment = [begun[1]]
        elif more and comment:
            comment.append(more[1])
        elif key:
            depth = len(key[1]) // 2
            inside = comment_of_parent(found, path[:depth])
            path = [*path[:depth], key[2]]
            if comment:
                found.append((".".join(path), " ".join(comment)))
            elif not inside and not line.rstrip().endswith(":"):
                raise ValueError(f"values.yaml:{number}: {'.'.join(path)} has no comment")
            comment = []
        elif not line.strip():
            comment = []
    return found


def comment_of_parent(found, path):
    return any(".".join(path[:length]) == known for known, _ in found for length in range(1, len(path) + 1))


def value_of(values, path):
    for step in path.split("."):
        values = values[step]
    return values


def table():
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    lines = ["| value | default | |", "|---|---|---|"]
    for path, comment in described(text):
        default = json.dumps(value_of(values, path), ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{path}` | `{default}` | {comment} |")
    return "\n".join(lines) + "\n"


def outdated():
    """What is wrong with README.md as it stands, as sentences."""
    text = (CHART / "README.md").read_text()
    if MARK not in text:
        yield f"it lacks the line {MARK.strip()}"
    elif text.split(MARK, 1)[1] != "\n" + table():
        yield "it is not made of values.yaml: run .ci/kubernetes/chart_readme.py"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        problems = list(outdated())
        print("\n".join(problems) or "current")
        sys.exit(bool(problems))
    head = (CHART / "README.md").read_text().split(MARK, 1)[0]
    (CHART / "README.md").write_text(head + MARK + "\n" + table())
