"""Offers the same random updates and trust documents to `miosad serve` and to the host of host.py, and compares.

    differential.py MIOSAD SEED COUNT

Every offer starts from one that would be accepted, and most are then spoilt in one place: in the envelope, the body,
the statement, the payload or the trust document, and signed again or not. Both hosts must give the same verdict, and
stand at the same position after it, also when both are started anew, now and then without their floor or some of their
trust documents. Prints a line for each disagreement, and at last how often each verdict was given. Exit status 0: there
was no disagreement.
"""

from __future__ import annotations

import base64
import collections
import copy
import hashlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import host
import publisher
from payload import State
from refusals import Refused

HOST_ID = "host_1"
Json = Any


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    miosad, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        duel = Duel(Path(miosad), Path(folder), random.Random(seed))
        try:
            for _ in range(count):
                duel.round()
        finally:
            duel.daemon.stop()
    print(json.dumps(dict(sorted(duel.verdicts.items()))))
    print(f"{count} offers, {duel.disagreements} disagreements")
    return 1 if duel.disagreements else 0


class Duel:
    """The two hosts, and a publisher that knows how both stand."""

    def __init__(self, miosad: Path, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.verdicts: collections.Counter[str] = collections.Counter()
        self.disagreements = 0
        self.roots = [key(f"root {number}") for number in range(5)]
        self.signers = [key(f"signer {number}") for number in range(3)]
        self.accepted: list[tuple[str, bytes]] = []
        self.document = self.first_document()
        trust = self.signed_trust(self.document, self.roots)
        (folder / "trust.json").write_bytes(trust)
        self.daemon = Daemon(miosad, folder)
        self.host_key = self.daemon.enroll(folder / "trust.json")
        private = X25519PrivateKey.from_private_bytes(base64.b64decode((folder / "state/host.key").read_bytes()))
        self.host = host.Host(HOST_ID, private, hashlib.sha256(trust).hexdigest())
        self.host.offer_trust(trust)
        self.trusts = [trust]
        self.daemon.start()

    def round(self) -> None:
        chance = self.rng.random()
        if chance < 0.01:
            self.restart()
        elif chance < 0.15:
            self.offer("trust", self.next_trust())
        elif chance < 0.20 and self.accepted:
            self.offer(*self.rng.choice(self.accepted))
        else:
            self.offer("updates", self.next_update())

    def offer(self, what: str, envelope: bytes) -> None:
        """One offer to both."""
        if what == "trust":
            here = host.verdict(lambda: self.host.offer_trust(envelope))
        else:
            here = host.verdict(lambda: self.host.offer_update(envelope, now()))
        there = self.daemon.offer(what, envelope)
        self.verdicts[here] += 1
        here = "follow" if here == "pin" else here  # `miosad` has one word for both
        if here in ("follow", "replace", "extend", "refresh"):
            self.accepted.append((what, envelope))
        if here == "follow" and envelope not in self.trusts:
            self.trusts.append(envelope)
        self.compare(f"{here} here, {there} there" if here != there else "", envelope)

    def restart(self) -> None:
        self.daemon.stop()
        chain = self.host.unread if self.host.held is None else list(self.host.held.chain)
        floor, kept = self.host.floor, len(self.trusts)
        chance = self.rng.random()
        if chance < 0.3:
            self.daemon.spoil_floor()
            floor = None
        elif chance < 0.6:
            kept = self.rng.randrange(max(0, kept - 3), kept)
            self.daemon.lose_trust(kept, len(self.trusts))
        self.host = self.host.restarted(self.trusts[:kept], chain, floor, now()).host
        self.daemon.start()
        self.compare("", b"a restart")
        if kept < len(self.trusts) and self.accepted:
            self.offer("updates", self.rng.choice(self.accepted)[1])
        for envelope in self.trusts[kept:]:
            self.offer("trust", envelope)

    def compare(self, disagreement: str, envelope: bytes) -> None:
        here, there = self.position(), self.daemon.position()
        if here != there:
            disagreement += f"; stands at {here} here, at {there} there"
        if disagreement:
            self.disagreements += 1
            print(f"{disagreement}: {self.told(envelope)}")
        if here != there:
            raise SystemExit("the hosts are apart, so nothing more can be learned")

    def position(self) -> Json:
        held = None if self.host.revoked else self.host.held
        made = (held.epoch, held.version, held.made_by) if held else (None, None, None)
        return (*made, self.host.trust.version if self.host.trust and self.host.trust_counts() else None)

    def told(self, envelope: bytes) -> str:
        """What an envelope says, as far as it can be opened."""
        try:
            read = host.read_envelope(envelope, host.UPDATE_TYPE, host.UPDATE_SIZE, host.UPDATE_SIGNATURES)
            said = host.u5_unsealed(host.u1_body(read.signed.payload), self.host.key)
        except Refused:
            said = envelope
        return repr(said.replace(b"v" * 131_000, b"..."))

    # Updates

    def next_update(self) -> bytes:
        rng, held = self.rng, None if self.host.revoked else self.host.held
        kind = rng.choice(["full", "incremental", "heartbeat"]) if held and rng.random() < 0.95 else "full"
        listed = self.host.trust_that_counts().signers
        known = [signer for signer in self.signers if publisher.key_id(signer) in listed]
        signer = rng.choice(known if known and rng.random() < 0.97 else self.signers)
        statement = self.statement(kind, held, signer)
        if rng.random() < 0.1:
            spoil_statement(statement, rng)
        if rng.random() < 0.4 and statement["payload"]:
            statement["payload"] = spoilt(statement["payload"], rng)
        text = spell(spoilt(statement, rng) if rng.random() < 0.1 else statement, rng).encode("utf-8", "surrogatepass")
        if rng.random() < 0.05:
            text = spoilt_bytes(text, rng)
        host_id = HOST_ID if rng.random() < 0.99 else rng.choice(["host_2", "h" * 65, "", "hö"])
        body = publisher.seal(text, host_id, self.host_key)
        if rng.random() < 0.05:
            body = spoilt_bytes(body, rng)
        signers = [signer] if rng.random() < 0.98 else rng.sample([*self.signers, *self.roots], rng.randint(0, 3))
        return self.spoilt_envelope(publisher.envelope(body, publisher.UPDATE, signers))

    def statement(self, kind: str, held: host.Position | None, signer: Ed25519PrivateKey) -> Json:
        rng, floor = self.rng, self.host.floor
        epoch, version = (floor.epoch, floor.version) if floor and rng.random() < 0.9 else (self.document["epoch"], 0)
        if held and kind != "full":
            epoch, version = held.epoch, held.version
        issued_at = max(now(), floor.issued_at if floor and floor.epoch == epoch else 0)
        if rng.random() < 0.05:
            issued_at -= rng.randrange(20_000, 1_000_000)
        return {
            "format": 1,
            "host_id": HOST_ID,
            "signer": publisher.key_id(signer),
            "epoch": epoch,
            "version": version + (0 if kind == "heartbeat" else 1 if rng.random() < 0.8 else rng.choice([0, 0, 2])),
            "kind": kind,
            "from": None if kind == "full" else version,
            "prev": None if kind == "full" or not held else held.made_by,
            "issued_at": issued_at,
            "expires_at": issued_at + 900_000,
            "serve_until": issued_at + 1_800_000,
            "payload": {} if kind == "heartbeat" else self.payload(kind),
        }

    def payload(self, kind: str) -> Json:
        rng = self.rng
        numbers = [rng.sample(range(2), rng.randint(0, 2)) if rng.random() < 0.98 else [0, 0] for _ in range(4)]
        kinds = State().records
        put = {kind: [record(kind, rng, number) for number in chosen] for kind, chosen in zip(kinds, numbers)}
        if kind == "full" and rng.random() < 0.9:
            put["resources"] = [record("resources", rng, number) for number in range(2)]
        delete: Json = {kind: [] for kind in put}
        if kind == "incremental" and rng.random() < 0.5:
            delete[rng.choice(list(delete))] = [f"{rng.choice('abcd')}-{rng.randint(0, 1)}"]
        return {"put": put, "delete": delete}

    # Trust documents

    def first_document(self) -> Json:
        return {
            "format": 1,
            "version": 1,
            "epoch": 1,
            "threshold": 2,
            "roots": [encoded(root) for root in self.roots],
            "signers": [self.signer(signer) for signer in self.signers],
            "expires_at": publisher.NEVER,
        }

    def signer(self, signer: Ed25519PrivateKey) -> Json:
        tenants = self.rng.choice([None, None, ["acme"], ["acme", "other"], []])
        expires_at = publisher.NEVER if self.rng.random() < 0.9 else now() - self.rng.randrange(20_000, 60_000)
        return {"key": encoded(signer), "expires_at": expires_at, "tenants": tenants}

    def next_trust(self) -> bytes:
        rng = self.rng
        document = json.loads(host.read_envelope(self.trusts[-1], host.TRUST_TYPE, 2**18, 32).signed.payload)
        document["version"] += rng.choice([1, 1, 1, 1, 1, 0, -1, 2])
        document["epoch"] += rng.choice([0, 0, 0, 0, 1, -1])
        kept = rng.sample(self.signers, rng.choice([3, 3, 3, 3, 3, 3, 3, 2, 2, 0]))
        document["signers"] = [self.signer(signer) for signer in kept]
        if rng.random() < 0.3:
            document["roots"] = [encoded(root) for root in rng.sample(self.roots, rng.randint(1, len(self.roots)))]
            document["threshold"] = rng.randint(1, len(document["roots"]))
        if rng.random() < 0.1:
            document = spoilt(document, rng)
        text = spell(document, rng).encode("utf-8", "surrogatepass")
        if rng.random() < 0.03:
            text = spoilt_bytes(text, rng)
        roots = self.roots if rng.random() < 0.8 else rng.sample([*self.roots, *self.signers], rng.randint(0, 8))
        return self.spoilt_envelope(publisher.envelope(text, publisher.TRUST, roots))

    def signed_trust(self, document: Json, roots: list[Ed25519PrivateKey]) -> bytes:
        return publisher.envelope(json.dumps(document).encode(), publisher.TRUST, roots)

    # Envelopes

    def spoilt_envelope(self, envelope: bytes) -> bytes:
        rng, chance = self.rng, self.rng.random()
        if chance < 0.90:
            return envelope
        if chance < 0.94:
            return spoilt_bytes(envelope, rng)
        document = json.loads(envelope)
        if chance < 0.97:
            document = spoilt(document, rng)
        else:
            for signature in document["signatures"]:
                signature["keyid"] = publisher.key_id(rng.choice([*self.signers, *self.roots]))
        return json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Daemon:
    """`miosad serve` on folders of its own."""

    def __init__(self, miosad: Path, folder: Path) -> None:
        self.miosad, self.folder = miosad, folder
        self.environment = {
            "MIOSAD_STATE_DIR": str(folder / "state"),
            "MIOSAD_RUNTIME_DIR": str(folder / "run"),
            "PATH": os.environ.get("PATH", ""),
        }

    def enroll(self, trust: Path) -> str:
        command = [str(self.miosad), "enroll", "--trust", str(trust), "--host-id", HOST_ID]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self.miosad, "serve"], env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.position()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def spoil_floor(self) -> None:
        for copy_of_it in (self.folder / "state").glob("floor.*"):
            copy_of_it.write_bytes(b"spoilt")

    def lose_trust(self, kept: int, followed: int) -> None:
        for version in range(kept + 1, followed + 1):
            (self.folder / f"state/trust/{version}.json").unlink()

    def offer(self, what: str, envelope: bytes) -> str:
        """The verdict, in the words of host.py."""
        status, answer = self.request("PUT", f"/v1/{what}", envelope)
        if status == 413:
            return "E1 oversize"
        if status == 200:
            return answer["verdict"]
        message: str = answer["error"]["message"].split(":")[0]
        return "None no_trust" if answer["error"]["code"] == "no_trust" else message

    def position(self) -> Json:
        _status, found = self.request("GET", "/v1/position", None)
        if found["need_full_because"] in ("not_ready", "no_trust", "signer_revoked"):
            return (None, None, None, found["trust_version"])
        return (found["epoch"], found["version"], found["digest"], found["trust_version"])

    def request(self, method: str, path: str, body: bytes | None) -> tuple[int, Json]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / "run/intake.sock"))
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)


# What is spoilt, and how


def record(kind: str, rng: random.Random, number: int) -> Json:
    """A record of a state, mostly of one tenant."""
    tenant = "acme" if rng.random() < 0.95 else "other"
    selection = {"skip": rng.random() < 0.5, "profile_id": rng.choice([None, "b-0"])}
    scopes = {"tenant_id": tenant, "workspace_id": rng.choice([None, "ws"]), "project_id": rng.choice([None, "pr"])}
    env = rng.choice([{}, {"ONE": "1", "_two": "ü\U0001f600"}])
    words = [None, "a word", "with spaces\n"]
    commands = [None, "true", ["sh", "-c", "true"]]
    match kind:
        case "env":
            return {
                "id": f"a-{number}",
                "tenant_id": tenant,
                "scope": rng.choice(["tenant", {"workspace": "ws"}, {"project": "pr"}]),
                "target": rng.choice(["all", "sandbox", "computer", "agent"]),
                "name": rng.choice(["NAME", "_other", "x1"]),
                "value": rng.choice(["", "value", "ü", "v" * (131_071 - len("NAME="))]),
                "enabled": rng.random() < 0.5,
                **rng.choice([{}, {}, {"deliver": rng.choice(["env", "file", "fd"])}]),
            }
        case "profiles":
            return {
                "id": f"b-{number}",
                **scopes,
                "name": rng.choice(["a profile", ""]),
                "runtime": rng.choice(["osa", "codex", "claude-code", "pi", "hermes", "custom"]),
                "applies_to": rng.choice([[], ["sandbox"], ["agent", "computer"]]),
                "tools": rng.choice([None, [], ["files", "exec"]]),
                "connectors": rng.choice([[], ["a/b"], [{"uid": "c1", "x": 1}], [{"id": "c"}], [{"name": "n"}]]),
                "env": env,
                "policy": rng.choice([{}, {"approval": "never", "max_child_sandboxes": 3}]),
                "is_default": rng.random() < 0.5,
            }
        case "resources":
            kind = rng.choice(["sandbox", "computer", "agent"])
            return {"id": f"c-{number}", **scopes, "kind": kind, "env": env, "selection": selection}
        case _:
            return {
                "id": f"d-{number}",
                "resource_id": f"c-{number}",
                "env": env,
                "selection": selection,
                "instruction": rng.choice(words),
                "cwd": rng.choice([None, "/work"]),
                "command": rng.choice(commands),
                "runtime_command": rng.choice(commands),
                "model": rng.choice(words),
                "provider": rng.choice(words),
                "approval_policy": rng.choice([None, "never", {"approval": "auto"}]),
            }


def spoil_statement(statement: Json, rng: random.Random) -> None:
    """One member, by a value that is well formed and may be wrong."""
    soon, hour = now(), 3_600_000
    wrong: dict[str, list[Json]] = {
        "host_id": ["host_2"],
        "signer": ["0" * 64],
        "epoch": [statement["epoch"] + 1, max(statement["epoch"] - 1, 0), publisher.NEVER],
        "version": [0, 1, statement["version"] + 1, max(statement["version"] - 1, 0)],
        "kind": ["full", "incremental", "heartbeat"],
        "from": [None, 0, statement["version"]],
        "prev": [None, "0" * 64],
        "issued_at": [0, soon - hour, soon + hour - 20_000, soon + hour + 20_000],
        "expires_at": [0, soon - 10_000, publisher.NEVER],
        "serve_until": [0, soon, publisher.NEVER],
    }
    name = rng.choice(list(wrong))
    statement[name] = rng.choice(wrong[name])
    if name == "issued_at":
        statement["expires_at"] = statement["serve_until"] = statement[name] + 900_000


def spoilt(value: Json, rng: random.Random) -> Json:
    """A copy with one change somewhere inside."""
    value = copy.deepcopy(value)
    places = list(places_in(value))
    if not places:
        return rng.choice(ODD)
    holder, at = rng.choice(places)
    match rng.randrange(6):
        case 0 if isinstance(holder, dict):
            del holder[at]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(["extra", "", "id"])] = rng.choice(ODD)
        case 2:
            holder[at] = copy.deepcopy(rng.choice(places)[0])
        case 3 if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[at]))
        case 4 if isinstance(holder[at], str):
            holder[at] = spoilt_text(holder[at], rng)
        case _:
            holder[at] = rng.choice(ODD)
    return value


def places_in(value: Json) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for at, inner in items:
        yield value, at
        yield from places_in(inner)


def spoilt_text(text: str, rng: random.Random) -> str:
    at = rng.randint(0, len(text))
    return rng.choice(
        [
            text.upper(),
            text + "x" * 64,
            text[:at] + rng.choice(["\0", ",", "=", " ", "é", "\ud800", "\n", '"', "\\", "A", "-", "1"]) + text[at:],
            text[:at],
            text[1:],
        ]
    )


def spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at:]
        case 2:
            return data[:at] + data[at + 1 :]
        case 3:
            return data + rng.choice([b" ", b"\n", b"\0", b"x", data])
        case 4:
            return rng.choice([b" ", b"\xef\xbb\xbf", b"\n"]) + data
        case _:
            flipped = bytearray(data)
            flipped[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
            return bytes(flipped)


def spell(value: Json, rng: random.Random) -> str:
    """JSON, now and then in a spelling that nobody expects."""
    odd = rng.random() < 0.0007
    if isinstance(value, dict):
        members = [f"{spell(name, rng)}:{space(rng)}{spell(inner, rng)}" for name, inner in value.items()]
        if odd and members:
            members.append(rng.choice(members))
        if rng.random() < 0.1:
            rng.shuffle(members)
        return "{" + ",".join(members) + (",}" if odd and rng.random() < 0.1 else "}")
    if isinstance(value, list):
        return "[" + f",{space(rng)}".join(spell(inner, rng) for inner in value) + ("]" if not odd else ",]")
    if odd and isinstance(value, bool):
        return rng.choice(["True", "1", "tru", '"true"'])
    if odd and isinstance(value, int):
        spellings = [f"{value}.0", f"{value}e0", f"-{value}", f"0{value}", f"+{value}", f'"{value}"']
        return rng.choice([*spellings, "1e999", "NaN"])
    if odd and isinstance(value, str):
        escaped = "".join(f"\\u{ord(letter) % 65536:04x}" for letter in value)
        return rng.choice([f'"{escaped}"', f"'{value}'", f'"{value}\\ud800"', f'"{value}\t"', f'"{value}\\x"'])
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def space(rng: random.Random) -> str:
    return "" if rng.random() < 0.999 else rng.choice([" ", "\n", "\t", "\r", "\f", "\u00a0", "/**/"])


def key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def encoded(signer: Ed25519PrivateKey) -> str:
    return base64.b64encode(publisher.public(signer)).decode()


def now() -> int:
    return time.time_ns() // 1_000_000


DEEP: Json = []
for _ in range(130):
    DEEP = [DEEP]
ODD: list[Json] = [
    *(None, True, False, 0, 1, -1, 1.5, 2**53 - 1, 2**53, 2**64, "", "a", "A", "a,b", "a b", "é", "a\0b", "tenant"),
    *("all", "sandbox", "agent", "c-0", "C-0", "x" * 64, "x" * 65),
    *([], {}, [[]], [{}], ["a", "a"], ["a,b"], [""], [None]),
    *({"a": 1}, {"approval": 1}, {"approval": "auto"}, {"workspace": "ws"}, {"uid": "a,b"}, {"uid": 1, "id": "x"}),
    *("NAME=x", "1A", "v" * 131_072, {"A": "v" * 131_069}, {"A": "v" * 131_070}, {"sandbox": None}, DEEP),
]


if __name__ == "__main__":
    sys.exit(main())
