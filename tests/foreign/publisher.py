"""A publisher for one host, from docs/snapshot-format.md, with other people's cryptography: a start for your own.

    publisher.py FOLDER new HOST_ID          makes keys, and trust-1.json, which `miosad enroll --trust` takes
    publisher.py FOLDER host PUBLIC_KEY      remembers what `miosad enroll` printed
    publisher.py FOLDER full PAYLOAD DOOR    the whole state
    publisher.py FOLDER incremental PAYLOAD DOOR
    publisher.py FOLDER heartbeat DOOR
    publisher.py FOLDER rotate DOOR          another root and signer, and a higher epoch; send a full update next

FOLDER is the publisher's memory, private keys included. PAYLOAD is a file of JSON. DOOR is the host's intake socket, or
its drop directory. Exit status 1: the host refused, and said why on stderr.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

UPDATE = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm"
TRUST = "application/vnd.miosa.trust.v1+json"
HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
FRESH_FOR_MS, SERVE_FOR_MS, NEVER = 15 * 60 * 1000, 72 * 60 * 60 * 1000, 2**53 - 1

Memory = dict[str, Any]


def main() -> int:
    folder, command, *rest = sys.argv[1:] if len(sys.argv) > 2 else ("", "", "")
    match command, rest:
        case "new", [host_id]:
            new(Path(folder), host_id)
        case "host", [public_key]:
            save(Path(folder), load(Path(folder)) | {"host_key": public_key})
        case "full" | "incremental", [payload, door]:
            update(Path(folder), command, json.loads(Path(payload).read_text()), door)
        case "heartbeat", [door]:
            update(Path(folder), command, {}, door)
        case "rotate", [door]:
            rotate(Path(folder), door)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def new(folder: Path, host_id: str) -> None:
    folder.mkdir(mode=0o700)
    keep_trust(folder, {"host_id": host_id, "epoch": 0, "trust_version": 0})


def rotate(folder: Path, door: str) -> None:
    deliver(door, "trust", keep_trust(folder, load(folder)))


def keep_trust(folder: Path, memory: Memory) -> bytes:
    """Makes the next trust document and keeps its bytes: hosts that miss one follow no later one."""
    made = next_trust(memory)
    (folder / f"trust-{memory['trust_version']}.json").write_bytes(made)
    save(folder, memory)
    return made


def update(folder: Path, kind: str, payload: dict[str, Any], door: str) -> None:
    memory = load(folder)
    if "host_key" not in memory:
        sys.exit("run `host PUBLIC_KEY` first, with the key that `miosad enroll` printed")
    made = next_update(memory, kind, payload)
    # Before anybody can have seen it: another update of this version would be a second state of it.
    save(folder, memory)
    deliver(door, "updates", made)
    if kind != "heartbeat":
        save(folder, memory | {"from": memory["version"], "prev": hashlib.sha256(made).hexdigest()})


def load(folder: Path) -> Memory:
    return json.loads((folder / "publisher.json").read_text())


def save(folder: Path, memory: Memory) -> None:
    written = folder / "publisher.json.new"
    written.touch(mode=0o600)
    written.write_text(json.dumps(memory))
    written.rename(folder / "publisher.json")


def next_trust(memory: Memory) -> bytes:
    """The next trust document: new keys, signed by the old root and by the new one; its epoch starts versions anew."""
    roots = [signing_key(memory["root"])] if "root" in memory else []
    root, signer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    memory.update(root=root.private_bytes_raw().hex(), signer=signer.private_bytes_raw().hex())
    memory.update(trust_version=memory["trust_version"] + 1, epoch=memory["epoch"] + 1)
    memory.update(version=0, issued_at=0, **{"from": None, "prev": None})
    document = {
        "format": 1,
        "version": memory["trust_version"],
        "epoch": memory["epoch"],
        "threshold": 1,
        "roots": [base64.b64encode(public(root)).decode()],
        "signers": [{"key": base64.b64encode(public(signer)).decode(), "expires_at": NEVER, "tenants": None}],
        "expires_at": NEVER,
    }
    return envelope(json.dumps(document).encode(), TRUST, [*roots, root])


def next_update(memory: Memory, kind: str, payload: dict[str, Any]) -> bytes:
    """The next update, on top of what the host has taken; no version is ever used twice."""
    signer = signing_key(memory["signer"])
    if kind != "heartbeat":
        memory["version"] += 1
    # A clock that was put back must not take `issued_at` with it.
    memory["issued_at"] = max(time.time_ns() // 1_000_000, memory["issued_at"])
    statement = {
        "format": 1,
        "host_id": memory["host_id"],
        "signer": key_id(signer),
        "epoch": memory["epoch"],
        "version": memory["from"] if kind == "heartbeat" else memory["version"],
        "kind": kind,
        "from": None if kind == "full" else memory["from"],
        "prev": None if kind == "full" else memory["prev"],
        "issued_at": memory["issued_at"],
        "expires_at": memory["issued_at"] + FRESH_FOR_MS,
        "serve_until": memory["issued_at"] + SERVE_FOR_MS,
        "payload": payload,
    }
    return envelope(seal(json.dumps(statement).encode(), memory["host_id"], memory["host_key"]), UPDATE, [signer])


def seal(statement: bytes, host_id: str, host_key: str) -> bytes:
    """The body of an update: only the host can open it."""
    content_key, salt = os.urandom(32), os.urandom(32)
    to = X25519PublicKey.from_public_bytes(base64.b64decode(host_key))
    sealed_key = HPKE.encrypt(content_key, to, label("miosa content key", host_id))
    update_key = HKDF(SHA256(), 32, salt, label("miosa update key", host_id)).derive(content_key)
    data = b"\0".join([UPDATE.encode(), host_id.encode(), sealed_key])
    return host_id.encode() + b"\0" + sealed_key + salt + AESGCM(update_key).encrypt(bytes(12), statement, data)


def label(purpose: str, host_id: str) -> bytes:
    return b"\0".join([purpose.encode(), UPDATE.encode(), host_id.encode()])


def envelope(payload: bytes, payload_type: str, signers: list[Ed25519PrivateKey]) -> bytes:
    """A DSSE envelope, in the one spelling that hosts take."""
    signed = Envelope(payload, payload_type, {})
    for signer in signers:
        key = SSlibKey(key_id(signer), "ed25519", "ed25519", {"public": public(signer).hex()})
        signed.sign(CryptoSigner(signer, key))
    return json.dumps(signed.to_dict(), separators=(",", ":")).encode()


def key_id(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(public(key)).hexdigest()


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def signing_key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def deliver(door: str, what: str, made: bytes) -> None:
    """Hands an envelope to the host: over its intake socket, or as a file that appears as a whole."""
    if Path(door).is_dir():
        name = f"{hashlib.sha256(made).hexdigest()}.json"
        hidden = Path(door) / f".{name}"
        hidden.write_bytes(made)
        hidden.rename(Path(door) / name)
        return
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(door)
    connection.request("PUT", f"/v1/{what}", made)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        sys.exit(f"{answer.status}: {text}")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
