"""Has Debian's Prometheus scrape a running relay, and answer what was asked of it.

    prometheus.py PROGRAM    PROGRAM: a built audit-relay; `promtool` and `prometheus` are on the path

promtool judges the metrics and every expression of docs/metrics.md; it must also refuse what is wrong.
"""

import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from waiting import PATIENCE_SECONDS, eventually, listening  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVENTS = ROOT / "tests" / "fixtures" / "flipt" / "v0.2_logfile_encoding-json.log"

CONFIGURATION = """
data_dir: {place}/data
sources: {{flipt: {{type: file, path: {place}/audit.log}}}}
destinations:
  archive: {{type: file, path: {place}/archive.ndjson}}
  broken: {{type: webhook, url: "http://127.0.0.1:1/"}}
routes:
  all: {{to: [archive, broken]}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
shutdown_timeout: 0s
"""

SCRAPES = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: audit-relay
    static_configs: [{{targets: ["{target}"]}}]
"""


def fetch(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def promtool(*arguments, text=None):
    return subprocess.run(["promtool", *arguments], input=text, text=True, capture_output=True, timeout=60)


def judge_text(text):
    judged = promtool("check", "metrics", text=text)
    said = judged.stdout + judged.stderr
    assert judged.returncode == 0 and not said.strip(), said
    wrong = promtool("check", "metrics", text="# HELP no_total x\n# TYPE no_total gauge\nno_total 1\n")
    assert wrong.returncode != 0, "promtool takes a gauge that is named like a counter"


def expressions():
    """Every expression of the reference, with the metric that it stands under."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    found = re.findall(r"^\*\*`(\w+)`\*\*.*?^```promql\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) >= 40, f"only {len(found)} metrics in docs/metrics.md"
    return found


def judge_rules(place, found):
    rules = [{"alert": f"Alert{number}", "expr": expr} for number, (_, expr) in enumerate(found)]
    file = place / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "audit-relay", "rules": rules}]}))
    judged = promtool("check", "rules", str(file))
    assert judged.returncode == 0 and f"{len(rules)} rules found" in judged.stdout, judged.stdout + judged.stderr


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    running = []
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        shutil.copy(EVENTS, place / "audit.log")
        events = len((place / "audit.log").read_bytes().splitlines())
        (place / "relay.yaml").write_text(CONFIGURATION.format(place=place))
        try:
            log = place / "relay.log"
            with log.open("w") as stderr:
                relay = subprocess.Popen([program, "run", "--config", place / "relay.yaml"], stderr=stderr)
            running.append(relay)
            target = eventually("the relay listens", lambda: listening(log, "health"))

            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                own = f"127.0.0.1:{free.getsockname()[1]}"
            (place / "prometheus.yaml").write_text(SCRAPES.format(target=target))
            with (place / "prometheus.log").open("w") as stderr:
                running.append(subprocess.Popen(
                    ["prometheus", f"--config.file={place}/prometheus.yaml", f"--storage.tsdb.path={place}/tsdb",
                     f"--web.listen-address={own}"], stdout=stderr, stderr=stderr))

            def ask(query):
                try:
                    url = f"http://{own}/api/v1/query?" + urllib.parse.urlencode({"query": query})
                    answer = json.loads(fetch(url))
                except OSError:
                    return None
                assert answer["status"] == "success", answer
                return answer["data"]["result"]

            def value(query):
                result = ask(query)
                return float(result[0]["value"][1]) if result else None

            def wait_for(query, wanted):
                eventually(f"{query} is {wanted}", lambda: True if value(query) == wanted else None)

            wait_for('up{job="audit-relay"}', 1.0)
            wait_for('audit_relay_destination_delivered_records_total{destination="archive"}', float(events))
            wait_for('audit_relay_destination_waiting_records{destination="broken"}', float(events))
            wait_for('audit_relay_destination_state{destination="broken",state="running"}', 0.0)
            wait_for("audit_relay_ready", 1.0)
            wait_for('sum(audit_relay_destination_state{destination="archive"})', 1.0)

            judge_text(fetch(f"http://{target}/metrics"))
            found = expressions()
            judge_rules(place, found)
            scraped = {series["metric"]["__name__"] for series in ask('{job="audit-relay"}')}
            for name, expr in found:
                assert ask(expr) is not None, expr
            documented = {name for name, _ in found}
            for name in scraped:
                bare = re.sub(r"_(bucket|sum|count)$", "", name)
                own_name = name.startswith(("audit_relay_", "process_"))
                assert not own_name or name in documented or bare in documented, f"{name} is not in docs/metrics.md"

            relay.send_signal(signal.SIGTERM)
            assert relay.wait(PATIENCE_SECONDS) == 0, log.read_text()
            wait_for('up{job="audit-relay"}', 0.0)
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                process.wait()
    print(f"Prometheus scraped {events} delivered events; {len(found)} metrics and their expressions are right")


main()
