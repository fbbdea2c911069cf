"""Runs Helm on the chart, without a cluster."""

import pathlib
import subprocess
import tempfile

from manifests import documents

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "audit-relay"
DEFAULT_CONFIG = (CHART / "files" / "config.yaml").read_text()
# The versions of Kubernetes that the chart is for.
VERSIONS = [f"1.{minor}" for minor in range(27, 36)]
# Where every case is installed, by what name.
NAMESPACE, RELEASE = "flags", "audit-relay"


def run(words, **more):
    """A process that ended, with what it said as text."""
    return subprocess.run(words, text=True, capture_output=True, timeout=120, **more)


def helm(program, action, values, *more, chart=CHART):
    """What a Helm says to `template`, `install` or `lint`, with values as text."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        name = [] if action == "lint" else [RELEASE]
        return run([program, action, *name, str(chart), "--namespace", NAMESPACE, "--values", file.name, *more])


def rendered(program, values, version):
    """The objects for a version of Kubernetes and the text; None and what was said, where Helm refuses."""
    done = helm(program, "template", values, "--kube-version", f"{version}.0")
    return (documents(done.stdout), done.stdout) if done.returncode == 0 else (None, done.stderr)
