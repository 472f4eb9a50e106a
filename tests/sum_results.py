"""Adds up JUnit files of ctest and pytest.

Prints the names of what failed, then "N passed, N failed[, N skipped]"; fails when anything failed or nothing passed.
"""

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.get("status") == "disabled":
        return "skipped"
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    # ctest also writes <skipped> for a test whose program is missing or which a failed fixture stopped: no skip of ours.
    by_ctest = case.get("status") is not None
    if by_ctest and not skipped.get("message", "").startswith("SKIP_"):
        return "failed"
    return "skipped"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broken", type=int, default=0, help="failures that no file tells of")
    parser.add_argument("files", type=Path, nargs="*")
    arguments = parser.parse_args()

    totals = Counter(failed=arguments.broken)
    failures = []
    for file in arguments.files:
        cases = list(ElementTree.parse(file).getroot().iter("testcase"))
        if not cases:
            totals["failed"] += 1
            failures.append(f"{file.parent.parent.name}: {file.name} has no test at all")
        for case in cases:
            result = outcome(case)
            totals[result] += 1
            if result == "failed":
                failures.append(f"{file.parent.parent.name}: {case.get('name')}")

    for failure in failures:
        print(f"failed in {failure}")
    skipped = f", {totals['skipped']} skipped" if totals["skipped"] else ""
    print(f"{totals['passed']} passed, {totals['failed']} failed{skipped}", flush=True)
    return 1 if totals["failed"] or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
