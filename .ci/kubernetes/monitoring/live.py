"""Has a real Prometheus scrape the running relay, load the rules, and answer every query of the dashboard.

What promtool cannot see: matches that are refused only when there are series, and queries that find nothing.
"""

import json
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from dashboard import queries

PATIENCE = 60
CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: audit-relay
    static_configs:
      - {{targets: ["{target}"], labels: {{namespace: flags, pod: relay-0}}}}
      - {{targets: ["{target}"], labels: {{namespace: flags, pod: relay-1}}}}
"""
CHOSEN = {"$namespace": "flags", "$pod": "relay-0|relay-1", "$instance": ".*", "$destination": ".*",
          "$__rate_interval": "5s", "$__interval": "1s", "$__range": "1m"}

# Alerts of what is wrong with the relay that is scraped, without `for`; and alerts that would be wrong.
FIRES = {"AuditRelayDeadLetters", "AuditRelayPushesRefused"}
SILENT = {"AuditRelayDown", "AuditRelayAbsent", "AuditRelayNotReady", "AuditRelaySourceStalled", "AuditRelayGap",
          "AuditRelayPushesUntaken", "AuditRelaySourceSilent", "AuditRelayJournalFilling", "AuditRelayJournalFull",
          "AuditRelayDiskFull", "AuditRelayJournalDamaged", "AuditRelayReloadRefused"}


def chosen(expression):
    for variable, text in CHOSEN.items():
        expression = expression.replace(variable, text)
    return expression


class Server:
    """A Prometheus that scrapes the relay at `target` twice, as the pods of one namespace."""

    def __init__(self, place, target, rules):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.own = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = place / "prometheus.log"
        (place / "prometheus.yaml").write_text(CONFIGURATION.format(target=target, rules=rules))
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={place}/prometheus.yaml", f"--storage.tsdb.path={place}/tsdb",
                 f"--web.listen-address={self.own}"], stdout=stderr, stderr=stderr)

    def ask(self, path, **parameters):
        """`data` of an answer; an exception where the question is refused."""
        try:
            with urllib.request.urlopen(f"http://{self.own}/api/v1/{path}?{urllib.parse.urlencode(parameters)}",
                                        timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            if refused.code == 503:
                raise ConnectionError("not ready") from refused
            raise ValueError(json.load(refused).get("error")) from refused

    def wait(self, what, look):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if look():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise SystemExit(f"in vain: {what}\n{self.log.read_text()[-2000:]}")

    def stop(self):
        self.process.kill()
        self.process.wait()


def judge(target, rules, board, empty, refuse):
    """`empty`: titles of panels that find nothing in a relay without that trouble."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(pathlib.Path(directory), target, rules)
        try:
            server.wait("three scrapes of each", lambda: all(
                float(series["value"][1]) >= 3
                for series in server.ask("query", query="count_over_time(audit_relay_ready[1m])")["result"] or [
                    {"value": [0, "0"]}]))

            def evaluated():
                found = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
                return found if found and all(rule["health"] != "unknown" for rule in found) else None

            server.wait("the rules are evaluated", evaluated)
            for rule in evaluated():
                assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"

            # The relay is in this trouble, and in neither of those; series of both pods were new with it.
            def firing():
                return {(alert["labels"]["alertname"], alert["labels"].get("pod"))
                        for alert in server.ask("alerts")["alerts"] if alert["state"] == "firing"}

            wanted = {(name, pod) for name in FIRES for pod in ("relay-0", "relay-1")}
            server.wait(f"{sorted(FIRES)} fire", lambda: wanted <= firing())
            told = {alert["labels"]["alertname"] for alert in server.ask("alerts")["alerts"]}
            assert not told & SILENT, f"{told & SILENT}, pending or firing, for a relay that works"

            def unanswered(asked):
                for title, expression, _ in asked:
                    try:
                        found = server.ask("query", query=chosen(expression))["result"]
                    except ValueError as error:
                        yield f"{title}: {error}"
                        continue
                    if not found and title not in empty:
                        yield f"{title}: nothing is found by {chosen(expression)}"

            problems = list(unanswered(queries(board)))
            if problems:
                raise SystemExit("\n".join(problems))
            many = "audit_relay_destination_lag_records / ignoring (destination) audit_relay_journal_limit_bytes"
            refuse("a match of many with one", unanswered([("", many, "")]), "group_left")
            refuse("a query that finds nothing", unanswered([("", 'audit_relay_ready{pod="none"}', "")]), "nothing is found")
        finally:
            server.stop()
