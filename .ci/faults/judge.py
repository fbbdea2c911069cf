"""Whether what came of a seed keeps the nine promises of README; and whether this judge would notice."""

import copy
import dataclasses

MAX_DATA_BYTES = 256 << 20


@dataclasses.dataclass
class Outcome:
    """All that is known when a seed has ended."""

    # Lines in the order they were written: number, flag, state, text, source, late; a pushed one only if acknowledged.
    lines: list
    # Numbers that may be lost, if a gap tells of it.
    exposed: set
    # By destination: requests in the order they came, as receiver.py notes them.
    taken: dict
    # By destination: numbers that are dead letters.
    dead: dict
    # Originals in the journal, by number.
    originals: dict
    # Reasons of gap records.
    gaps: list
    # What the status said while it ran.
    balanced: list
    # By destination: what it still waits for.
    waiting: dict
    # What `verify` said.
    verified: bool
    # Everything that was said, by where.
    said: dict
    # Whether Flipt's files are as they were written.
    untouched: bool
    # The most bytes that a data directory had.
    data_bytes: int
    # Whether the journal was damaged on purpose.
    damaged: bool
    # Whether a clock went back, so that the times of events lay ahead of it.
    was_early: bool
    # How often something may have been sent twice: kills, errors, answers that were not understood.
    excuses: int
    # Whether the healthy destination got all while another was in trouble.
    independent: list = dataclasses.field(default_factory=list)


def delivered(outcome, destination):
    """Envelopes that were answered 200, in order."""
    for request in outcome.taken[destination]:
        if request["status"] == 200:
            yield from request["envelopes"]


def judge(outcome):
    """Everything that breaks a promise, in words."""
    found = []
    for promise in (lost, recognisable, ordered, independent, balanced, original, secret, harmless, true_story):
        found += [f"{promise.__name__}: {what}" for what in promise(outcome)]
    return found


def lost(outcome):
    """1 and 2: every line is delivered or a dead letter, or a gap tells of it."""
    for destination in outcome.taken:
        there = {one["number"] for one in delivered(outcome, destination)} | outcome.dead[destination]
        missing = [line["number"] for line in outcome.lines if line["number"] not in there]
        unexcused = [number for number in missing if number not in outcome.exposed]
        if missing and not outcome.gaps:
            unexcused = missing
        # A bit that turned is in one record at most: that one is found, told and never sent.
        was_altered = outcome.damaged and not outcome.verified and len(unexcused) == 1
        if unexcused and not was_altered and not (outcome.damaged and "journal_damaged" in outcome.gaps):
            yield f"{destination} never got {unexcused[:5]} ({len(unexcused)} lines)"
        if outcome.waiting[destination]:
            yield f"{destination} still waits for {outcome.waiting[destination]}"


def recognisable(outcome):
    """2: one id for a line, everywhere and for ever, and twice only with an excuse."""
    ids, numbers = {}, {}
    for destination, requests in outcome.taken.items():
        times = 0
        seen = set()
        for one in (one for request in requests for one in request["envelopes"] if one["number"] is not None):
            pushed = one["number"] >= 1_000_000
            if ids.setdefault(one["number"], one["id"]) != one["id"] and not pushed:
                yield f"line {one['number']} is {ids[one['number']]} and {one['id']}"
            if numbers.setdefault(one["id"], one["number"]) != one["number"]:
                yield f"{one['id']} is line {numbers[one['id']]} and {one['number']}"
            times += one["id"] in seen
            seen.add(one["id"])
        if times and not outcome.excuses:
            yield f"{destination} got {times} events twice, and nothing had happened"
        if any(not request["signed"] for request in requests):
            yield f"{destination} got a request whose signature is wrong"


def ordered(outcome):
    """3: the lines of one flag arrive in the order they were written."""
    if outcome.damaged:
        return
    flags = {line["number"]: line["flag"] for line in outcome.lines if line["source"] == "file"}
    for destination in outcome.taken:
        last, seen = {}, set()
        for one in delivered(outcome, destination):
            number = one["number"]
            if number not in flags or number in seen or number in outcome.dead[destination]:
                continue
            seen.add(number)
            if last.get(flags[number], -1) > number:
                yield f"{destination} got {number} of flag {flags[number]} behind {last[flags[number]]}"
            last[flags[number]] = number


def independent(outcome):
    """4: trouble of one is none of another."""
    for what in outcome.independent:
        yield what


def balanced(outcome):
    """5: the books balance whenever somebody looks."""
    if not all(outcome.balanced):
        yield "the books did not balance"
    if outcome.data_bytes > MAX_DATA_BYTES:
        yield f"a data directory had {outcome.data_bytes} bytes"


def original(outcome):
    """6: the originals are in the journal, byte for byte, and the chain holds."""
    if outcome.damaged:
        return
    if not outcome.verified:
        yield "verify says that the journal is not what was accepted"
    for line in outcome.lines:
        kept = outcome.originals.get(line["number"])
        if kept is None and line["number"] not in outcome.exposed:
            yield f"line {line['number']} is not in the journal"
        elif kept is not None and kept != line["text"]:
            yield f"line {line['number']} is another in the journal"
    wanted = {line["number"]: line["state"] for line in outcome.lines}
    for destination in outcome.taken:
        for one in delivered(outcome, destination):
            if one["number"] in wanted and one["data"]["payload"] != wanted[one["number"]]:
                yield f"{destination} got another payload for {one['number']}"


def secret(outcome):
    """7: no output tells one."""
    for where, text in outcome.said.items():
        if "PLANTED" in text:
            yield f"{where} tells a secret"


def harmless(outcome):
    """8: Flipt's files are only read."""
    if not outcome.untouched:
        yield "a file of Flipt's was changed"


def true_story(outcome):
    """9: what is told of before was so: the state before of that flag, or an earlier one where something was lost."""
    states, before, newest = {}, {}, set()
    for line in outcome.lines:
        if line["source"] != "file":
            continue
        # What is older than what is known changes nothing of it, and is told as late; after a salvage nothing is known.
        is_late = line["late"] and line["flag"] in newest and not outcome.was_early and not outcome.damaged
        if not line["late"]:
            newest.add(line["flag"])
        if not is_late:
            before[line["number"]] = list(states.get(line["flag"], []))
            states.setdefault(line["flag"], []).append(line["state"])
    for destination in outcome.taken:
        for one in delivered(outcome, destination):
            told = one["before"]
            if one["number"] not in before or not told:
                continue
            known = before[one["number"]]
            right = known if outcome.gaps or outcome.damaged or outcome.exposed or outcome.was_early else known[-1:]
            if not any(told.get("description") == state["description"] for state in right):
                yield f"{destination} heard of {one['number']} that it was {told.get('description')} before"
                return


def selftest():
    """A clean outcome passes; each that was doctored does not. Gives what went unnoticed."""
    lines = []
    for number in range(12):
        state = {"key": f"flag-{number % 3}", "description": f"n{number}", "enabled": True}
        lines.append(
            {"number": number, "flag": number % 3, "state": state, "text": f"line {number}", "source": "file", "late": False}
        )

    def envelope(line):
        before = lines[line["number"] - 3]["state"] if line["number"] >= 3 else None
        return {"id": f"evt_{line['number']}", "number": line["number"], "before": before, "data": {"payload": dict(line["state"])}}

    requests = [{"status": 200, "signed": True, "envelopes": [envelope(line)]} for line in lines]
    clean = Outcome(
        lines=lines,
        exposed=set(),
        taken={"steady": requests},
        dead={"steady": set()},
        originals={line["number"]: line["text"] for line in lines},
        gaps=[],
        balanced=[True],
        waiting={"steady": 0},
        verified=True,
        said={"log": "ready"},
        untouched=True,
        data_bytes=1,
        damaged=False,
        was_early=False,
        excuses=0,
    )
    unnoticed = [f"a clean outcome: {judge(clean)}"] if judge(clean) else []

    def doctored(what, promise, change):
        outcome = copy.deepcopy(clean)
        change(outcome)
        if not any(fault.startswith(promise) for fault in judge(outcome)):
            unnoticed.append(what)

    def swap(outcome):
        taken = outcome.taken["steady"]
        taken[3], taken[6] = taken[6], taken[3]

    def told(outcome):
        outcome.taken["steady"][6]["envelopes"][0]["before"] = lines[0]["state"]

    def payload(outcome):
        outcome.taken["steady"][6]["envelopes"][0]["data"]["payload"]["enabled"] = False

    doctored("a lost line", "lost", lambda outcome: outcome.taken["steady"].pop(5))
    doctored("a lost line that a gap tells of elsewhere", "lost", lambda outcome: (outcome.taken["steady"].pop(5), outcome.gaps.append("missing")))
    doctored("an unexplained loss", "lost", lambda outcome: (outcome.taken["steady"].pop(5), outcome.exposed.add(5)))
    doctored("two lines that one bit cannot take", "lost", lambda outcome: (outcome.taken["steady"].pop(5), outcome.taken["steady"].pop(5), setattr(outcome, "damaged", True), setattr(outcome, "verified", False)))
    doctored("a stuck lane", "lost", lambda outcome: outcome.waiting.update(steady=1))
    doctored("twice without a reason", "recognisable", lambda outcome: outcome.taken["steady"].append(outcome.taken["steady"][0]))
    doctored("another id", "recognisable", lambda outcome: outcome.taken["steady"].append({**requests[0], "envelopes": [{**requests[0]["envelopes"][0], "id": "evt_x"}]}))
    doctored("one id for two", "recognisable", lambda outcome: outcome.taken["steady"][1]["envelopes"][0].update(id="evt_0"))
    doctored("a wrong signature", "recognisable", lambda outcome: outcome.taken["steady"][1].update(signed=False))
    doctored("another order", "ordered", swap)
    doctored("one that waits for another", "independent", lambda outcome: outcome.independent.append("steady waited"))
    doctored("books that do not balance", "balanced", lambda outcome: outcome.balanced.append(False))
    doctored("a disk that fills", "balanced", lambda outcome: setattr(outcome, "data_bytes", 1 << 30))
    doctored("an altered original", "original", lambda outcome: outcome.originals.update({4: "line X"}))
    doctored("an original that is gone", "original", lambda outcome: outcome.originals.pop(4))
    doctored("a broken chain", "original", lambda outcome: setattr(outcome, "verified", False))
    doctored("an altered payload", "original", payload)
    doctored("a secret", "secret", lambda outcome: outcome.said.update(log="PLANTED-signing"))
    doctored("a file that was written to", "harmless", lambda outcome: setattr(outcome, "untouched", False))
    doctored("a false before", "true_story", told)
    return unnoticed
