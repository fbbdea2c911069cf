"""Puts the Helm chart to the test, by each Helm that is given and without a cluster.

    python -B .ci/kubernetes/chart.py --helm HELM [--helm HELM] --program AUDIT_RELAY

Needs kubernetes-validate and PyYAML (.ci/kubernetes/tools). UPDATE_GOLDEN=1 writes the golden notes. What is judged: the
values of chart_cases.py by chart_rules.py and manifests.py, refusals, the notes, the values in the documentation, that both
the chart and the relay call the same keys secret, a plain install acted out with a process, and that each rule can fail.
"""

import argparse
import copy
import json
import os
import pathlib
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import yaml
import chart_cases
import chart_readme
from chart_acted import acted_out
from chart_helm import CHART, DEFAULT_CONFIG, ROOT, VERSIONS, helm, rendered, run
from chart_notes import wrong_notes
from chart_rules import Given, broken, laid_out, the
from chart_secrets import disagreements
from chart_spoilt import SPOILINGS
from manifests import dangling, documents, invalid, pods, shown, unrestricted

# Cases that are rendered and judged for every version of Kubernetes. The templates ask for none, so that the others are
# judged for the oldest and the newest.
THOROUGH = {"default", "everything", "several"}
# Documentation in which blocks of values stand, and how many.
PAGES = {"docs/kubernetes.md": 4}


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--helm", action="append", required=True)
    parser.add_argument("--program", required=True)
    found = parser.parse_args()
    found.program = str(pathlib.Path(found.program).resolve())
    return found


HELMS, PROGRAM = vars(options()).values()


def judged_by_the_relay(objects):
    """What `audit-relay check` says of the ConfigMaps, laid out as the pod sees them."""
    pod = the(objects, "StatefulSet")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    at = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    with tempfile.TemporaryDirectory() as place:
        for path, text in laid_out(objects, volumes, at).items():
            file = pathlib.Path(place, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
        done = run([PROGRAM, "check", "--no-environment", "-c", f"{place}/config.yaml"])
    if done.returncode != 0:
        yield f"audit-relay check: {done.stdout}{done.stderr}"


def wrong(given, objects, versions):
    """Everything that is wrong of what a case rendered."""
    for version in versions:
        yield from invalid(objects, version)
    yield from dangling(objects, chart_cases.ELSEWHERE)
    for what, _, pod in pods(objects):
        yield from unrestricted(what, pod)
    yield from shown(objects, [chart_cases.PLANTED])
    yield from broken(given, objects)


def good(name, values):
    """Renders one case with each Helm, for each version, and judges it once for each version."""
    versions = VERSIONS if name in THOROUGH else [VERSIONS[0], VERSIONS[-1]]
    first = None
    for program in HELMS:
        for version in versions if first is None or name in THOROUGH else versions[-1:]:
            objects, text = rendered(program, values, version)
            if objects is None:
                yield text
                return
            first = first or objects
            if objects != first:
                yield f"another rendering with {program} for Kubernetes {version}"
        lint = helm(program, "lint", values, "--strict")
        if lint.returncode != 0:
            yield f"lint: {lint.stdout}{lint.stderr}"
    given = Given(values, DEFAULT_CONFIG)
    yield from wrong(given, first, versions)
    yield from judged_by_the_relay(first)


def bad(values, expected):
    """A refusal, and what it says."""
    for program in HELMS:
        done = helm(program, "template", values)
        if done.returncode == 0:
            yield f"{program} renders it"
        for text in expected:
            if text not in done.stderr:
                yield f"{program} does not say `{text}`: {done.stderr}"
        if chart_cases.PLANTED in done.stderr:
            yield f"{program} shows the secret: {done.stderr}"


def exact():
    """A configuration comes out to the byte, whatever is in it, by values and by --set-file."""
    texts = {"nasty": chart_cases.NASTY, "no end": "sources: {a: {type: http, signing: none}}", "usual": DEFAULT_CONFIG}
    for program in HELMS:
        for name, text in texts.items():
            with tempfile.NamedTemporaryFile("wb", suffix=".yaml") as file:
                file.write(text.encode())
                file.flush()
                ways = {"values": helm(program, "template", chart_cases.FLIPT + json.dumps({"config": text})[1:-1]),
                        "--set-file": helm(program, "template", chart_cases.FLIPT, "--set-file", f"config={file.name}")}
            for way, done in ways.items():
                found = done.returncode == 0 and the(documents(done.stdout), "ConfigMap")["data"]["config.yaml"]
                if found != text:
                    yield f"{name} by {way}, {program}: {found!r} {done.stderr}"


def steady():
    """What the relay takes while it runs restarts no pod; what it cannot take does."""
    values = chart_cases.GOOD["hub"]
    edits = [("a route", "to: [slack, siem, archive, collector]", "to: [slack, siem]", False),
             ("a file", "  ca/siem.pem: |", "  routes.d/search.yaml: |\n    owners: []\n  ca/siem.pem: |", False),
             ("the level of the log", "  problems: {to: slack}", "  problems: {to: slack}\n  log: {level: debug}", False),
             ("the format of the log", "  problems: {to: slack}", "  problems: {to: slack}\n  log: {format: text}", True),
             ("the name", "name: audit-hub", "name: other-hub", True),
             ("a port", '"[::]:8788"', '"[::]:8789"', True)]
    before = the(rendered(HELMS[0], values, VERSIONS[-1])[0], "StatefulSet")
    for what, old, new, restarts in edits:
        objects, text = rendered(HELMS[0], values.replace(old, new), VERSIONS[-1])
        if objects is None or old not in values:
            yield f"{what}: {text}"
        elif (the(objects, "StatefulSet") != before) != restarts:
            yield f"an edit of {what} {'restarts nothing' if restarts else 'restarts the relay'}"


def pages():
    """Blocks of values in the documentation are values that render well."""
    for page, expected in PAGES.items():
        blocks = re.findall(r"<!-- values -->\n+```yml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        if len(blocks) != expected:
            yield f"{page} has {len(blocks)} blocks of values, not {expected}"
        for number, block in enumerate(blocks, 1):
            yield from (f"{page}, values {number}: {what}" for what in good(page, block))


def spoilt():
    """Every rule can fail: what is spoilt on purpose is found."""
    cases = {name: (Given(values, DEFAULT_CONFIG), rendered(HELMS[0], values, VERSIONS[-1])[0])
             for name, values in chart_cases.GOOD.items() if name in {spoiling[0] for spoiling in SPOILINGS}}
    for name, expected, spoil in SPOILINGS:
        given, objects = cases[name]
        objects = copy.deepcopy(objects)
        spoil(objects)
        said = list(wrong(given, objects, VERSIONS[-1:]))
        if not any(expected in sentence for sentence in said):
            yield f"{expected!r} was not found: {said}"


def acted():
    objects, _ = rendered(HELMS[0], chart_cases.GOOD["default"], VERSIONS[-1])
    yield from acted_out(PROGRAM, objects)


def facts():
    """Versions, the page of the chart, and that the schema knows each value."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    if chart["appVersion"] != version:
        yield f"Chart.yaml: appVersion is {chart['appVersion']}, Cargo.toml says {version}"
    for program in HELMS:
        bare = helm(program, "lint", "", "--strict")
        if bare.returncode != 0:
            yield f"{program} lint without values: {bare.stdout}{bare.stderr}"
        old = helm(program, "template", chart_cases.FLIPT, "--kube-version", "1.26.15")
        if old.returncode == 0 or ">=1.27" not in old.stderr:
            yield f"{program} takes Kubernetes 1.26: {old.stderr}"
    yield from (f"README.md of the chart: {what}" for what in chart_readme.outdated())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    if schema["properties"].keys() - {"global"} != values.keys():
        yield f"values.schema.json differs in {schema['properties'].keys() ^ values.keys()}"
    known = run([PROGRAM, "send-test", "--help"]).stdout
    for word in re.findall(r"^ +- (--?[a-z]+)$", (CHART / "templates/tests/send.yaml").read_text(), re.MULTILINE):
        if not re.search(rf"(^|\s){word}\b", known, re.MULTILINE):
            yield f"templates/tests/send.yaml: audit-relay send-test knows no {word}"


def main():
    jobs = [(name, good, (name, values)) for name, values in chart_cases.GOOD.items()]
    jobs += [(f"refusal of {name}", bad, case) for name, case in chart_cases.BAD.items()]
    jobs += [(job.__name__, job, ()) for job in (facts, exact, steady, pages, spoilt, acted)]
    jobs += [("secrets", disagreements, (HELMS, PROGRAM)), ("notes", wrong_notes, (HELMS, PROGRAM))]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        results = [(name, workers.submit(lambda work=work, given=given: list(work(*given)))) for name, work, given in jobs]
        failed = 0
        for name, result in results:
            for what in result.result():
                failed += 1
                print(f"FAILED {name}: {what}", flush=True)
    print(f"chart: {len(chart_cases.GOOD)} cases, {len(chart_cases.BAD)} refusals, {len(SPOILINGS)} spoilings; {failed} failures")
    sys.exit(bool(failed))


main()
