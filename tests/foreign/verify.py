"""Runs the host of host.py over the conformance vectors and says where it does not agree with them.

    verify.py tests/vectors

One line for each disagreement; the last line counts the cases. Exit status 0: there was a case, and no disagreement.
The layout of the vectors is in their README.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from host import Host, Restart, verdict
from payload import State

Step = dict[str, Any]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    vectors = Path(sys.argv[1])
    keys = json.loads((vectors / "keys.json").read_text())
    cases = sorted(path.parent for path in vectors.glob("*/*/case.json"))
    wrong = 0
    for case in cases:
        for disagreement in run_case(case, keys):
            print(f"{case.relative_to(vectors)}: {disagreement}")
            wrong += 1
    print(f"{len(cases)} cases, {wrong} disagreements")
    return 0 if cases and not wrong else 1


def run_case(folder: Path, keys: dict[str, Any]) -> Iterator[str]:
    """The disagreements of one case."""
    case = json.loads((folder / "case.json").read_text())
    private = keys["x25519"][case["host"]["key"]]["private"]
    host = Host(case["host"]["id"], X25519PrivateKey.from_private_bytes(bytes.fromhex(private)), case["pin"])
    now = 0
    for place, step in enumerate(case["steps"], 1):
        now = step.get("now", now)
        if "restart" in step:
            start = restarted(host, step["restart"], folder, now)
            host = start.host
            for kept, found in zip(step["restart"]["updates"], start.updates, strict=True):
                yield from difference(f"step {place}, {kept['update']}", found, expected(kept))
            yield from difference(f"step {place}", start.whole, expected(step))
        else:
            yield from difference(f"step {place}", offered(host, step, folder, now), expected(step))
    for name, found in the_end(host, now).items():
        yield from difference(f"end, {name}", found, case["end"][name])


def offered(host: Host, step: Step, folder: Path, now: int) -> str:
    content = (folder / step.get("trust", step.get("update"))).read_bytes()
    content = content.ljust(step.get("pad_to", 0), b" ")
    if "trust" in step:
        return verdict(lambda: host.offer_trust(content))
    return verdict(lambda: host.offer_update(content, now))


def restarted(host: Host, restart: Step, folder: Path, now: int) -> Restart:
    trust = [(folder / name).read_bytes() for name in restart["trust"]]
    updates = [(folder / kept["update"]).read_bytes() for kept in restart["updates"]]
    return host.restarted(trust, updates, host.floor if restart["floor"] == "kept" else None, now)


def expected(step: Step) -> str:
    """A verdict of the vectors, as host.py puts it."""
    if "accept" in step:
        return step["accept"]
    return f"{step['refuse']['check']} {step['refuse']['name']}"


def difference(place: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{place}: {found} here, {wanted} there"


def the_end(host: Host, now: int) -> dict[str, Any]:
    """What the host has come to, in the words of the vectors."""
    standing = "nothing" if host.held is None else "signer_revoked" if host.revoked else "good"
    held = host.held if standing == "good" else None
    return {
        "standing": standing,
        "trust": host.trust and {"version": host.trust.version, "epoch": host.trust.epoch, "digest": host.trust.digest},
        "held": held
        and {
            "epoch": held.epoch,
            "version": held.version,
            "state": held.made_by,
            "last": held.last,
            "issued_at": held.issued_at,
            "expires_at": held.expires_at,
            "serve_until": held.serve_until,
        },
        "age": held and {"snapshot_expired": "expired"}.get(host.serving(now), host.serving(now)),
        "floor": asdict(host.floor) if host.floor else "lost",
        "records": held and records_of(held.state),
    }


def records_of(state: State) -> dict[str, Any]:
    env = {id: record["value"] for id, record in state.records["env"].items()}
    return {"env": env} | {kind: sorted(state.records[kind]) for kind in ("profiles", "resources", "runs")}


if __name__ == "__main__":
    sys.exit(main())
