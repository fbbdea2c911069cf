"""One seed: what happens, in which order, and what came of it."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from judge import Outcome, judge
from receiver import MOODS
from world import PATIENCE, RECEIVERS, Receiver, Relay, Stuck, Writer, event, push, until

FLAGS = 7
DESTINATION = """
  NAME:
    type: webhook
    url: http://127.0.0.1:PORT/
    signing: {scheme: flipt, secrets: PLANTED-signing}
    batch: {max_events: BATCH}
    concurrency: CONCURRENCY
    deliver_since: beginning
    expire_after: never
    timeout: 2s
    retry: {initial_backoff: 10ms, max_backoff: 200ms}
"""
RELAY = """
data_dir: DATA
name: NAME
shutdown_timeout: 1s
health: {listen: '127.0.0.1:0'}
admin: {listen: '127.0.0.1:0'}
log: {format: json}
sources:
SOURCES
destinations:
DESTINATIONS
routes:
  all: {to: [TO]}
"""
SIGNED = "signing: {scheme: flipt, secrets: PLANTED-signing}"


class Seed:
    """A seed under way."""

    def __init__(self, number, program, shim, place):
        self.number, self.program, self.place = number, program, place
        self.random = random.Random(number)
        shutil.copyfile(shim, place / "shim.so")
        self.events = []
        self.lines, self.exposed = [], set()
        self.balanced, self.late = [], []
        self.excuses = 0
        self.damaged = self.is_full = False
        # The first line of the file that is written now.
        self.since = 0
        self.was_early = False
        self.data_bytes = 0
        self.has_hub = self.random.random() < 0.25
        self.has_shim = self.random.random() < 0.5
        self.writer = Writer(place / "log", self.random.random() < 0.2)
        self.receivers = {name: Receiver(place, name) for name in RECEIVERS}
        self.relays = self._relays()
        self.trouble = "ok"

    def say(self, what):
        """Notes what happens."""
        self.events.append(what)

    def _relays(self):
        batch, concurrency = self.random.choice([1, 1, 20]), self.random.choice([1, 4, 16])
        to = "".join(
            DESTINATION.replace("NAME", name).replace("PORT", str(receiver.port)).replace("BATCH", str(batch))
            .replace("CONCURRENCY", str(concurrency))
            for name, receiver in self.receivers.items()
        )
        file = f"  flipt: {{type: file, path: {self.place}/log/audit.log}}"
        pushed = f"  push: {{type: http, instance: pushed, listen: '127.0.0.1:PUSH', {SIGNED}}}"
        self.push_port = free_port()
        pushed = pushed.replace("PUSH", str(self.push_port))

        def relay(name, sources, destinations, names):
            text = RELAY.replace("SOURCES", sources).replace("DESTINATIONS", destinations).replace("TO", names)
            text = text.replace("DATA", str(self.place / f"{name}-data")).replace("NAME", name)
            return Relay(self.program, self.place, name, text, self.has_shim)

        if not self.has_hub:
            return [relay("relay", f"{file}\n{pushed}", to, ", ".join(RECEIVERS))]
        hub_port = free_port()
        forward = f"  hub: {{type: relay, url: 'http://127.0.0.1:{hub_port}/v1/events', {SIGNED}, retry: {{initial_backoff: 10ms, max_backoff: 200ms}}}}\n"
        edge = f"  edge: {{type: http, listen: '127.0.0.1:{hub_port}', {SIGNED}}}"
        return [
            relay("forwarder", f"{file}\n{pushed}", forward, "hub"),
            relay("hub", edge, to, ", ".join(RECEIVERS)),
        ]

    def go(self):
        """Plays it, and gives what is wrong."""
        for relay in self.relays:
            relay.start()
            relay.wait_ready()
        for _ in range(self.random.randint(6, 10)):
            self.write(self.random.randint(5, 60))
            getattr(self, self.random.choice(ACTIONS))()
            self.look()
        self.heal()
        self.settle()
        return judge(self.outcome())

    def write(self, count):
        """Lines, and now and then a push."""
        for _ in range(count):
            flag = self.random.randrange(FLAGS)
            if self.random.random() < 0.1:
                number = 1_000_000 + len(self.lines)
                text, state = event(number, flag, "pushed")
                if push(f"127.0.0.1:{self.push_port}", text):
                    self.lines.append({"number": number, "flag": flag, "state": state, "text": text, "source": "push", "late": False})
                continue
            number = len(self.lines)
            late = self.random.random() < 0.03
            text, state = event(number, flag, is_late=late)
            self.writer.write(text)
            self.lines.append({"number": number, "flag": flag, "state": state, "text": text, "source": "file", "late": late})

    def look(self):
        """Books and disk, whenever."""
        for relay in self.relays:
            status = relay.status() if relay.is_running() else None
            if status:
                self.balanced.append(status["balanced"])
            used = sum(file.stat().st_size for file in relay.data.glob("*") if file.is_file()) if relay.data.exists() else 0
            self.data_bytes = max(self.data_bytes, used)

    # What can happen.

    def kill(self):
        """kill -9, and what was not synced is gone where a shim watches."""
        relay = self.random.choice(self.relays)
        self.say(f"kill {relay.name}")
        self.excuses += 1
        relay.crash()
        if self.random.random() < 0.5:
            self.write(self.random.randint(1, 30))
        relay.start()

    def terminate(self):
        """SIGTERM, amid of it all."""
        relay = self.random.choice(self.relays)
        self.say(f"terminate {relay.name}")
        self.excuses += 1
        relay.end(signal.SIGTERM)
        self.write(self.random.randint(1, 30))
        relay.start()

    def freeze(self):
        """SIGSTOP of a relay or of a receiver."""
        who = self.random.choice([*self.relays, *self.receivers.values()])
        self.say(f"freeze {who.name}")
        self.excuses += 1
        if who.process.poll() is None:
            os.kill(who.process.pid, signal.SIGSTOP)
            self.write(self.random.randint(1, 30))
            time.sleep(self.random.random())
            os.kill(who.process.pid, signal.SIGCONT)

    def sulk(self):
        """The sick receiver misbehaves; the steady one gets everything all the same."""
        self.trouble = self.random.choice(MOODS)
        self.say(f"sick {self.trouble}")
        self.excuses += 1
        self.receivers["sick"].be(self.trouble)
        self.write(self.random.randint(1, 30))
        if all(relay.is_running() for relay in self.relays) and not self.is_full and not self.damaged:
            self.steady_has_all()

    def steady_has_all(self):
        """Waits until what was written is at the steady one."""
        wanted = {line["number"] for line in self.lines} - self.exposed
        try:
            until("the steady one has all", lambda: wanted <= self.numbers("steady"))
        except Stuck:
            self.late.append(f"steady did not get {sorted(wanted - self.numbers('steady'))[:5]} while sick {self.trouble}")

    def numbers(self, name):
        """Which lines a receiver has accepted."""
        taken = self.receivers[name].taken()
        return {one["number"] for request in taken if request["status"] == 200 for one in request["envelopes"]}

    def nobody(self):
        """A receiver is gone, and comes back at its address."""
        receiver = self.random.choice(list(self.receivers.values()))
        self.say(f"{receiver.name} is gone")
        self.excuses += 1
        receiver.kill()
        self.write(self.random.randint(1, 30))
        receiver.start()

    def rotate(self):
        """Any way that is safe at any time."""
        how = self.random.choice(["renamed", "held", "copytruncate"])
        if how != "renamed" and self.writer.is_linked:
            how = "renamed"
        self.say(f"rotate {how}")
        self.be_known()
        self.writer.rotate(how)
        self.since = len(self.lines)
        self.write(self.random.randint(1, 20))

    def be_known(self):
        """A file that comes and goes before anybody has looked at it is lost, and README says so."""
        mine = {line["number"] for line in self.lines[self.since :] if line["source"] == "file"}
        if mine and all(relay.is_running() for relay in self.relays):
            until("the file is known", lambda: mine & self.numbers("steady"))
        elif mine:
            self.exposed |= mine

    def delete(self):
        """The file is deleted: what was not read by then may be lost, if that is told."""
        if self.writer.is_linked:
            return
        self.say("delete")
        have = self.numbers("steady")
        self.exposed |= {line["number"] for line in self.lines if line["source"] == "file"} - have
        self.writer.rotate("deleted")
        self.since = len(self.lines)

    def jump(self):
        """The wall clock jumps, forth or back."""
        relay = self.random.choice(self.relays)
        seconds = self.random.choice([-86_400 * 30, -3_600, -5, 5, 3_600, 86_400 * 2])
        self.say(f"the clock of {relay.name} jumps by {seconds} s")
        # Times that lie far ahead of its clock are not believed, and then nothing is late.
        self.was_early = self.was_early or seconds < 0
        relay.clock_off_by(seconds)

    def fill(self):
        """The disk of a relay is full, and there is room again."""
        relay = self.random.choice(self.relays)
        if not relay.is_small:
            return
        self.say(f"the disk of {relay.name} is full")
        self.excuses += 1
        relay.fill()
        self.write(self.random.randint(5, 60))
        if self.random.random() < 0.4:
            relay.crash()
            relay.start()
        time.sleep(self.random.random())
        relay.free()

    def refuse_calls(self):
        """System calls fail for a while."""
        relay = self.random.choice(self.relays)
        error = self.random.choice(["EIO", "ENOSPC"])
        call = self.random.choice(["fsync,fdatasync", "pwrite64,write"])
        first = self.random.randint(3, 60)
        self.say(f"{call} of {relay.name} fail with {error} from {first} on")
        self.excuses += 1
        relay.end(signal.SIGTERM)
        relay.start(["-e", f"inject={call}:error={error}:when={first}..{first + self.random.randint(0, 20)}"])
        self.write(self.random.randint(5, 40))
        time.sleep(1)
        relay.crash()
        relay.start()

    def edit(self):
        """An edit that is wrong, and one that mends it."""
        relay = self.random.choice(self.relays)
        wrong = self.random.choice(["routes: {all: {to: [nobody]}}\n", "{", "destinations: 5\n", relay.text.replace("sick:", "sikc:", 1)])
        self.say(f"a bad edit of {relay.name}")
        relay.edit(wrong)
        if relay.is_running() and self.random.random() < 0.5:
            os.kill(relay.process.pid, signal.SIGHUP)
        self.write(self.random.randint(1, 20))
        relay.edit(relay.text)
        if relay.is_running():
            os.kill(relay.process.pid, signal.SIGHUP)

    def flip(self):
        """A bit of the journal turns while nobody runs, or its end is cut off; seldom, since much is excused after it."""
        if self.random.random() < 0.7 or self.has_hub:
            return self.kill()
        relay = self.relays[0]
        self.damaged = True
        self.excuses += 1
        relay.end(signal.SIGTERM)
        path = relay.data / "journal.db"
        size = path.stat().st_size
        if self.random.random() < 0.3:
            self.say("the journal is cut off")
            os.truncate(path, self.random.randrange(size))
        else:
            at = self.random.randrange(size)
            self.say(f"bit of byte {at} turns")
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
        relay.start()

    # The end.

    def heal(self):
        """Nothing is wrong any more."""
        self.say("all is well")
        for receiver in self.receivers.values():
            receiver.be("ok")
            if receiver.process.poll() is not None:
                receiver.start()
        for relay in self.relays:
            relay.edit(relay.text)
            relay.clock_off_by(0)
            relay.free()
            if not relay.is_running():
                relay.start()
            relay.wait_ready()
            if not relay.is_running():
                relay.start()
                relay.wait_ready()
        for name in RECEIVERS:
            self.relays[-1].ask("resume", name)
        self.relays[0].ask("resume", "hub")

    def settle(self):
        """Until everything that can come has come; what has not is the judge's."""
        wanted = {line["number"] for line in self.lines} - self.exposed
        last = [None, time.monotonic()]

        def is_still():
            """Of a journal that was damaged nobody knows what comes: until nothing has come for three seconds."""
            now = [len(self.receivers[name].taken()) for name in RECEIVERS]
            if now != last[0]:
                last[:] = [now, time.monotonic()]
            return self.damaged and time.monotonic() - last[1] > 3

        def settled():
            status = [relay.status() for relay in self.relays]
            if None in status or any(one["waiting"] for each in status for one in each["destinations"]):
                return False
            return is_still() or all(wanted <= self.numbers(name) | self.dead(name) for name in RECEIVERS)

        try:
            until("everything is delivered", settled)
        except Stuck as stuck:
            self.say(str(stuck))

    def dead(self, name):
        """Lines that are dead letters of a destination."""
        text = self.relays[-1].ask("dead-letters", "list", "--json", "--destination", name)
        letters = json.loads(text)["dead_letters"] if text else []
        ids = {one["id"]: one["number"] for request in self.receivers[name].taken() for one in request["envelopes"]}
        return {ids[letter["id"]] for letter in letters if letter["id"] in ids}

    def outcome(self):
        """Stops all, and gathers what the judge wants."""
        dead = {name: self.dead(name) for name in RECEIVERS}
        status = self.relays[-1].status() or {"destinations": []}
        waiting = {one["name"]: one["waiting"] for one in status["destinations"]}
        originals, gaps, verified = {}, [], True
        for relay in self.relays:
            relay.end(signal.SIGTERM)
            verified = verified and relay.ask("verify", timeout=PATIENCE) is not None
            export = relay.ask("changes", "--format", "ndjson", "--with-chain", timeout=PATIENCE) or b""
            for line in export.splitlines():
                one = json.loads(line)
                if one.get("type") == "audit_relay.gap" or one.get("type", "").endswith("gap"):
                    gaps.append(one["data"]["reason"])
                record = one["chain"].get("record")
                text = (record or {}).get("original") or ""
                payload = (one.get("data") or {}).get("payload") or {}
                number = payload.get("description", "")[1:] if isinstance(payload, dict) else ""
                if number.isdigit() and relay is self.relays[0]:
                    originals[int(number)] = text
        said = {path.name: path.read_text(errors="replace") for path in self.place.glob("*.log")}
        return Outcome(
            lines=self.lines,
            exposed=self.exposed,
            taken={name: receiver.taken() for name, receiver in self.receivers.items()},
            dead=dead,
            originals=originals,
            gaps=gaps,
            balanced=self.balanced,
            waiting={name: waiting.get(name, "no answer") for name in RECEIVERS},
            verified=verified,
            said=said,
            untouched=self.writer.is_untouched(),
            data_bytes=self.data_bytes,
            damaged=self.damaged,
            was_early=self.was_early,
            excuses=self.excuses,
            independent=self.late,
        )

    def close(self):
        """Leaves nothing running."""
        for relay in self.relays:
            if relay.is_running():
                relay.end(signal.SIGKILL)
            relay.unmount()
        for receiver in self.receivers.values():
            receiver.kill()


ACTIONS = ["kill", "kill", "terminate", "freeze", "sulk", "sulk", "nobody", "rotate", "rotate", "delete", "jump", "fill", "refuse_calls", "edit", "flip"]


def free_port():
    """A port that nobody has now; the relay listens there over all its restarts."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def play(number, program, shim, work):
    """One seed, in a directory that is kept where something is wrong. Gives what is wrong, and what happened."""
    place = pathlib.Path(work, f"seed-{number}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    seed = Seed(number, program, shim, place)
    try:
        wrong = seed.go()
    except (Stuck, subprocess.SubprocessError, OSError) as error:
        wrong = [f"stuck: {error}"]
    finally:
        seed.close()
    (place / "events.txt").write_text("\n".join(seed.events) + "\n")
    if not wrong:
        shutil.rmtree(place)
    return wrong, seed.events
