"""The server as a child process: started, watched until it is ready, drained, and never left behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from spatial_mamba_client import Client, SpatialMambaError

LOG_TAIL_LINES = 20


class DemoError(Exception):
    """What went wrong, what to do about it, and the end of the server's log where that helps."""

    def __init__(self, what: str, remedy: str, log: str = "") -> None:
        super().__init__(what)
        self.what, self.remedy, self.log = what, remedy, log


class ServerProcess:
    """Use it in a `with` statement: its end stops the server, by force if need be."""

    def __init__(self, binary: Path, config: Path, log: Path, overrides: Sequence[str] = ()) -> None:
        self._log = log
        self._folder = tempfile.TemporaryDirectory(prefix="spatial-mamba-demo-")
        self._ports_file = Path(self._folder.name) / "ports.json"
        command = [str(binary), "--config", str(config), "--ports-file", str(self._ports_file)]
        command += [word for override in overrides for word in ("--set", override)]
        # Should this program be killed, the kernel ends the server.
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", "--", *command]
        with log.open("wb") as stream:
            # A session of its own: Ctrl-C in the terminal reaches only this program, which then drains the server.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def wait_ready(self, seconds: float, on_wait: Callable[[float], None]) -> tuple[str, str]:
        """The addresses of the gRPC service and of the admin port, once every model is loaded and warm."""
        start = time.monotonic()
        ports: dict[str, int] = {}
        while (waited := time.monotonic() - start) < seconds:
            if (exit_code := self._process.poll()) is not None:
                raise DemoError(
                    f"the server ended while it started, with exit status {exit_code}",
                    "Its log says why; mend that (often deploy/demo/config.yaml or the model file) and run the command again.",
                    self.log_tail(),
                )
            on_wait(waited)
            ports = ports or self._ports()
            if ports and _serves(target := f"127.0.0.1:{ports['grpc']}"):
                return target, f"127.0.0.1:{ports['admin']}"
            time.sleep(0.05)
        raise DemoError(
            f"the server was not ready after {seconds:.0f} s",
            "A machine that is very busy needs longer: --start-timeout 300. Else the server's log says what it waits for.",
            self.log_tail(),
        )

    def drain(self, seconds: float) -> None:
        """Asks the server to finish and end, and checks that it does so in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            exit_code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DemoError(
                f"the server did not end within {seconds:.0f} s of SIGTERM",
                "This should not happen; please report it with the log below.",
                self.log_tail(),
            ) from None
        if exit_code != 0:
            raise DemoError(
                f"the server ended with exit status {exit_code} after SIGTERM, not 0",
                "This should not happen; please report it with the log below.",
                self.log_tail(),
            )

    def _ports(self) -> dict[str, int]:
        try:
            return dict(json.loads(self._ports_file.read_text()))
        except (OSError, ValueError):  # not there, or not yet written to its end
            return {}


def _serves(target: str) -> bool:
    try:
        with Client(target) as client:
            return client.health(deadline=2.0)
    except SpatialMambaError:
        return False
