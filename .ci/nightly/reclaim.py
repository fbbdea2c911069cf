"""More than a file system holds, through a file on it whose writer never rotates.

    reclaim.py RELAY [--gb N] [--on ext4|tmpfs] [SEED…]

In a mount namespace of its own (see `reclaim`). For each seed: a writer holds one file of a file system of 100 MB open
in append mode, and waits where that is full. A relay tails the file with `reclaim: punch_hole`, is killed at moments
that the seed decides (one end in six is a SIGTERM), and started again. A receiver, which refuses or hangs up now and
then, looks at every record. It is judged that

* every line arrives, in order, none invented, no record is a gap or could not be read;
* a line comes again only when its request was under way at a kill or was not answered well, under its old id;
* at the end of each part (a tenth, or at least 300 MB), once the writer rests until all is delivered, no more than 1 MB
  of the file system is used, however long the file has become: the use is flat;
* the writer did meet a full file system.

Prints the figures; ends with 0 if all holds.
"""

import argparse
import hashlib
import http.server
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SIZE_BYTES = 100 * 1000 * 1000
# What a rested file system may use beside its own structures: the first block, those around the position, a last
# round's.
RESTED_BYTES = 1_000_000
BATCH = 100
CONCURRENCY = 1
PATIENCE_SECONDS = 300
# How often a line may come again after one kill: what was under way.
MAX_REPEATED = BATCH * CONCURRENCY

CONFIG = """
data_dir: {data}
log: {{level: info}}
health: {{listen: 127.0.0.1:0}}
admin: {{listen: 127.0.0.1:0}}
journal: {{max_size: 256MiB}}
sources:
  flipt: {{type: file, path: {log}, reclaim: punch_hole}}
destinations:
  out:
    type: webhook
    url: http://127.0.0.1:{port}/
    batch: {{max_events: {batch}}}
    concurrency: {concurrency}
    expire_after: never
    retry: {{initial_backoff: 10ms, max_backoff: 100ms}}
routes:
  all: {{when: {{record: [event, unparsed, oversized, gap]}}, to: [out]}}
"""


def line(number, filler):
    """An event as Flipt's log sink writes it, whose picture names it."""
    return (
        b'{"version":"0.2","type":"flag","action":"updated","status":"success","metadata":{"actor":'
        b'{"authentication":"oidc","email":"ann@example.com","name":"Ann",'
        b'"picture":"https://pictures.example.com/%d/%s"}},"payload":{"description":"","enabled":%s,'
        b'"key":"flag-%d","name":"flag","namespace_key":"default"},"timestamp":"2026-11-22T08:32:19Z"}\n'
        % (number, filler, b"true" if number % 2 else b"false", number % 100)
    )


def parts_of(total_bytes):
    return max(1, min(10, total_bytes // (3 * SIZE_BYTES)))


def write(path, seed, total_bytes, counts):
    """Appends lines until `total_bytes` are written; rests after each part until told to go on."""
    chance = random.Random(f"writer {seed}")
    filler = bytes(chance.choice(b"abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8_192))
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    number = written = 0
    parts = parts_of(total_bytes)
    for part in range(1, parts + 1):
        while written < total_bytes * part // parts:
            chunk = bytearray()
            while len(chunk) < 64 * 1024:
                chunk += line(number, filler[: chance.randrange(100, 8_000)])
                number += 1
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(log, view) :]
                except OSError as error:
                    if error.errno != 28:  # ENOSPC
                        raise
                    with counts["full"].get_lock():
                        counts["full"].value += 1
                    time.sleep(0.01)
            written += len(chunk)
            counts["bytes"].value = written
            counts["lines"].value = number
        counts["part"].value = part
        while counts["resume"].value < part:
            time.sleep(0.01)
    os.close(log)


class Judge:
    """Looks at every record that comes."""

    def __init__(self, seed):
        self.lock = threading.Lock()
        self.chance = random.Random(f"receiver {seed}")
        self.expected = 0
        self.repeated = 0
        # How many lines may still come again.
        self.allowance = 0
        self.requests = 0
        self.badly_answered = 0
        self.harms = []
        self.ids = {}

    def harm(self, what):
        if len(self.harms) < 20:
            self.harms.append(what)

    def take(self, body):
        """What a request is answered with; None: the connection ends without an answer."""
        with self.lock:
            self.requests += 1
            envelopes = json.loads(body)
            if isinstance(envelopes, dict):
                envelopes = [envelopes]
            answer = self.chance.choices([200, 503, 429, None], [97, 1, 1, 1])[0]
            if answer in (503, 429):
                # Refused: nothing of it was taken.
                self.badly_answered += 1
                return answer
            for envelope in envelopes:
                self.record(envelope)
            if answer is None:
                self.badly_answered += 1
                self.allowance += len(envelopes)
            return answer

    def record(self, envelope):
        if envelope["type"] != "flipt.flag.updated":
            self.harm(f"a record of type {envelope['type']}: {json.dumps(envelope)[:300]}")
            return
        picture = envelope["data"]["metadata"]["actor"]["picture"]
        number = int(re.match(r"https://pictures\.example\.com/(\d+)/", picture)[1])
        content = hashlib.blake2b(picture.encode(), digest_size=8).digest()
        known = (envelope["id"], content)
        if number == self.expected:
            self.expected += 1
            self.ids[number] = known
            self.ids.pop(number - 20_000, None)
        elif number > self.expected:
            self.harm(f"line {number} came where {self.expected} is due")
            self.expected = number + 1
        else:
            self.repeated += 1
            self.allowance -= 1
            if self.ids.get(number) != known:
                self.harm(f"line {number} came again as another")
            if self.allowance < 0:
                self.harm(f"line {number} came again, and was not under way at a kill")
                self.allowance = 0

    def killed(self):
        with self.lock:
            self.allowance += MAX_REPEATED


def serve(judge):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = judge.take(body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass  # a relay that was killed

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def used_bytes(mount):
    stat = os.statvfs(mount)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


class Disk(threading.Thread):
    """Samples the use of the file system."""

    def __init__(self, mount, counts):
        super().__init__(daemon=True)
        self.mount, self.counts = mount, counts
        self.base = used_bytes(mount)
        self.samples = []
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            self.samples.append((self.counts["bytes"].value, used_bytes(self.mount) - self.base))

    def told(self, total_bytes):
        """Of each part of what was written: the median and the most that was used, in MB."""
        rows = []
        parts = parts_of(total_bytes)
        for part in range(parts):
            low, high = total_bytes * part / parts, total_bytes * (part + 1) / parts
            used = sorted(used for written, used in self.samples if low < written <= high) or [0]
            rows.append(f"{used[len(used) // 2] / 1e6:.0f}/{used[-1] / 1e6:.0f}")
        return " ".join(rows)


class Relay:
    def __init__(self, program, place, seed):
        self.program, self.place = program, place
        self.chance = random.Random(f"relay {seed}")
        self.log = open(f"{place}/relay.log", "ab")
        self.kills = self.stops = 0
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "run", "--config", f"{self.place}/relay.yaml", "--allow-inline-secrets"],
            env={"PATH": os.environ["PATH"]}, stdout=self.log, stderr=self.log,
        )
        self.until = time.monotonic() + self.chance.choice([0.2, 1, 3, 6]) * self.chance.random()

    def end(self, judge):
        """Kills it, or asks it to end, at once or after a while; and starts it again."""
        if self.process.poll() is not None:
            judge.harm(f"the relay ended by itself with {self.process.returncode}")
        if self.chance.random() < 1 / 6:
            self.stops += 1
            self.process.send_signal(signal.SIGTERM)
        else:
            self.kills += 1
            self.process.kill()
        self.process.wait()
        # Also of SIGTERM: a request may be under way when its time is over.
        judge.killed()
        if self.chance.random() < 0.3:
            time.sleep(self.chance.random())
        self.start()

    def ask(self, *arguments):
        return subprocess.run(
            [self.program, *arguments, "-c", f"{self.place}/relay.yaml"],
            env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
        ).stdout


def mounted(kind, place):
    """A file system of 100 MB; its kind."""
    mount = f"{place}/log"
    os.mkdir(mount)
    if kind in (None, "ext4"):
        image = f"{place}/image"
        with open(image, "wb") as file:
            file.truncate(SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", image], check=True)
        done = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, text=True)
        if done.returncode == 0:
            return mount, "ext4 on a loop device"
        if kind == "ext4":
            sys.exit(f"no loop device: {done.stderr}")
        print(f"no loop device ({done.stderr.strip()}): a tmpfs instead", flush=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", mount], check=True)
    return mount, "tmpfs"


def wait_until(what, holds, judge):
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > PATIENCE_SECONDS:
            judge.harm(f"in vain for {PATIENCE_SECONDS} s: {what}")
            return False
        time.sleep(0.02)
    return True


def run(program, seed, total_bytes, kind):
    place = tempfile.mkdtemp(prefix="reclaim-")
    judge = Judge(seed)
    server = serve(judge)
    mount, kind = mounted(kind, place)
    log = f"{mount}/audit.log"
    with open(f"{place}/relay.yaml", "w") as file:
        port = server.server_address[1]
        file.write(CONFIG.format(data=f"{place}/data", log=log, port=port, batch=BATCH, concurrency=CONCURRENCY))
    counts = {name: multiprocessing.Value("q", 0) for name in ("bytes", "lines", "full", "part", "resume")}
    disk = Disk(mount, counts)
    writer = multiprocessing.Process(target=write, args=(log, seed, total_bytes, counts), daemon=True)
    relay = Relay(program, place, seed)
    begun = time.monotonic()
    disk.start()
    relay.start()
    writer.start()
    rested = []
    try:
        for part in range(1, parts_of(total_bytes) + 1):
            last = (judge.expected, time.monotonic())
            while counts["part"].value < part and not judge.harms:
                time.sleep(0.02)
                if not writer.is_alive():
                    judge.harm("the writer ended")
                if judge.expected != last[0]:
                    last = (judge.expected, time.monotonic())
                elif time.monotonic() - last[1] > PATIENCE_SECONDS:
                    judge.harm(f"nothing came for {PATIENCE_SECONDS} s")
                if time.monotonic() >= relay.until:
                    relay.end(judge)
            lines = counts["lines"].value
            if not judge.harms:
                wait_until("all is delivered", lambda: judge.expected >= lines or judge.harms, judge)
                wait_until(
                    f"no more than {RESTED_BYTES} bytes are used at rest",
                    lambda: used_bytes(mount) - disk.base <= RESTED_BYTES or judge.harms,
                    judge,
                )
            rested.append(used_bytes(mount) - disk.base)
            if judge.harms:
                break
            counts["resume"].value = part
        took = time.monotonic() - begun
        if not judge.harms:
            status = json.loads(relay.ask("status", "--json"))
            source = status["sources"][0]
            if not status["balanced"] or source["unparsed"] or source["ignored"]:
                judge.harm(f"the books: {json.dumps(status)}")
            hole = source["files"][0]["reclaim"]
            length = os.stat(log).st_size
            if length != counts["bytes"].value:
                judge.harm(f"the file has {length} bytes, {counts['bytes'].value} were written")
            if hole["from"] != 65_536 or hole["to"] < length - 4 * 65_536:
                judge.harm(f"given back: {hole} of {length}")
        if not counts["full"].value:
            judge.harm("the file system was never full: the run shows nothing")
        if not relay.kills:
            judge.harm("the relay was never killed: the run shows too little")
    finally:
        disk.ended.set()
        for process in (writer, relay.process):
            process.kill()
        writer.join()
        relay.process.wait()
        server.shutdown()
        disk.join()
    with open(f"{place}/relay.log") as file:
        told = file.read()
    for word in ("gap:", '"level":"ERROR"', "is given back:", "panicked"):
        if word in told:
            found = next(text for text in told.splitlines() if word in text)
            judge.harm(f"the relay said: {found[:400]}")
    subprocess.run(["umount", mount], check=True)
    print(
        f"seed {seed}, {kind}: {counts['bytes'].value / 1e9:.2f} GB, {judge.expected:,} lines in {took:.0f} s "
        f"({counts['bytes'].value / 1e6 / took:.0f} MB/s); {relay.kills} kills, {relay.stops} stops; "
        f"{judge.requests:,} requests, {judge.badly_answered} answered badly, {judge.repeated} lines came again; "
        f"the writer met a full file system {counts['full'].value:,} times",
    )
    print(f"  used, median/most MB in each part: {disk.told(total_bytes)}")
    print(f"  used at rest after each part, kB: {' '.join(str(used // 1000) for used in rested)}")
    for harm in judge.harms:
        print(f"  NOT SO: {harm}")
    if judge.harms:
        print(f"  the relay's log and journal: {place}")
    else:
        shutil.rmtree(place)
    sys.stdout.flush()
    return not judge.harms


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("relay")
    parser.add_argument("--gb", type=float, default=10, help="how much for each seed, in GB")
    parser.add_argument("--on", choices=["ext4", "tmpfs"], help="the kind of file system")
    parser.add_argument("seeds", nargs="*", type=int, default=[0], metavar="SEED")
    wanted = parser.parse_intermixed_args()
    relay = os.path.abspath(wanted.relay)
    passed = sum(run(relay, seed, int(wanted.gb * 1e9), wanted.on) for seed in wanted.seeds)
    failed = len(wanted.seeds) - passed
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
