"""What a relay exports: scraped from one that runs and has some trouble; and from docs/metrics.md, which the code
writes, for series of trouble that is not made here."""

import collections
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from expressions import OF_PROMETHEUS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from waiting import PATIENCE_SECONDS, eventually, listening  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
EVENTS = ROOT / "tests" / "fixtures" / "flipt" / "v0.2_logfile_encoding-json.log"
# Labels whose values the code fixes: they are held against what was scraped.
FIXED = {"state", "severity", "outcome"}

CONFIGURATION = """
data_dir: {place}/data
sources:
  flipt: {{type: file, path: {place}/audit.log, instance: one}}
  pushed:
    type: http
    listen: "127.0.0.1:0"
    instance: two
    signing: {{scheme: flipt, secrets: [{{file: {place}/secret}}]}}
destinations:
  screen: {{type: console}}
  refusing: {{type: webhook, url: "http://127.0.0.1:{refusing}/"}}
  absent: {{type: webhook, url: "http://127.0.0.1:1/"}}
routes:
  all: {{to: [screen, refusing, absent]}}
telemetry: {{endpoint: "http://127.0.0.1:1", metric_interval: 1s}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
shutdown_timeout: 0s
"""


class Exported:
    """Metrics with their labels and the values of these."""

    def __init__(self, scraped, documented):
        self.scraped = scraped
        self.documented = documented

    def labels(self, name):
        """The labels of a series, without those of its target; None where there is none of that name."""
        if name in self.scraped:
            return set(self.scraped[name])
        for known in (self.documented, OF_PROMETHEUS):
            if name in known:
                return known[name]
        return None

    def has_value(self, name, label, value):
        if label not in FIXED or name not in self.scraped:
            return True
        return value in self.scraped[name][label]


class Refusing(BaseHTTPRequestHandler):
    """A receiver that will not take anything."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def push_unsigned(address):
    request = urllib.request.Request(f"http://{address}/v1/events", data=b"{}", method="POST")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as refused:
        assert refused.code == 401, refused
        return
    raise SystemExit("a push without a signature was taken")


def parsed(text):
    """{series name: {label: values}} of the text format."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, labels = re.match(r"([\w:]+)(?:\{(.*)\})? ", line).groups()
        series = found.setdefault(name, collections.defaultdict(set))
        for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
            series[label].add(value)
    return found


def documented():
    """{series name: labels} of docs/metrics.md."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    found = {}
    for name, kind, labels in re.findall(r"^\*\*`(\w+)`\*\* \((\w+)(?:, by ([^)]*))?\)", text, re.MULTILINE):
        labels = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    assert len(found) >= 40, f"only {len(found)} metrics in docs/metrics.md"
    return found


def scrape(program, meanwhile):
    """The metrics of a running relay of which one push and every event at one destination is refused. `meanwhile` is
    called with its address."""
    with tempfile.TemporaryDirectory() as directory, ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        place = pathlib.Path(directory)
        (place / "audit.log").write_bytes(EVENTS.read_bytes())
        (place / "secret").write_text("of-this-check-alone-0123456789abcdef\n")
        (place / "relay.yaml").write_text(CONFIGURATION.format(place=place, refusing=receiver.server_port))
        log = place / "relay.log"
        with log.open("w") as stderr:
            relay = subprocess.Popen([program, "run", "--config", place / "relay.yaml"], stderr=stderr,
                                     stdout=subprocess.DEVNULL)
        try:
            health = eventually("the relay listens", lambda: listening(log, "health"))
            push_unsigned(eventually("the source listens", lambda: listening(log, "pushed", "source")))

            def troubled():
                with urllib.request.urlopen(f"http://{health}/metrics", timeout=10) as answer:
                    text = answer.read().decode()
                wanted = (r'^audit_relay_destination_responses_total\{.*code="400".*\} [1-9]',
                          r'^audit_relay_destination_oldest_waiting_timestamp_seconds\{destination="absent"\} [1-9]',
                          r'^audit_relay_destination_last_success_timestamp_seconds\{destination="screen"\} [1-9]',
                          r'^audit_relay_source_refused_pushes_total\{source="pushed"\} 1$')
                return text if all(re.search(line, text, re.MULTILINE) for line in wanted) else None

            text = eventually("the relay is in trouble", troubled)
            meanwhile(health)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(PATIENCE_SECONDS) == 0, log.read_text()
        finally:
            if relay.poll() is None:
                relay.kill()
            relay.wait()
            receiver.shutdown()
    return parsed(text)


def of(program, meanwhile):
    """What `program` exports. It must be what is documented, label by label."""
    scraped, told = scrape(program, meanwhile), documented()
    for name, labels in scraped.items():
        assert name in told, f"{name} is not in docs/metrics.md"
        assert set(labels) == told[name], f"{name} has the labels {set(labels)}; docs/metrics.md says {told[name]}"
    return Exported(scraped, told)
