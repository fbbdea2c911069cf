"""What must hold of deploy/systemd beyond what `systemd-analyze verify` says."""

import re

from restricted import settings

# What the shutdown may take by the relay's defaults: shutdown_timeout and telemetry.shutdown_timeout.
SHUTDOWN_SECONDS = 20 + 5
WANTED = {
    "Type": "exec",  # the relay does not speak sd_notify
    "User": "audit-relay",
    "ExecStart": "/usr/local/bin/audit-relay run",
    "ExecReload": "/bin/kill -HUP $MAINPID",
    "Restart": "on-failure",
    "RestartPreventExitStatus": "2",
    "StateDirectory": "audit-relay",
    "StateDirectoryMode": "0700",
    "ConfigurationDirectory": "audit-relay",
    "ProtectSystem": "strict",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallErrorNumber": "EPERM",
}


def wrong(directory):
    """Everything that is wrong with the files in `directory`, a pathlib.Path of `deploy`, as sentences."""
    path = directory / "systemd" / "audit-relay.service"
    unit = settings(path)
    for key, value in WANTED.items():
        if unit.get(key) != [value]:
            yield f"{path.name}: {key} is {unit.get(key)}, not {value!r}"
    stop = re.fullmatch(r"(\d+)s", unit.get("TimeoutStopSec", ["0s"])[0])
    if not stop or int(stop[1]) <= SHUTDOWN_SECONDS:
        yield f"{path.name}: TimeoutStopSec is not above the {SHUTDOWN_SECONDS} s that a shutdown may take"
    if "MemoryMax" not in unit:
        yield f"{path.name}: memory is not bounded"
    if unit.get("SystemCallFilter", [""])[0] != "@system-service":
        yield f"{path.name}: SystemCallFilter does not begin with @system-service"
    rotation = (directory / "systemd" / "flipt-audit.logrotate").read_text()
    for word in ("copytruncate", "delaycompress", "missingok"):
        if not re.search(rf"^ *{word}$", rotation, re.MULTILINE):
            yield f"flipt-audit.logrotate: {word} is missing"
    if re.search(r"^ *(create|postrotate)\b", rotation, re.MULTILINE):
        yield "flipt-audit.logrotate: Flipt neither opens its file anew nor survives SIGHUP"
