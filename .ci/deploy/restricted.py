"""Runs a command under what a systemd unit allows of system calls, without systemd.

    restricted.py UNIT COMMAND...

Of UNIT, SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute, CapabilityBoundingSet (empty), NoNewPrivileges
and UMask are put on, and nothing else: no file systems, no limits. Sets such as `@system-service` are those of the
installed systemd. A call that the unit does not allow ends the command (SIGSYS), where systemd would answer EPERM: what
nobody looks at must show. Started by root, the command runs as `nobody`.
"""

import configparser
import ctypes
import os
import socket
import subprocess
import sys

import pyseccomp as seccomp

NOBODY = 65534
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITIES = 41
PROT_EXEC = 4
PROT_WRITE = 2


def settings(path):
    """The keys of a unit's [Service], each with its values in order."""
    found = {}

    class Several(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list):
                found.setdefault(key, []).extend(value)
            super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Several, strict=False, interpolation=None, delimiters="=")
    parser.optionxform = str
    with open(path) as file:
        text = file.read()
    parser.read_string(text[text.index("[Service]") : text.index("[Install]")])
    return found


def expand(name):
    """The system calls of a set."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name], check=True, capture_output=True, text=True
    ).stdout
    calls = set()
    for line in listed.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= expand(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed_calls(filters):
    """What is left after `SystemCallFilter=` lines, of which the first allows."""
    # systemd adds @default to every list that allows.
    calls = expand("@default")
    for line in filters:
        takes_away = line.startswith("~")
        for word in line.lstrip("~").split():
            names = expand(word) if word.startswith("@") else {word}
            calls = calls - names if takes_away else calls | names
    return calls


def confine(unit):
    """Puts the restrictions on this process."""
    assert unit["NoNewPrivileges"] == ["yes"] and unit["CapabilityBoundingSet"] == [""]
    families = [getattr(socket, name) for name in unit["RestrictAddressFamilies"][0].split()]
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    denied = seccomp.ERRNO(97)  # EAFNOSUPPORT, as systemd answers
    for call in sorted(allowed_calls(unit["SystemCallFilter"]) - {"socket", "mmap", "mprotect", "pkey_mprotect"}):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (OSError, ValueError):
            pass  # of another architecture
    known = sorted(families)
    for family in range(0, 50):
        action = seccomp.ALLOW if family in known else denied
        rules.add_rule(action, "socket", seccomp.Arg(0, seccomp.EQ, family))
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        for protection in (0, PROT_WRITE):
            rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC | PROT_WRITE, protection))
        rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC))
        rules.add_rule(seccomp.ALLOW, "mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0))
    else:
        for call in ("mmap", "mprotect"):
            rules.add_rule(seccomp.ALLOW, call)

    os.umask(int(unit["UMask"][0], 8))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        for capability in range(CAPABILITIES):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    rules.load()


if __name__ == "__main__":
    confine(settings(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
