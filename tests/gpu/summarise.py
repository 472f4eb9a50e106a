"""Adds up the XML files of gpu_test: what failed and why, the largest errors that cases recorded, and the totals.

Fails when anything failed or nothing ran: a skipped case says that there is no GPU.
"""
from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter


def main() -> int:
    totals: Counter[str] = Counter()
    seconds: list[tuple[float, str]] = []
    errors: list[tuple[str, str]] = []
    for file in sys.argv[1:]:
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            if case.get("status") != "run":
                continue
            name = f"{case.get('classname')}.{case.get('name')}"
            failures = case.findall("failure")
            outcome = "failed" if failures else "skipped" if case.find("skipped") is not None else "passed"
            totals[outcome] += 1
            seconds.append((float(case.get("time", "0")), name))
            if failures:
                print(f"FAILED {name} ({len(failures)} checks)")
                print("\n".join("    " + line for line in failures[0].get("message", "").splitlines()[:6]))
            errors += [(name, f"{entry.get('name')} {entry.get('value')}") for entry in case.iter("property")]
    for name, error in sorted(errors):
        print(f"{name:70} {error}")
    print("slowest: " + ", ".join(f"{name} {time:.1f} s" for time, name in sorted(seconds, reverse=True)[:5]))
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if totals["failed"] or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
