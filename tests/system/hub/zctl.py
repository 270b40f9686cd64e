"""zctl as an operator runs it."""

import json
import subprocess

from hub import ENVIRONMENT
from zooid import BUILD, process

ZCTL = BUILD / "host/bin/zctl"
DONE, FAILED, USAGE, REFUSED, AGAIN, INTERRUPTED = 0, 1, 2, 100, 111, 130


class Zctl:
    """Runs zctl with a credential of the hub's, in a directory."""

    def __init__(self, hub, directory, credential="operator"):
        self.directory = directory
        self.environment = {
            **ENVIRONMENT, "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
            "ZOOID_OPERATOR": str(hub.directory / (credential + ".json"))}
        self.environment.pop("ZOOID_HUB", None)

    def run(self, *arguments, code=DONE, **options):
        done = subprocess.run(
            [ZCTL, *map(str, arguments)], text=True, capture_output=True,
            cwd=self.directory, timeout=60,
            **{"env": self.environment, "stdin": subprocess.DEVNULL
               if "input" not in options else None, **options})
        assert done.returncode == code, (
            arguments, done.returncode, done.stdout, done.stderr)
        return done

    def __call__(self, *arguments, **options):
        """The lines of its standard output."""
        return self.run(*arguments, **options).stdout.splitlines()

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def fails(self, *arguments, code=FAILED, **options):
        """Its one line of complaint."""
        done = self.run(*arguments, code=code, **options)
        assert done.stdout == "", done.stdout
        line, = done.stderr.splitlines()
        assert line.startswith("zctl: "), line
        return line[len("zctl: "):]

    def start(self, *arguments, **options):
        return process.start(
            [ZCTL, *arguments], cwd=self.directory, env=self.environment,
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               "text": True, **options})

    def compose(self, text, name="compose.yaml"):
        path = self.directory / name
        path.write_text(text)
        return path
