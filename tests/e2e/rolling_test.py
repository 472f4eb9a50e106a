"""Several servers of which one at a time goes away, behind haproxy and behind gRPC's own balancing.

    PYTHONPATH=clients/python python tests/e2e/rolling_test.py build/release/bin/spatial-mamba-server [--rolls 20]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import unittest
from pathlib import Path

from fleet import HAPROXY, RETRIES, ROUND_ROBIN, Callers, Server, balancer, fleet

CALLERS = 4


class Rolling(unittest.TestCase):
    binary = Path()
    rolls = 6

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.servers: list[Server] = self.enterContext(fleet(self.binary, self.folder))

    def behind_haproxy(self) -> str:
        if not HAPROXY:
            self.skipTest("haproxy is not installed")
        return self.enterContext(balancer(self.servers, self.folder))

    def addresses(self) -> str:
        return "ipv4:" + ",".join(f"127.0.0.1:{server.grpc_port}" for server in self.servers)

    def roll(self, callers: Callers) -> None:
        """One after the other is told to end under load, and started again."""
        callers.wait_for_more(20)
        for i in range(self.rolls):
            server = self.servers[i % len(self.servers)]
            self.assertEqual(server.end(signal.SIGTERM), 0)
            server.start()
            server.wait_ready()
            callers.wait_for_more(20)

    def test_a_rollout_behind_a_balancer_fails_no_call_even_without_retries(self) -> None:
        with Callers(self.behind_haproxy(), {}, CALLERS) as callers:
            self.roll(callers)
        self.assertEqual(callers.failed(), {})
        print(f"haproxy: {self.rolls} restarts, {callers.codes['OK']} calls, none failed, no retries")

    def test_a_rollout_behind_round_robin_fails_no_call(self) -> None:
        with Callers(self.addresses(), ROUND_ROBIN | RETRIES, CALLERS) as callers:
            self.roll(callers)
        self.assertEqual(callers.failed(), {})
        print(f"round_robin: {self.rolls} restarts, {callers.codes['OK']} calls, none failed")

    def test_a_killed_server_costs_no_more_than_its_calls_and_none_with_retries(self) -> None:
        with Callers(self.addresses(), ROUND_ROBIN, CALLERS) as bold, \
                Callers(self.addresses(), ROUND_ROBIN | RETRIES, CALLERS) as patient:
            for server in self.servers:
                for callers in (bold, patient):
                    callers.wait_for_more(10)
                server.end(signal.SIGKILL)
                server.start()
                server.wait_ready()
        self.assertEqual(patient.failed(), {})
        # Each caller has one call under way.
        self.assertLessEqual(sum(bold.failed().values()), CALLERS * len(self.servers), bold.failed())
        self.assertTrue(all(code.startswith("UNAVAILABLE") for code in bold.failed()), bold.failed())
        print(f"killed {len(self.servers)}: {bold.codes.total()} calls without retries, of which {sum(bold.failed().values())} "
              f"failed; {patient.codes['OK']} with retries, none failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--rolls", type=int, default=Rolling.rolls)
    arguments = parser.parse_args()
    Rolling.binary, Rolling.rolls = arguments.binary.resolve(), arguments.rolls
    unittest.main(argv=sys.argv[:1])
