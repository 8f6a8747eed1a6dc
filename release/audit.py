"""Known weaknesses of the installed dependencies, from the advisories of PyPI; needs the network.

Exit code 0: none is known; 1: some are, listed; 2: the service cannot be reached, so that nothing is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(folder: Path) -> int:
    """Ask for the packages of a folder, print what is found, and give the exit code."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        str(folder),
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    try:
        listed = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"the advisories cannot be read ({reason[:200]}): run make audit where the network allows it")
        return 2
    faults = [(one, fault) for one in listed for fault in one.get("vulns", ())]
    skipped = [one["name"] for one in listed if "skip_reason" in one]
    if len(skipped) == len(listed):
        print(f"no advisory of {len(listed)} packages can be reached: run make audit where the network allows it")
        return 2
    for one, fault in faults:
        print(f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}")
    asked = len(listed) - len(skipped)
    print(f"{asked} packages looked up, {len(faults)} weaknesses known, {len(skipped)} not found there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
