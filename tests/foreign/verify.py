"""Runs the host of host.py.

    verify.py tests/vectors                        over the conformance vectors (their README.md has the layout)
    verify.py offer HOST_ID KEY_FILE PIN FILE...   over trust documents and updates, in this order, by the present clock

The first prints a line for each disagreement with the vectors, and at last how many cases there were; exit status 0
means that there were some, and no disagreement. The second prints what the host has come to, as a case of the vectors
ends; exit status 0 means that it accepted everything. KEY_FILE holds the X25519 private key in base64, PIN is the
SHA-256 of the first trust document.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from host import TRUST_TYPE, Host, Restart, verdict
from payload import State
from refusals import Refused

Step = dict[str, Any]


def main() -> int:
    match sys.argv[1:]:
        case ["offer", host_id, key_file, pin, *files]:
            key = X25519PrivateKey.from_private_bytes(base64.b64decode(Path(key_file).read_bytes()))
            return offer(Host(host_id, key, pin), [Path(file).read_bytes() for file in files])
        case [vectors]:
            return run_cases(Path(vectors))
        case _:
            print(__doc__, file=sys.stderr)
            return 2


def offer(host: Host, envelopes: list[bytes]) -> int:
    now = time.time_ns() // 1_000_000
    try:
        for envelope in envelopes:
            if TRUST_TYPE.encode() in envelope:
                host.offer_trust(envelope)
            else:
                host.offer_update(envelope, now)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    print(json.dumps(the_end(host, now)))
    return 0


def run_cases(vectors: Path) -> int:
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
    content = (folder / (step["trust"] if "trust" in step else step["update"])).read_bytes()
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
