"""What race, footprint and endurance share: lines, a receiver in a process of its own, and what the kernel says."""

import asyncio
import multiprocessing
import os
import pathlib
import platform
import re
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
NUMBER = re.compile(rb'"n(\d{9})@example\.com"')


def line(number, flags=1_000, name="Ann Example"):
    """One event of about 400 bytes, an edit that turns one of `flags` flags on or off; its number is in its actor's address alone.

    `name` is the actor's: another one makes lines that no former file had."""
    flag = number * 7_919 % flags
    enabled = "true" if number // flags % 2 == 0 else "false"
    return (
        '{"version":"0.2","type":"flag","action":"updated","metadata":{"actor":{"authentication":"oidc","ip":"10.1.2.3",'
        f'"email":"n{number:09}@example.com","name":"{name}"}}}},"payload":{{"key":"flag-{flag:06}","name":"Flag {flag:06}",'
        f'"description":"rolls out the new checkout to some more people","enabled":{enabled},"namespace_key":"production"}},'
        '"timestamp":"2026-11-22T08:32:19Z","status":"success"}\n'
    )


class Receiver:
    """Counts each event that comes, in a process of its own, so that its CPU is not that of the one measured.

    `times[n]` is how often event n came, `first[n]` when it first did (CLOCK_MONOTONIC, seconds). An event may show its number more than once
    within one body, one behind the other; that counts once. While `stalled` is set nothing is counted and nothing answered."""

    def __init__(self, size):
        self.size = size
        self.times = multiprocessing.Array("H", size, lock=False)
        self.first = multiprocessing.Array("d", size, lock=False)
        self.distinct = multiprocessing.Value("q", 0, lock=False)
        self.requests = multiprocessing.Value("q", 0, lock=False)
        self.stalled = multiprocessing.Value("b", 0, lock=False)
        port, far = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._serve, args=(far,), daemon=True)
        self.process.start()
        self.address = f"127.0.0.1:{port.recv()}"

    def _serve(self, pipe):
        async def run():
            server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 24)
            pipe.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.run(run())

    async def _connection(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"expect: 100-continue" in head:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(re.search(rb"content-length: *(\d+)", head)[1]))
                while self.stalled.value:
                    await asyncio.sleep(0.05)
                    if reader.at_eof():
                        return
                self._count(body)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _count(self, body):
        now = time.monotonic()
        self.requests.value += 1
        former = None
        for found in NUMBER.findall(body):
            number = int(found)
            if number == former:
                continue
            former = number
            if self.times[number] == 0:
                self.first[number] = now
                self.distinct.value += 1
            self.times[number] += 1

    def wait(self, count, seconds):
        """Whether `count` different events came within `seconds`; ends early when nothing came for 20 s."""
        deadline = time.monotonic() + seconds
        seen, since = -1, time.monotonic()
        while self.distinct.value < count:
            now = time.monotonic()
            if self.distinct.value != seen:
                seen, since = self.distinct.value, now
            if now > deadline or now - since > 20:
                return False
            time.sleep(0.02)
        return True

    def lost(self, upto):
        """How many of the events below `upto` never came."""
        return sum(1 for number in range(upto) if self.times[number] == 0)

    def again(self):
        """How many deliveries were of an event that had come before."""
        return sum(count - 1 for count in self.times if count > 1)

    def stop(self):
        self.process.kill()
        self.process.join()


def tree(pid):
    """This process and all below it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                pass
    return found


def usage(pid):
    """CPU (user and system, seconds), memory (bytes), threads, descriptors and context switches of a process and all below it.

    CPU has ended children in it that were waited for. `peak` is the sum of each process's VmHWM, `resident` of VmRSS."""
    total = dict(user=0.0, system=0.0, resident=0, peak=0, anonymous=0, pss=0, threads=0, descriptors=0, switches={})
    for one in tree(pid):
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total["user"] += (int(fields[11]) + int(fields[13])) / TICKS
            total["system"] += (int(fields[12]) + int(fields[14])) / TICKS
            status = pathlib.Path(f"/proc/{one}/status").read_text()
            for key, word in (("resident", "VmRSS"), ("peak", "VmHWM"), ("anonymous", "RssAnon")):
                found = re.search(rf"^{word}:\s+(\d+) kB", status, re.M)
                total[key] += int(found[1]) * 1024 if found else 0
            total["pss"] += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)[1]) * 1024
            total["descriptors"] += len(os.listdir(f"/proc/{one}/fd"))
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                total["threads"] += 1
                total["switches"][task.name] = sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text())))
        except (OSError, TypeError):
            continue
    return total


def switches_between(before, after):
    """How often threads were switched to; those that ended meanwhile are left out, as the kernel forgot them."""
    return sum(count - before["switches"].get(task, 0) for task, count in after["switches"].items())


def settle(pid, seconds=60):
    """Waits until the process takes less than 2 % of a core for a second."""
    deadline = time.monotonic() + seconds
    before = usage(pid)
    while time.monotonic() < deadline:
        time.sleep(1)
        now = usage(pid)
        if now["user"] + now["system"] - before["user"] - before["system"] < 0.02:
            return
        before = now


def relay_binary():
    """The release binary: `RELAY`, or built now."""
    if "RELAY" in os.environ:
        return pathlib.Path(os.environ["RELAY"])
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "audit-relay"], cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "audit-relay"


def relay_configuration(place, address, max_size="4GiB", changes=True, rotated_idle="24h"):
    """A relay that reads `place`/audit.log and sends batches of 100, signed, to `address`. `rotated_idle`: its default."""
    return f"""data_dir: {place}/data
sources: {{flipt: {{type: file, path: {place}/audit.log, rotated_idle: {rotated_idle}}}}}
destinations:
  hook:
    type: webhook
    url: http://{address}/hook
    signing: [{{scheme: flipt, secrets: [s3cr3t]}}]
    format: envelope
    expire_after: never
    batch: {{max_events: 100}}
    retry: {{initial_backoff: 100ms, max_backoff: 2s}}
routes: {{everything: {{to: [hook]}}}}
journal: {{max_size: {max_size}, changes: {str(changes).lower()}}}
health: {{listen: '127.0.0.1:0'}}
admin: {{listen: '127.0.0.1:0'}}
"""


def say(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def about_this_machine():
    """One line: date, commit, cores, load."""
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = f"commit {say('git', 'describe', '--always', '--dirty', '--abbrev=9')}"
    if "RELAY" in os.environ:
        commit = f"a binary given by RELAY (its commit is not known here; scripts at {commit})"
    return (
        f"{say('date', '-u', '+%F')}, {commit}, {os.cpu_count()} cores of "
        f"{model[1] if model else platform.machine()}, load {os.getloadavg()[0]:.1f} before"
    )
