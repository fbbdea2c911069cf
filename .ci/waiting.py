"""Waiting for something that a program does, and finding where it listens: for every script of this directory."""

import json
import time

PATIENCE_SECONDS = 60


def eventually(what, look):
    """What `look` finds, which is asked again and again; ends the script where it finds nothing in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise SystemExit(f"in vain, for {PATIENCE_SECONDS} s: {what}")


def listening(log, word, key="what"):
    """The address that a listener (`what`) or a source (`source`) logged, in the file `log`; None where it has not yet."""
    for line in log.read_text().splitlines(keepends=True):
        is_whole = line.startswith("{") and line.endswith("\n")
        entry = json.loads(line) if is_whole else {}
        if entry.get("message") == "listening" and entry.get(key) == word:
            return entry["address"]
    return None
