#!/usr/bin/env python3
"""Opens and makes updates with other people's DSSE, Ed25519, HPKE, HKDF and AES-GCM.

It follows docs/snapshot-format.md and shares no code with the crate that it is compared with. It
needs `cryptography` (50 or later, for HPKE) and `securesystemslib` from PyPI.

    open_update.py open TRUST PIN HOST_ID HOST_KEY UPDATE      prints the statement
    open_update.py make STATEMENT HOST_PUBLIC_KEY SIGNER_SEED  prints the envelope
    open_update.py sign-trust DOCUMENT ROOT_SEED...            prints the envelope
    open_update.py public SEED                                 prints the public key and its id

A KEY is base64, as `miosad enroll` prints it and its state folder has it; a SEED or PIN is 64
hexadecimal digits; the others but HOST_ID are files.
Age is not looked at: what is old is still worth opening here.
"""

import base64
import hashlib
import json
import os
import sys

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from securesystemslib import dsse
from securesystemslib.signer import Signature, SSlibKey

UPDATE = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm"
TRUST = "application/vnd.miosa.trust.v1+json"
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def main(command, *arguments):
    if command == "open":
        trust, pin, host_id, host_key, update = arguments
        trust = open_trust(read(trust), pin)
        statement = open_update(read(update), trust, host_id, base64.b64decode(host_key))
        print(json.dumps(statement, indent=1, ensure_ascii=False))
    elif command == "make":
        statement, host_public_key, signer_seed = arguments
        print(make_update(read(statement), base64.b64decode(host_public_key), private(signer_seed)), end="")
    elif command == "sign-trust":
        document, *root_seeds = arguments
        print(sign(TRUST, read(document).rstrip(), [private(seed) for seed in root_seeds]), end="")
    elif command == "public":
        [seed] = arguments
        key = private(seed).public_key().public_bytes_raw()
        print(base64.b64encode(key).decode(), hashlib.sha256(key).hexdigest())
    else:
        sys.exit(__doc__)


def open_trust(text, pin):
    require(hashlib.sha256(text).hexdigest() == pin, "T1")
    envelope = parse(text, TRUST)
    document = parse_json(envelope.payload)
    roots = [public_key(root) for root in document["roots"]]
    envelope.verify(roots, document["threshold"])
    return document


def open_update(text, trust, host_id, host_key):
    envelope = parse(text, UPDATE)
    require(len(envelope.signatures) == 1, "E4")
    outside, zero, rest = envelope.payload.partition(b"\0")
    require(zero and len(rest) >= 80 + 32 + 16, "U1")
    require(outside.decode() == host_id, "U2")
    signers = [public_key(signer["key"]) for signer in trust["signers"]]
    [signer] = envelope.verify(signers, 1)
    sealed_key, salt, ciphertext = rest[:80], rest[80:112], rest[112:]
    host_key = x25519.X25519PrivateKey.from_private_bytes(host_key)
    content_key = SUITE.decrypt(sealed_key, host_key, info=label("miosa content key", host_id))
    text = cipher(content_key, salt, host_id).decrypt(bytes(12), ciphertext, aad(host_id, sealed_key))
    statement = parse_json(text)
    require(statement["format"] == 1, "U6")
    require(statement["host_id"] == host_id, "U7")
    require(statement["signer"] == signer, "U8")
    require(statement["epoch"] <= trust["epoch"], "U9")
    return statement


def make_update(statement, host_public_key, signer):
    host_id = parse_json(statement)["host_id"]
    host_public_key = x25519.X25519PublicKey.from_public_bytes(host_public_key)
    content_key, salt = os.urandom(32), os.urandom(32)
    sealed_key = SUITE.encrypt(content_key, host_public_key, info=label("miosa content key", host_id))
    key = cipher(content_key, salt, host_id)
    ciphertext = key.encrypt(bytes(12), statement, aad(host_id, sealed_key))
    return sign(UPDATE, host_id.encode() + b"\0" + sealed_key + salt + ciphertext, [signer])


def cipher(content_key, salt, host_id):
    info = label("miosa update key", host_id)
    return AESGCM(HKDF(hashes.SHA256(), 32, salt, info).derive(content_key))


def aad(host_id, sealed_key):
    return UPDATE.encode() + b"\0" + host_id.encode() + b"\0" + sealed_key


def label(purpose, host_id):
    return "\0".join([purpose, UPDATE, host_id]).encode()


def parse(text, payload_type):
    envelope = dsse.Envelope.from_dict(json.loads(text))
    require(write(envelope) == text.decode(), "E2, E4, E5 or E6")
    require(envelope.payload_type == payload_type, "E3")
    return envelope


def write(envelope):
    return json.dumps(envelope.to_dict(), separators=(",", ":"))


def sign(payload_type, payload, keys):
    envelope = dsse.Envelope(payload, payload_type, {})
    for key in keys:
        key_id = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
        envelope.signatures[key_id] = Signature(key_id, key.sign(envelope.pae()).hex())
    return write(envelope)


def public_key(text):
    raw = base64.b64decode(text, validate=True)
    require(len(raw) == 32, "T3")
    return SSlibKey(hashlib.sha256(raw).hexdigest(), "ed25519", "ed25519", {"public": raw.hex()})


def parse_json(text):
    def distinct(pairs):
        members = dict(pairs)
        require(len(members) == len(pairs), "a duplicate member")
        return members

    return json.loads(text, object_pairs_hook=distinct)


def private(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def require(condition, check):
    if not condition:
        sys.exit(f"refused: {check}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
