"""Runs the relay as Compose configures it and as the systemd unit confines it, with Flipt's own lines and a real logrotate.

What stands for what: paths are moved into a temporary directory, the token is made by the very command of Compose, the
restrictions of the unit are those that restricted.py puts on. There is no container and no systemd.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

HERE = pathlib.Path(__file__).resolve().parent
EVENTS = HERE.parents[1] / "tests" / "fixtures" / "flipt" / "v0.2_logfile_encoding-json.log"
NOBODY = 65534
PATIENCE_SECONDS = 60


def until(what, happened):
    """Waits for `happened` to answer something, and gives it back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = happened()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


def make_token(compose, place):
    """Runs the command of `admin-token` twice, as two starts would; gives the token's path."""
    command = compose["services"]["admin-token"]["command"]
    place.mkdir()
    token = place / "token"
    subprocess.run(command, check=True, cwd=place)
    first = token.read_text()
    subprocess.run(command, check=True, cwd=place)
    assert token.read_text() == first, "a second start made another token"
    assert len(first) == 64 and set(first) <= set("0123456789abcdef"), first
    assert sorted(path.name for path in place.iterdir()) == ["token"]
    return token


def answer(address, token=None):
    """The status code and body of a GET."""
    request = urllib.request.Request(address)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def listeners(log):
    """The addresses in the log, by what listens there; each is `http://127.0.0.1:PORT`."""
    found = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry.get("message") == "listening":
            port = entry["address"].rpartition(":")[2]
            found[entry["what"]] = f"http://127.0.0.1:{port}"
    return found if {"health", "admin"} <= found.keys() else None


def lines_of(keys):
    """One event of Flipt for each key, as its log sink writes it."""
    sample = next(
        event
        for event in map(json.loads, EVENTS.read_text().splitlines())
        if (event["type"], event["action"]) == ("flag", "created")
    )
    for key in keys:
        sample["payload"]["key"] = key
        yield json.dumps(sample, separators=(",", ":")) + "\n"


class Relay:
    """A relay of the Compose configuration under the unit's restrictions."""

    def __init__(self, program, deploy, place):
        self.place = place
        self.log = place / "flipt" / "audit.log"
        self.screen, self.logged = place / "screen", place / "logged"
        self.program, self.unit = place / "audit-relay", deploy / "systemd" / "audit-relay.service"
        shutil.copy(program, self.program)
        self.log.parent.mkdir()
        (place / "data").mkdir(mode=0o700)
        compose = yaml.safe_load((deploy / "compose.yaml").read_text())
        self.token = make_token(compose, place / "token").read_text()
        self.configuration = place / "config.yaml"
        plan = yaml.safe_load((deploy / "compose" / "relay" / "config.yaml").read_text())
        plan["data_dir"] = str(place / "data")
        plan["sources"]["flipt"]["path"] = str(self.log)
        plan["admin"]["token"]["file"] = str(place / "token" / "token")
        plan["admin"]["listen"], plan["health"] = ":0", {"listen": ":0"}
        plan["flipt"]["url"] = "http://localhost:1"  # a name, so that the resolver is confined too
        plan["shutdown_keep_reading"] = "1s"
        # A second destination, which needs the network, and a third that writes where systemd lets it.
        plan["destinations"]["dead"] = {"type": "webhook", "url": "http://localhost:1/", "observe": False}
        plan["destinations"]["archive"] = {"type": "file", "path": str(place / "data" / "archive" / "%Y.ndjson")}
        plan["routes"]["everything"]["to"] += ["archive"]
        plan["routes"]["first"] = {"when": {"keys": ["first"]}, "to": ["dead"]}
        plan["shutdown_timeout"] = "2s"
        self.configuration.write_text(yaml.safe_dump(plan))
        if os.geteuid() == 0:
            os.chown(place / "data", NOBODY, NOBODY)
        self.process = None

    def command(self, *arguments):
        return [sys.executable, str(HERE / "restricted.py"), str(self.unit), str(self.program), *arguments]

    def start(self):
        with self.screen.open("a") as screen, self.logged.open("w") as logged:
            self.process = subprocess.Popen(
                self.command("run", "--config", str(self.configuration)), stdout=screen, stderr=logged, cwd="/"
            )
        return until("both listeners", self.listening)

    def listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the relay ended with {self.process.returncode}:\n{self.logged.read_text()}")
        return listeners(self.logged)

    def seen(self, keys):
        """Whether the screen told of each key, and of each once."""
        text = self.screen.read_text()
        counts = {key: text.count(f"flag {key} ") + text.count(f"flag {key}\n") for key in keys}
        assert max(counts.values()) <= 1, counts
        return min(counts.values()) == 1

    def write(self, keys):
        with self.log.open("a") as log:
            log.writelines(lines_of(keys))


def act(program, deploy):
    """Yields what was seen; raises AssertionError where it was not."""
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        place.chmod(0o755)
        relay = Relay(program, deploy, place)
        try:
            yield from play(relay, deploy, place)
        finally:
            if relay.process and relay.process.poll() is None:
                relay.process.kill()
                relay.process.wait()


def status_of(relay):
    """What `audit-relay status --json` prints."""
    asked = relay.command("status", "--json", "--config", str(relay.configuration))
    status = subprocess.run(asked, capture_output=True, text=True)
    assert status.returncode == 0, status.stderr
    return status.stdout


def play(relay, deploy, place):
    addresses = relay.start()
    first = ["first", *(f"before-{n}" for n in range(50))]
    relay.write(first)
    until("what was written first", lambda: relay.seen(first))
    assert answer(addresses["health"] + "/livez")[0] == 200
    assert answer(addresses["admin"] + "/")[0] == 401, "the status page is open without the token"
    assert answer(addresses["admin"] + "/", "0" * 64)[0] == 401, "any token opens the status page"
    code, page = answer(addresses["admin"] + "/", relay.token)
    assert code == 200 and "before-49" in page, "the token does not open the status page"
    yield "the token that Compose makes opens the status page, and no other does"

    assert '"screen"' in status_of(relay)
    yield "the command line of the same user is answered"

    rotation = place / "rotation"
    text = (deploy / "systemd" / "flipt-audit.logrotate").read_text()
    rotation.write_text(text.replace("/var/log/flipt/audit.log", str(relay.log)))
    everything = list(first)
    for turn in ("one", "two", "three"):
        subprocess.run(
            ["logrotate", "--force", "--state", str(place / "rotation.state"), str(rotation)], check=True
        )
        assert relay.log.stat().st_size == 0, "logrotate did not truncate the file"
        keys = [f"{turn}-{n}" for n in range(50)]
        relay.write(keys)
        everything += keys
        until(f"what came after rotation {turn}", lambda: relay.seen(everything))
    assert (place / "flipt" / "audit.log.1").exists() and (place / "flipt" / "audit.log.2.gz").exists()
    yield "three rotations by logrotate: each line once"

    relay.process.send_signal(signal.SIGHUP)
    until("SIGHUP to have the configuration read", lambda: "nothing that counts" in relay.logged.read_text())
    yield "SIGHUP, as ExecReload sends it, has the configuration read again"

    plan = yaml.safe_load(relay.configuration.read_text())
    plan["destinations"]["later"] = {"type": "console"}
    plan["routes"]["later"] = {"when": {"keys": ["never"]}, "to": ["later"]}
    edited = place / "edited"
    edited.write_text(yaml.safe_dump(plan))
    edited.rename(relay.configuration)
    until("the edit to be applied", lambda: '"later"' in status_of(relay))
    yield "an editor's new file is found without a signal"

    relay.process.terminate()
    relay.write(["last"])
    assert relay.process.wait(PATIENCE_SECONDS) == 0, relay.logged.read_text()
    assert relay.seen([*everything, "last"]), "what Flipt wrote as it ended did not go out"
    yield "SIGTERM: what is written right after it goes out, exit status 0"

    # While it is away: written, rotated once, written again.
    relay.write(["away-1"])
    subprocess.run(["logrotate", "--force", "--state", str(place / "rotation.state"), str(rotation)], check=True)
    relay.write(["away-2"])
    relay.start()
    until("what was written meanwhile", lambda: relay.seen([*everything, "last", "away-1", "away-2"]))
    assert not [line for line in relay.logged.read_text().splitlines() if '"ERROR"' in line], "there were errors"
    relay.process.terminate()
    assert relay.process.wait(PATIENCE_SECONDS) == 0
    yield "away for one rotation: nothing lost, nothing twice, no error"


def refused_by_the_filter(program, deploy):
    """With a filter that lacks a call the relay needs, it does not come up: the confinement is real."""
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        place.chmod(0o755)
        relay = Relay(program, deploy, place)
        spoiled = place / "spoiled.service"
        text = relay.unit.read_text()
        spoiled.write_text(text.replace("SystemCallFilter=~@privileged", "SystemCallFilter=~@privileged inotify_init1"))
        relay.unit = spoiled
        try:
            relay.start()
        except AssertionError as error:
            assert f"ended with {-signal.SIGSYS}" in str(error), error
            return
        finally:
            if relay.process and relay.process.poll() is None:
                relay.process.kill()
                relay.process.wait()
    raise AssertionError("a relay whose unit forbids inotify_init1 runs all the same")
