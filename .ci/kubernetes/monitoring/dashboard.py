"""Judges the dashboard: what Grafana needs of its JSON, and what its queries name.

The form: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

import copy
import json
import pathlib
import re
import subprocess
import tempfile

from expressions import kept, selectors, unknown

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES = ["datasource", "namespace", "pod", "instance", "destination"]
KINDS = {"stat", "timeseries", "state-timeline"}
COLUMNS = 24
# What Grafana puts in place of its variables, so that promtool can read the expression.
STAND_INS = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "6h"}


def plain(expression):
    """An expression as Prometheus gets it."""
    for variable, text in STAND_INS.items():
        expression = expression.replace(variable, text)
    return re.sub(r"\$\w+", ".*", expression)


def queries(board):
    """(where, expression, legend) of every query of panels and annotations."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], ""


def judge(board, known):
    yield from judge_form(board)
    yield from judge_panels(board)
    yield from judge_queries(board, known)
    yield from judge_syntax(board)


def judge_form(board):
    """The dashboard itself and its variables."""
    if board.get("schemaVersion", 0) < 39:
        yield "schemaVersion is below 39"
    if "id" in board:
        yield "it has the id of one installation"
    for key in ("uid", "title", "description", "time", "refresh"):
        if not board.get(key):
            yield f"it has no {key}"
    found = board["templating"]["list"]
    if [variable["name"] for variable in found] != VARIABLES:
        yield f"its variables are not {VARIABLES}"
    if found[0]["type"] != "datasource" or found[0]["query"] != "prometheus":
        yield "its first variable does not choose a Prometheus"
    for variable in found[1:]:
        if variable["datasource"] != SOURCE:
            yield f"the variable {variable['name']} does not ask the chosen Prometheus"
        # A label that is not there at all is matched by `.*` alone, not by a list of values.
        if not variable["includeAll"] or variable["allValue"] != ".*":
            yield f"`All` of the variable {variable['name']} leaves out what has no such label"
    for annotation in board["annotations"]["list"]:
        if annotation["datasource"] != SOURCE:
            yield f"the annotation {annotation['name']} does not ask the chosen Prometheus"


def judge_panels(board):
    """Each panel on its own, and their places."""
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    if len(set(ids)) != len(ids):
        yield "two panels have the same id"
    titles = [panel["title"] for panel in panels]
    for title in {title for title in titles if titles.count(title) > 1}:
        yield f"two panels are called {title}"
    taken = {}
    for panel in panels:
        place, title = panel["gridPos"], panel["title"]
        if place["x"] < 0 or place["w"] < 1 or place["h"] < 1 or place["x"] + place["w"] > COLUMNS:
            yield f"{title}: it is not within {COLUMNS} columns"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if taken.setdefault((x, y), title) != title:
                    yield f"{title}: it lies over {taken[x, y]}"
        if panel["type"] == "row":
            continue
        if panel["type"] not in KINDS:
            yield f"{title}: {panel['type']} is no kind of panel that is used here"
        if panel["datasource"] != SOURCE:
            yield f"{title}: it does not ask the chosen Prometheus"
        if not panel.get("description"):
            yield f"{title}: it has no description"
        defaults = panel["fieldConfig"]["defaults"]
        if defaults.get("color", {}).get("mode") != ("palette-classic" if panel["type"] == "timeseries" else "thresholds"):
            yield f"{title}: its colours are not those of its kind"
        if not defaults.get("unit"):
            yield f"{title}: it has no unit"
        if panel["type"] == "stat" and (len(defaults["thresholds"]["steps"]) < 1 or not defaults.get("noValue")):
            yield f"{title}: it has no thresholds, or does not say what no value means"
        if not panel["targets"]:
            yield f"{title}: it asks for nothing"
        letters = [target["refId"] for target in panel["targets"]]
        if len(set(letters)) != len(letters):
            yield f"{title}: two queries have the same refId"
        for target in panel["targets"]:
            if target["datasource"] != SOURCE:
                yield f"{title}: a query does not ask the chosen Prometheus"
    if not panels or panels[0]["type"] != "row" or any(panel["type"] != "stat" for panel in panels[1:7]):
        yield "it does not begin with the verdict"


def judge_queries(board, known):
    """What the queries name, and that each selector is narrowed to what was chosen."""
    for title, expression, legend in queries(board):
        for problem in unknown(plain(expression), known):
            yield f"{title}: {problem}"
        for name, matchers in selectors(expression):
            chosen = {label for label, operator, value in matchers if operator == "=~" and value == f"${label}"}
            if not {"namespace", "pod", "instance"} <= chosen:
                yield f"{title}: {name} is not narrowed to namespace, pod and instance"
        for label in set(re.findall(r"\{\{(\w+)\}\}", legend)) - kept(expression):
            yield f"{title}: the legend tells of {label}, which the query does not keep"


def judge_syntax(board):
    """What promtool says of the expressions."""
    rules = [{"record": f"panel:{number}", "expr": plain(expression)}
             for number, (_, expression, _) in enumerate(queries(board))]
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "panels.yaml"
        file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
        judged = subprocess.run(["promtool", "check", "rules", "--lint=none", str(file)], text=True,
                                capture_output=True, timeout=60)
    said = judged.stdout + judged.stderr
    if judged.returncode != 0 or f"{len(rules)} rules found" not in said:
        yield said


def spoil(board, known, refuse):
    """Each check of the dashboard refuses what is wrong; returns how much was spoilt."""
    def spoilt(change):
        other = copy.deepcopy(board)
        change(other, other["panels"][1], other["panels"][1]["targets"][0])
        return judge(other, known)

    def rewrite(old, new):
        def change(other, panel, target):
            assert old in target["expr"], old
            target["expr"] = target["expr"].replace(old, new)
        return change

    wrong = {
        "no relay exports audit_relay_redy": rewrite("audit_relay_ready", "audit_relay_redy"),
        "is not narrowed": rewrite('namespace=~"$namespace", ', ""),
        "has no label source": rewrite("{", '{source="flipt", '),
        "error": rewrite("min(", "min(("),
        "same id": lambda other, panel, target: panel.update(id=other["panels"][2]["id"]),
        "lies over": lambda other, panel, target: panel["gridPos"].update(w=4),
        "within 24 columns": lambda other, panel, target: other["panels"][8]["gridPos"].update(w=9),
        "no description": lambda other, panel, target: panel.pop("description"),
        "no unit": lambda other, panel, target: panel["fieldConfig"]["defaults"].pop("unit"),
        "the chosen Prometheus": lambda other, panel, target: target.update(datasource={"uid": "abc"}),
        "its colours": lambda other, panel, target: panel["fieldConfig"]["defaults"].pop("color"),
        "asks for nothing": lambda other, panel, target: panel["targets"].clear(),
        "same refId": lambda other, panel, target: panel["targets"].append(dict(target)),
        "the legend tells": lambda other, panel, target: target.update(legendFormat="{{destination}}"),
        "below 39": lambda other, panel, target: other.update(schemaVersion=38),
        "variables are not": lambda other, panel, target: other["templating"]["list"].pop(),
        "leaves out": lambda other, panel, target: other["templating"]["list"][1].update(allValue=None),
    }
    for like, change in wrong.items():
        refuse(f"a dashboard: {like}", spoilt(change), like)
    return len(wrong)
