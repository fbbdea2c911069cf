"""Judges what Helm makes of the alerts and the dashboard.

    rendered.py CHART HELM...    CHART: the directory of the chart; HELM: programs of Helm, of each major version

What is rendered says what the files say: Prometheus's own templates are untouched, what is disabled is gone, and a name that
is no alert's is refused.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import yaml

NEEDED = {"existingSecret": "audit-relay"}


def render(helm, chart, values):
    """(exit code, objects, what was said)."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({**NEEDED, **values}, file)
        file.flush()
        done = subprocess.run([helm, "template", "watch", str(chart), "--namespace", "flags", "--values", file.name],
                              text=True, capture_output=True, timeout=120)
    objects = [found for found in yaml.safe_load_all(done.stdout) if found] if done.returncode == 0 else []
    return done.returncode, objects, done.stderr


def only(objects, kind, key=None):
    found = [thing for thing in objects if thing["kind"] == kind and (key is None or key in (thing.get("data") or {}))]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def rules(groups):
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def judge(helm, chart):
    source = yaml.safe_load((chart / "files" / "alerts.yaml").read_text())["groups"]
    board = json.loads((chart / "files" / "dashboard.json").read_text())

    code, objects, said = render(helm, chart, {})
    assert code == 0, said
    assert not [thing for thing in objects if thing["kind"] == "PrometheusRule"], "a rule that nobody asked for"
    assert not [thing for thing in objects if "audit-relay.json" in (thing.get("data") or {})], "a dashboard likewise"

    code, objects, said = render(helm, chart, {
        "prometheusRule": {"enabled": True, "namespace": "monitoring", "labels": {"release": "prometheus"},
                           "annotations": {"a": "b"}},
        "dashboard": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "Flipt"}},
    })
    assert code == 0, said
    rule, config = only(objects, "PrometheusRule"), only(objects, "ConfigMap", "audit-relay.json")
    assert rule["spec"]["groups"] == source, "the rules that are rendered are not those of the file"
    assert json.loads(config["data"]["audit-relay.json"]) == board, "the dashboard that is rendered is not the file"
    wanted = (("monitoring", {"release": "prometheus"}, {"a": "b"}),
              ("grafana", {"grafana_dashboard": "1"}, {"grafana_folder": "Flipt"}))
    for thing, (namespace, labels, annotations) in zip((rule, config), wanted):
        metadata = thing["metadata"]
        assert metadata["namespace"] == namespace and metadata["annotations"] == annotations, metadata
        assert {"app.kubernetes.io/instance": "watch", **labels}.items() <= metadata["labels"].items(), metadata

    code, objects, said = render(helm, chart, {"prometheusRule": {
        "enabled": True, "disabled": ["AuditRelaySpansLost"], "severities": {"AuditRelayGap": "page"}}})
    assert code == 0, said
    left, all_rules = rules(only(objects, "PrometheusRule")["spec"]["groups"]), rules(source)
    assert set(all_rules) - set(left) == {"AuditRelaySpansLost"}, set(left)
    assert left["AuditRelayGap"] == {**all_rules["AuditRelayGap"], "labels": {"severity": "page"}}
    assert all(left[name] == all_rules[name] for name in left if name != "AuditRelayGap")

    if "runbookUrl" in yaml.safe_load((chart / "values.yaml").read_text())["prometheusRule"]:
        code, objects, said = render(helm, chart, {"prometheusRule": {
            "enabled": True, "runbookUrl": "https://git.example.com/relay/"}})
        assert code == 0, said
        notes = rules(only(objects, "PrometheusRule")["spec"]["groups"])["AuditRelayGap"]["annotations"]
        assert notes["runbook_url"] == "https://git.example.com/relay/docs/alerts.md#auditrelaygap", notes

    for values, wanted in (
        ({"disabled": ["AuditRelayGaps"]}, "AuditRelayGaps"),
        ({"severities": {"Gap": "page"}}, "Gap"),
    ):
        code, _, said = render(helm, chart, {"prometheusRule": {"enabled": True, **values}})
        assert code != 0 and f'there is no alert "{wanted}"; there are: AuditRelayDown, ' in said, said
    code, _, said = render(helm, chart, {"prometheusRule": {"enabled": True, "disabled": list(all_rules)}})
    assert code != 0 and "prometheusRule.enabled: false" in said, said
    return len(left) + 1


def main():
    chart = pathlib.Path(sys.argv[1])
    counts = [judge(helm, chart) for helm in sys.argv[2:]]
    print(f"{counts[0]} alerts and the dashboard are rendered as they are by {len(counts)} versions of Helm")


main()
