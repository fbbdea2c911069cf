"""What the chart makes, acted out with a process: the relay runs by the ConfigMap and the Secret of a plain install, is pushed
to as the notes tell Flipt to, and the command of `helm test` is typed against it.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

from chart_rules import the

# Longer than anything here takes; then it has failed.
PATIENCE = 30
EVENT = (b'{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{"actor":'
         b'{"authentication":"none","ip":"127.0.0.1"}},"payload":{"key":"checkout","namespace_key":"production",'
         b'"name":"Checkout","enabled":true,"type":"VARIANT_FLAG_TYPE"},"timestamp":"2026-11-20T08:02:11Z"}')


class Relay:
    """A relay that runs, with what it says on both of its outputs. Everything is below one directory; ports are free ones."""

    def __init__(self, program, place, objects):
        self.config = pathlib.Path(place, "config.yaml")
        secrets = pathlib.Path(place, "secrets")
        secrets.mkdir()
        for name, content in the(objects, "Secret")["data"].items():
            (secrets / name).write_bytes(base64.b64decode(content))
        text = the(objects, "ConfigMap")["data"]["config.yaml"]
        self.config.write_text(text.replace("/etc/audit-relay", place))
        listen = {f"AUDIT_RELAY__{key}__LISTEN": "127.0.0.1:0" for key in ("SOURCES__FLIPT", "HEALTH", "ADMIN")}
        environment = {"PATH": os.environ["PATH"], "AUDIT_RELAY__DATA_DIR": f"{place}/data", **listen}
        self.process = subprocess.Popen([program, "run", "--config", str(self.config)], env=environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.log, self.screen = queue.Queue(), queue.Queue()
        for pipe, into in ((self.process.stderr, self.log), (self.process.stdout, self.screen)):
            threading.Thread(target=lambda pipe=pipe, into=into: [into.put(line) for line in pipe], daemon=True).start()

    def addresses(self):
        """Where it listens: of the source `flipt`, and of `health`."""
        found = {}
        while not {"flipt", "health"} <= found.keys():
            line = json.loads(self.log.get(timeout=PATIENCE))
            if line["message"] == "listening":
                found[line.get("source", line.get("what"))] = line["address"]
        return found

    def stop(self):
        self.process.terminate()
        return self.process.wait(PATIENCE)


def push(address, headers):
    """Pushes the event as Flipt does, and gives the status of the answer."""
    request = urllib.request.Request(f"http://{address}/v1/events", EVENT, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def acted_out(program, objects):
    """Yields what does not go as it should."""
    with tempfile.TemporaryDirectory() as place:
        relay = Relay(program, place, objects)
        try:
            at = relay.addresses()
            secret = base64.b64decode(the(objects, "Secret")["data"]["flipt"])
            signature = hmac.new(secret, EVENT, hashlib.sha256).hexdigest()
            if push(at["flipt"], {}) != 401:
                yield "a push without a signature is not refused"
            if push(at["flipt"], {"X-Flipt-Webhook-Signature": signature}) != 200:
                yield "a push as Flipt signs it is not taken"
            elif "checkout" not in relay.screen.get(timeout=PATIENCE):
                yield "the change does not show in the log of the pod"
            for container in the(objects, "Pod")["spec"]["containers"]:
                replaced = {"--url": f"http://{at['flipt']}", "--health": f"http://{at['health']}", "-c": str(relay.config)}
                words = container["args"]
                typed = [replaced.get(before, word) for before, word in zip([None, *words], words)]
                done = subprocess.run([program, *typed], text=True, capture_output=True, timeout=2 * PATIENCE)
                if done.returncode != 0:
                    yield f"helm test: {done.stdout}{done.stderr}"
                elif "test" not in relay.screen.get(timeout=PATIENCE).lower():
                    yield "the event of helm test does not show"
                typed[typed.index(replaced["--url"])] = f"http://{at['health']}"
                if subprocess.run([program, *typed], capture_output=True, timeout=2 * PATIENCE).returncode == 0:
                    yield "helm test passes where nothing takes pushes"
            if relay.stop() != 0:
                yield "the relay did not end in order"
        except queue.Empty:
            yield f"the relay is silent; it said: {list(relay.log.queue)}"
        finally:
            relay.process.kill()
