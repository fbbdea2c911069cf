"""Pictures of pages, by a Chromium that is installed."""

import pathlib
import re
import shutil
import subprocess
import tempfile

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
]
# How tall a page is, only its own script knows; it is added for this alone.
MEASURE = "<script>document.documentElement.dataset.height = Math.ceil(document.body.getBoundingClientRect().height)</script>"
PATIENCE = 60


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    raise SystemExit("there is no Chromium: apt-get install -y --no-install-recommends chromium fonts-noto-color-emoji fonts-dejavu")


def picture(page, file, width=720, scale=2):
    """Writes the picture of a page, as tall as it needs to be."""
    program = browser()
    with tempfile.TemporaryDirectory() as place:
        source = pathlib.Path(place, "page.html")
        flags = [program, *FLAGS, f"--user-data-dir={place}/profile"]

        def run(*more):
            done = subprocess.run([*flags, *more, source.as_uri()], capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, done.stderr
            return done.stdout

        source.write_text(page + MEASURE, encoding="utf-8")
        height = int(re.search(r'data-height="(\d+)"', run("--dump-dom", f"--window-size={width},400"))[1])
        source.write_text(page, encoding="utf-8")
        pathlib.Path(file).unlink(missing_ok=True)
        run(f"--screenshot={pathlib.Path(file).resolve()}", f"--window-size={width},{height}", f"--force-device-scale-factor={scale}")
        assert pathlib.Path(file).exists(), f"no {file}"
