"""Judges the alerts and the dashboard of the chart.

    check.py PROGRAM    PROGRAM: a built audit-relay; `promtool` and `prometheus` are on the path

promtool judges syntax and tests, and a real Prometheus evaluates all of it. Of each alert there is a case in which it fires, and one in which it nearly does. Every
metric, label and state that is named is one that the running program exports. Then each check is shown to fail.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import dashboard
import exported
import live
from expressions import OF_TARGETS, unknown

ROOT = pathlib.Path(__file__).resolve().parents[3]
ALERTS = ROOT / "charts" / "audit-relay" / "files" / "alerts.yaml"
BOARD = ROOT / "charts" / "audit-relay" / "files" / "dashboard.json"
TESTS = pathlib.Path(__file__).with_name("alerts_test.yaml")
PAGE = ROOT / "docs" / "alerts.md"
# Panels that have nothing to show of a relay without gaps that was not reloaded just now.
EMPTY = {"Gaps, 24 h", "Reloads"}
SEVERITIES = {"critical", "warning", "info"}


def promtool(*arguments):
    judged = subprocess.run(["promtool", *arguments], text=True, capture_output=True, timeout=300)
    return judged.returncode, judged.stdout + judged.stderr


def alerts(rules):
    """Each alert by its name."""
    found = {}
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["alert"] not in found, f"{rule['alert']} is there twice"
            found[rule["alert"]] = rule
    return found


def judge_syntax(rules):
    """What promtool says of the file."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "alerts.yaml"
        file.write_text(yaml.safe_dump(rules))
        code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    if code != 0 or f"{len(alerts(rules))} rules found" not in said:
        yield said


def judge_tests(rules, tests):
    """What promtool says of the tests with these rules."""
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        (place / "alerts.yaml").write_text(yaml.safe_dump(rules))
        (place / "test.yaml").write_text(yaml.safe_dump({**tests, "rule_files": ["alerts.yaml"]}))
        code, said = promtool("test", "rules", str(place / "test.yaml"))
    if code != 0:
        yield said


def concerning(name, tests):
    """The tests that ask for an alert."""
    kept = [test for test in tests["tests"] if any(case["alertname"] == name for case in test["alert_rule_test"])]
    return {**tests, "tests": kept}


def judge_coverage(rules, tests):
    """Whether each alert is seen to fire, and not to fire where its own metrics are there."""
    fires, nearly = set(), set()
    for test in tests["tests"]:
        series = " ".join(line["series"] for line in test["input_series"])
        for case in test["alert_rule_test"]:
            name = case["alertname"]
            if name not in alerts(rules):
                yield f"the test {test['name']!r} asks for {name}, which is no alert"
            elif case.get("exp_alerts"):
                fires.add(name)
            elif any(metric in series for metric in re.findall(r"audit_relay_\w+", alerts(rules)[name]["expr"])):
                nearly.add(name)
    for name in alerts(rules):
        if name not in fires:
            yield f"{name} is never seen to fire"
        if name not in nearly:
            yield f"{name} is never seen to be silent"


def judge_alerts(rules, known):
    """Form and names of each alert."""
    for name, rule in alerts(rules).items():
        if not re.fullmatch(r"AuditRelay[A-Z]\w+", name):
            yield f"{name}: the name does not begin with AuditRelay"
        if set(rule["labels"]) != {"severity"} or rule["labels"]["severity"] not in SEVERITIES:
            yield f"{name}: labels are {rule['labels']}"
        notes = rule["annotations"]
        if set(notes) != {"summary", "description", "runbook_url"}:
            yield f"{name}: annotations are {sorted(notes)}"
            continue
        if notes["runbook_url"] != f"docs/alerts.md#{name.lower()}":
            yield f"{name}: runbook_url is {notes['runbook_url']}"
        if "$value" not in notes["description"] or "First" not in notes["description"]:
            yield f"{name}: the description tells no value, or not what to do first"
        for problem in unknown(rule["expr"], known):
            yield f"{name}: {problem}"
        labels = set().union(OF_TARGETS, *(set(known.labels(metric) or ()) for metric in
                                           re.findall(r"audit_relay_\w+", rule["expr"])))
        for label in re.findall(r"\$labels\.(\w+)", " ".join(notes.values())):
            if label not in labels:
                yield f"{name}: the description uses the label {label}, which the alert cannot have"


def judge_page(rules, page):
    """Whether docs/alerts.md has one section for each alert, with its severity, and no other."""
    told = re.findall(r"^### (\w+)\n\n\*(\w+)\*", page, re.MULTILINE)
    for name, rule in alerts(rules).items():
        if (name, rule["labels"]["severity"]) not in told:
            yield f"docs/alerts.md has no section on {name}, or one with another severity"
    for name, _ in told:
        if name not in alerts(rules):
            yield f"docs/alerts.md tells of {name}, which is no alert"


def refuse(what, problems, like=""):
    """Fails where nothing is found to be wrong with what was spoilt."""
    said = "\n".join(problems)
    assert said and like in said, f"not refused: {what}: {said}"


def spoil_rules(rules, tests, known, page):
    """Each check of the rules refuses what is wrong; returns how much was spoilt."""
    count = 0

    def spoilt(name, **changes):
        nonlocal count
        count += 1
        other = copy.deepcopy(rules)
        alerts(other)[name].update(changes)
        return other

    for name, rule in alerts(rules).items():
        expr, own_tests = rule["expr"], concerning(name, tests)
        never = spoilt(name, expr=f"({expr}) and on () vector(1) == 2")
        refuse(f"{name} never fires", judge_tests(never, own_tests), name)
        if "for" in rule:
            refuse(f"{name} fires at once", judge_tests(spoilt(name, **{"for": "0s"}), own_tests), name)
        refuse(f"{name} has no tests", judge_coverage(rules, {
            **tests, "tests": [{**test, "alert_rule_test": [case for case in test["alert_rule_test"]
                                                            if case["alertname"] != name]}
                               for test in tests["tests"]]}), name)
        metric = re.search(r"audit_relay_\w+", expr)[0]
        refuse(f"{name} names no metric", judge_alerts(spoilt(name, expr=expr.replace(metric, metric + "s")), known),
               f"no relay exports {metric}s")
        refuse(f"{name} has no section", judge_page(rules, page.replace(f"### {name}\n", "")), name)
    blocked = alerts(rules)["AuditRelayDestinationBlocked"]
    for old, new, like in (('"blocked"', '"bloked"', "never bloked"), ("state=", "status=", "no label status")):
        other = spoilt("AuditRelayDestinationBlocked", expr=blocked["expr"].replace(old, new))
        refuse(f"{new} in an expression", judge_alerts(other, known), like)
    refuse("an expression that is none", judge_syntax(spoilt("AuditRelayGap", expr="time() -")), "error")
    refuse("a severity of its own", judge_alerts(spoilt("AuditRelayGap", labels={"severity": "bad"}), known))
    notes = {**blocked["annotations"], "description": "First {{ $labels.source }} {{ $value }}"}
    refuse("a label that the alert has not", judge_alerts(spoilt("AuditRelayDestinationBlocked", annotations=notes), known),
           "the label source")
    twice = copy.deepcopy(rules)
    twice["groups"][0]["rules"].append({**twice["groups"][0]["rules"][0], "alert": "AuditRelayOther"})
    refuse("an alert without tests", judge_coverage(twice, tests), "AuditRelayOther is never seen to fire")
    return count + 1


def main():
    rules = yaml.safe_load(ALERTS.read_text())
    tests = yaml.safe_load(TESTS.read_text())
    board = json.loads(BOARD.read_text())
    known = exported.of(pathlib.Path(sys.argv[1]).resolve(),
                        lambda address: live.judge(address, ALERTS, board, EMPTY, refuse))
    page = PAGE.read_text()

    # As anybody would run it, besides.
    code, said = promtool("test", "rules", str(TESTS))
    assert code == 0, said
    problems = [*judge_syntax(rules), *judge_tests(rules, tests), *judge_coverage(rules, tests),
                *judge_alerts(rules, known), *judge_page(rules, page), *dashboard.judge(board, known)]
    if problems:
        raise SystemExit("\n".join(problems))
    spoilt = spoil_rules(rules, tests, known, page) + dashboard.spoil(board, known, refuse)

    unseen = sorted(set(known.documented) - set(known.scraped))
    print(f"{len(alerts(rules))} alerts fire and keep silent as they should, {len(board['panels'])} panels ask for what is "
          f"exported; {spoilt} spoilt copies were refused. Known from docs/metrics.md alone: {', '.join(unseen)}")


main()
