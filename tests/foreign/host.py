"""A host for MIOSA updates, written from docs/snapshot-format.md alone on other people's DSSE (securesystemslib) and
cryptography (`cryptography`). Each check is a function or a line that carries the number it has in the document.

Bytes and the time come in, a verdict comes out: nothing here reads a file, a clock or a socket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from securesystemslib import dsse
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature, SSlibKey

from payload import State, apply, read_change, tenants_of
from refusals import Refused
from values import DIGEST, a_digest, a_list, an_id, demand, from_base64, json_members, number, raw_members, strict_json

UPDATE_TYPE = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm"
TRUST_TYPE = "application/vnd.miosa.trust.v1+json"
HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

UPDATE_SIZE, TRUST_SIZE = 16 * 1024 * 1024, 256 * 1024
UPDATE_SIGNATURES, TRUST_SIGNATURES = 1, 32
ROOTS, SIGNERS = 16, 64
SEALED_KEY_SIZE, SALT_SIZE, TAG_SIZE = 80, 32, 16
AHEAD_MS, RECENT_MS = 60 * 60 * 1000, 15 * 60 * 1000

TEXT = '[^"]*'
SIGNATURE = rf'\{{"keyid":"({TEXT})","sig":"({TEXT})"\}}'
ENVELOPE = re.compile(
    rf'\{{"payload":"({TEXT})","payloadType":"({TEXT})","signatures":\[((?:{SIGNATURE}(?:,{SIGNATURE})*)?)\]\}}'
)

FIELD_PRIME = 2**255 - 19
# The y of the Ed25519 points of small order: 0, 1, -1 and the two of order 8.
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_Y = {0, 1, FIELD_PRIME - 1, ORDER_8, FIELD_PRIME - ORDER_8}


# A host: what it holds, and the three things that happen to it


@dataclass(frozen=True)
class Position:
    """What a host holds, and on whose word."""

    epoch: int
    version: int
    made_by: str  # digest of the envelope that made this state
    last: str  # digest of the last envelope accepted
    issued_at: int  # these three are the last envelope's
    expires_at: int
    serve_until: int
    state: State
    chain: tuple[bytes, ...]  # the envelopes that it rests on: a full one, incremental ones, the last heartbeat


@dataclass(frozen=True, order=True)
class Floor:
    """The highest (epoch, version) ever accepted, and the newest `issued_at` in that epoch."""

    epoch: int = 0
    version: int = 0
    issued_at: int = 0


@dataclass(frozen=True)
class Restart:
    """A host after its start, and its verdicts: on each update that it kept, and on all of them together."""

    host: Host
    updates: list[str]
    whole: str


@dataclass
class Host:
    """One host. What is offered to it is accepted, in the word that is returned, or refused by raising Refused, and
    then nothing has changed."""

    host_id: str
    key: X25519PrivateKey
    pin: str
    followed: list[Trust] = field(default_factory=list)
    newest_followed: int = 0
    held: Position | None = None
    revoked: bool = False
    floor: Floor | None = Floor()  # None: it cannot be read
    unread: list[bytes] = field(default_factory=list)  # kept updates that there is no trust document to judge by

    @property
    def trust(self) -> Trust | None:
        return self.followed[-1] if self.followed else None

    def offer_trust(self, envelope: bytes) -> str:
        """The pinned trust document, or the one that follows the held one: `pin`, `follow` or `unchanged`."""
        if any(envelope == trust.envelope for trust in self.followed):
            return "unchanged"
        accepted = first_trust(envelope, self.pin) if self.trust is None else next_trust(envelope, self.trust)
        verdict = "pin" if self.trust is None else "follow"
        self.followed.append(accepted)
        self.newest_followed = max(self.newest_followed, accepted.version)
        if self.held is None and self.unread and self.trust_counts():
            self.read_kept(self.unread, self.floor, now=0)
        self.revoked = self.held is not None and not self.stands(self.held.chain)
        return verdict

    def offer_update(self, envelope: bytes, now: int) -> str:
        """An update from outside: `replace`, `extend`, `refresh` or `unchanged`."""
        statement = open_update(envelope, self.host_id, self.key, self.trust_that_counts(), now)
        return self.judge(statement, now)

    def offer_cached(self, envelope: bytes, now: int) -> str:
        """An update that this host accepted before its start: its age does not matter."""
        statement = open_update(envelope, self.host_id, self.key, self.trust_that_counts(), now=None)
        return self.judge(statement, now)

    def restarted(self, trust: list[bytes], updates: list[bytes], floor: Floor | None, now: int) -> Restart:
        """This host after a start: what it kept is verified again, and then compared with its floor as a whole (J3)."""
        followed = 0 if floor is None else self.newest_followed  # it is kept beside the floor
        host = Host(self.host_id, self.key, self.pin, newest_followed=followed)
        for envelope in trust:
            host.offer_trust(envelope)
        host.floor = floor
        if not host.trust_counts():
            host.unread = updates
            return Restart(host, [], "nothing")
        return host.read_kept(updates, floor, now)

    def read_kept(self, updates: list[bytes], floor: Floor | None, now: int) -> Restart:
        """Judges updates of an earlier run from the first one on, and what they come to by the floor."""
        verdicts, highest = [], Floor()
        for envelope in updates:
            self.floor = None if floor is None else highest
            verdicts.append(verdict(partial(self.offer_cached, envelope, now)))
            highest = self.floor or highest
        self.floor = floor
        return Restart(self, verdicts, verdict(partial(self.hold_against_floor, highest)))

    def hold_against_floor(self, highest: Floor) -> str:
        """J3 for all that was read at a start: `served` or `nothing`."""
        if self.held is None:
            return "nothing"
        floor = self.floor or highest
        if (highest.epoch, highest.version) < (floor.epoch, floor.version):
            self.held = None
            raise Refused("J3")
        self.floor = max(floor, highest)
        return "served"

    def judge(self, statement: Statement, now: int) -> str:
        """J1 to J7 and P1 to P6, and what comes of it."""
        held = None if self.revoked else self.held
        if j1_accepted_already(statement, held):
            return "unchanged"
        j2_not_older_than_held(statement, held)
        j3_not_below_the_floor(statement, self.floor)
        j4_recent_and_full_without_a_floor(statement, self.floor, now)
        j5_applies_to_what_is_held(statement, held)
        if is_another_of_the_held_version(statement, held):
            state = state_after(statement, held)
            j6_says_the_same_as_what_is_held(state, held)
            j7_not_issued_before_the_newest(statement, held, self.floor)
        else:
            j7_not_issued_before_the_newest(statement, held, self.floor)
            state = state_after(statement, held)
        p6_speaks_for_its_tenants(self.trust_that_counts().signers[statement.signer], state_of(held), state)
        self.held = following(statement, state, held)
        self.floor = raised(self.floor, statement)
        self.revoked = False
        return {"full": "replace", "incremental": "extend", "heartbeat": "refresh"}[statement.kind]

    def trust_that_counts(self) -> Trust:
        """None of the documents, while the newest one that this host has followed is missing."""
        if self.trust is None or not self.trust_counts():
            raise Refused(None)
        return self.trust

    def trust_counts(self) -> bool:
        return self.trust is not None and self.trust.version >= self.newest_followed

    def stands(self, chain: tuple[bytes, ...]) -> bool:
        """Whether U3, U11 and P6 still hold for all that the held state rests on."""
        reader = Host(self.host_id, self.key, self.pin, self.followed)
        try:
            for envelope in chain:
                reader.offer_cached(envelope, now=0)
        except Refused:
            return False
        return True

    def serving(self, now: int) -> str:
        """How what is held is served: `fresh`, `stale`, or why it is not."""
        if self.held is None:
            return "not_ready"
        if self.revoked:
            return "signer_revoked"
        if now > self.held.serve_until:
            return "snapshot_expired"
        return "stale" if now > self.held.expires_at else "fresh"


def verdict(offer: Callable[[], str]) -> str:
    """What came of an offer: the word for its acceptance, or the number and the name of its refusal."""
    try:
        return offer()
    except Refused as refused:
        return str(refused)


# Envelope: E1 to E6


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope in our spelling."""

    signed: dsse.Envelope

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether it carries a signature of this key that verifies."""
        try:
            self.signed.verify([key.for_dsse()], 1)
        except VerificationError:
            return False
        return True


def read_envelope(envelope: bytes, payload_type: str, size: int, signatures: int) -> Envelope:
    """The envelope behind bytes that nobody has vouched for yet."""
    e1_within_its_size(envelope, size)
    payload, found_type, found_signatures = e2_exactly_our_spelling(envelope)
    e3_expected_type(found_type, payload_type)
    e4_number_of_signatures(found_signatures, signatures)
    body, decoded = e5_encodings(payload, found_signatures)
    by_key = e6_one_signature_a_key(decoded)
    return Envelope(dsse.Envelope(body, found_type, by_key))


def e1_within_its_size(envelope: bytes, size: int) -> None:
    if len(envelope) > size:
        raise Refused("E1")


def e2_exactly_our_spelling(envelope: bytes) -> tuple[str, str, list[tuple[str, str]]]:
    match = ENVELOPE.fullmatch(envelope.decode("latin-1"))  # one character a byte
    if match is None:
        raise Refused("E2")
    return match[1], match[2], re.findall(SIGNATURE, match[3])


def e3_expected_type(found: str, expected: str) -> None:
    if found != expected:
        raise Refused("E3")


def e4_number_of_signatures(signatures: list[tuple[str, str]], limit: int) -> None:
    if not 1 <= len(signatures) <= limit:
        raise Refused("E4")


def e5_encodings(payload: str, signatures: list[tuple[str, str]]) -> tuple[bytes, list[Signature]]:
    try:
        body = from_base64(payload)
        decoded = [Signature(key_id, from_base64(sig).hex()) for key_id, sig in signatures]
    except ValueError:
        raise Refused("E5") from None
    for signature in decoded:
        if len(signature.signature) != 2 * 64 or not DIGEST.fullmatch(signature.keyid):
            raise Refused("E5")
    return body, decoded


def e6_one_signature_a_key(signatures: list[Signature]) -> dict[str, Signature]:
    by_key = {signature.keyid: signature for signature in signatures}
    if len(by_key) != len(signatures):
        raise Refused("E6")
    return by_key


# Trust: T1 to T8


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 key that follows the rules of section "Keys"."""

    raw: bytes

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def for_dsse(self) -> SSlibKey:
        return SSlibKey(self.key_id, "ed25519", "ed25519", {"public": self.raw.hex()})


@dataclass(frozen=True)
class Signer:
    key: PublicKey
    expires_at: int
    tenants: frozenset[str] | None  # None: all


@dataclass(frozen=True)
class Trust:
    """A verified trust document."""

    envelope: bytes
    version: int
    epoch: int
    threshold: int
    roots: tuple[PublicKey, ...]
    signers: dict[str, Signer]
    expires_at: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.envelope).hexdigest()


def first_trust(envelope: bytes, pin: str) -> Trust:
    """The document that the host is pinned to."""
    if hashlib.sha256(envelope).hexdigest() != pin:
        raise Refused("T1")
    read = read_envelope(envelope, TRUST_TYPE, TRUST_SIZE, TRUST_SIGNATURES)
    document = t3_document(envelope, read.signed.payload)
    t4_signed_by_its_own_roots(read, document)
    return document


def next_trust(envelope: bytes, held: Trust) -> Trust:
    """A document that takes the place of the held one."""
    read = read_envelope(envelope, TRUST_TYPE, TRUST_SIZE, TRUST_SIGNATURES)
    t2_signed_by_held_roots(read, held)
    document = t3_document(envelope, read.signed.payload)
    t4_signed_by_its_own_roots(read, document)
    if document.version < held.version:
        raise Refused("T5")
    if document.version == held.version:
        raise Refused("T6")
    if document.version > held.version + 1:
        raise Refused("T7")
    if document.epoch < held.epoch:
        raise Refused("T8")
    return document


def t2_signed_by_held_roots(read: Envelope, held: Trust) -> None:
    if not signed_by_threshold(read, held):
        raise Refused("T2")


def t3_document(envelope: bytes, payload: bytes) -> Trust:
    try:
        return read_document(envelope, payload)
    except (ValueError, RecursionError):
        raise Refused("T3") from None


def t4_signed_by_its_own_roots(read: Envelope, document: Trust) -> None:
    if not signed_by_threshold(read, document):
        raise Refused("T4")


def signed_by_threshold(read: Envelope, trust: Trust) -> bool:
    return sum(read.is_signed_by(root) for root in trust.roots) >= trust.threshold


def read_document(envelope: bytes, payload: bytes) -> Trust:
    """Raises ValueError where the payload is no trust document."""
    members = json_members(payload, "format version epoch threshold roots signers expires_at")
    roots = tuple(public_key(root) for root in a_list(members["roots"]))
    signers = [read_signer(signer) for signer in a_list(members["signers"])]
    by_key_id = {signer.key.key_id: signer for signer in signers}
    threshold = number(members["threshold"])
    demand(members["format"] == 1 and type(members["format"]) is int)
    demand(number(members["version"]) >= 1)
    demand(1 <= len(roots) <= ROOTS and len(set(roots)) == len(roots))
    demand(1 <= threshold <= len(roots))
    demand(len(signers) <= SIGNERS and len(by_key_id) == len(signers))
    return Trust(
        envelope,
        number(members["version"]),
        number(members["epoch"]),
        threshold,
        roots,
        by_key_id,
        number(members["expires_at"]),
    )


def read_signer(value: Any) -> Signer:
    demand(isinstance(value, dict) and set(value) == {"key", "expires_at", "tenants"})
    tenants = value["tenants"]
    if tenants is not None:
        tenants = frozenset(an_id(tenant) for tenant in a_list(tenants))
    return Signer(public_key(value["key"]), number(value["expires_at"]), tenants)


def public_key(value: Any) -> PublicKey:
    demand(isinstance(value, str))
    raw = from_base64(value)
    demand(len(raw) == 32)
    y = int.from_bytes(raw, "little") % 2**255
    demand(y < FIELD_PRIME and y not in SMALL_ORDER_Y)
    return PublicKey(raw)


# Update: U1 to U13


@dataclass(frozen=True)
class Body:
    host_id: str
    sealed_key: bytes
    salt: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class Statement:
    """What a signer said to one host; `payload` is JSON text."""

    host_id: str
    signer: str
    epoch: int
    version: int
    kind: str
    base: int | None  # `from`
    prev: str | None
    issued_at: int
    expires_at: int
    serve_until: int
    payload: str
    envelope: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.envelope).hexdigest()


def open_update(envelope: bytes, host_id: str, key: X25519PrivateKey, trust: Trust, now: int | None) -> Statement:
    """E1 to E6 and U1 to U13. Without a time it is a cached update, which age does not refuse."""
    read = read_envelope(envelope, UPDATE_TYPE, UPDATE_SIZE, UPDATE_SIGNATURES)
    body = u1_body(read.signed.payload)
    u2_for_this_host(body, host_id)
    signer = u3_signer(read, trust)
    u4_signature(read, signer)
    plaintext = u5_unsealed(body, key)
    statement = replace(u6_statement(plaintext), envelope=envelope)
    u7_same_host_inside(statement, body)
    u8_same_signer_inside(statement, signer)
    u9_epoch_is_granted(statement, trust)
    if now is not None:
        u10_trust_has_not_expired(trust, now)
    u11_signer_has_not_expired(statement, signer, now)
    if now is not None:
        u12_update_has_not_expired(statement, now)
        u13_not_from_the_future(statement, now)
    return statement


def u1_body(payload: bytes) -> Body:
    host_id, zero, rest = payload.partition(b"\0")
    if not zero or len(rest) < SEALED_KEY_SIZE + SALT_SIZE + TAG_SIZE:
        raise Refused("U1")
    try:
        name = an_id(host_id.decode("ascii"))
    except ValueError:
        raise Refused("U1") from None
    sealed_key, rest = rest[:SEALED_KEY_SIZE], rest[SEALED_KEY_SIZE:]
    return Body(name, sealed_key, rest[:SALT_SIZE], rest[SALT_SIZE:])


def u2_for_this_host(body: Body, host_id: str) -> None:
    if body.host_id != host_id:
        raise Refused("U2")


def u3_signer(read: Envelope, trust: Trust) -> Signer:
    [key_id] = read.signed.signatures
    if key_id not in trust.signers:
        raise Refused("U3")
    return trust.signers[key_id]


def u4_signature(read: Envelope, signer: Signer) -> None:
    if not read.is_signed_by(signer.key):
        raise Refused("U4")


def u5_unsealed(body: Body, key: X25519PrivateKey) -> bytes:
    try:
        content_key = HPKE.decrypt(body.sealed_key, key, label("miosa content key", body.host_id))
        data = UPDATE_TYPE.encode() + b"\0" + body.host_id.encode() + b"\0" + body.sealed_key
        return AESGCM(update_key(content_key, body.salt, body.host_id)).decrypt(bytes(12), body.ciphertext, data)
    except (InvalidTag, ValueError):
        raise Refused("U5") from None


def update_key(content_key: bytes, salt: bytes, host_id: str) -> bytes:
    return HKDF(SHA256(), 32, salt, label("miosa update key", host_id)).derive(content_key)


def label(purpose: str, host_id: str) -> bytes:
    return b"\0".join([purpose.encode(), UPDATE_TYPE.encode(), host_id.encode()])


def u6_statement(plaintext: bytes) -> Statement:
    try:
        return read_statement(plaintext)
    except (ValueError, RecursionError):
        raise Refused("U6") from None


def read_statement(plaintext: bytes) -> Statement:
    """Raises ValueError where the plaintext is no statement."""
    names = "format host_id signer epoch version kind from prev issued_at expires_at serve_until payload"
    texts = raw_members(plaintext, names)
    members = {name: strict_json(text) for name, text in texts.items() if name != "payload"}
    demand(members["format"] == 1 and type(members["format"]) is int)
    statement = Statement(
        host_id=an_id(members["host_id"]),
        signer=a_digest(members["signer"]),
        epoch=number(members["epoch"]),
        version=number(members["version"]),
        kind=members["kind"],
        base=None if members["from"] is None else number(members["from"]),
        prev=None if members["prev"] is None else a_digest(members["prev"]),
        issued_at=number(members["issued_at"]),
        expires_at=number(members["expires_at"]),
        serve_until=number(members["serve_until"]),
        payload=texts["payload"],
    )
    demand(statement.payload.startswith("{"))
    demand(statement.issued_at <= statement.expires_at <= statement.serve_until)
    demand(kind_is_kept(statement))
    return statement


def kind_is_kept(statement: Statement) -> bool:
    if statement.kind == "full":
        return statement.base is None and statement.prev is None
    if statement.base is None or statement.prev is None:
        return False
    if statement.kind == "incremental":
        return statement.version > statement.base
    if statement.kind == "heartbeat":
        return statement.version == statement.base and statement.payload == "{}"
    return False


def u7_same_host_inside(statement: Statement, body: Body) -> None:
    if statement.host_id != body.host_id:
        raise Refused("U7")


def u8_same_signer_inside(statement: Statement, signer: Signer) -> None:
    if statement.signer != signer.key.key_id:
        raise Refused("U8")


def u9_epoch_is_granted(statement: Statement, trust: Trust) -> None:
    if statement.epoch > trust.epoch:
        raise Refused("U9")


def u10_trust_has_not_expired(trust: Trust, now: int) -> None:
    if now > trust.expires_at:
        raise Refused("U10")


def u11_signer_has_not_expired(statement: Statement, signer: Signer, now: int | None) -> None:
    if statement.issued_at > signer.expires_at or (now is not None and now > signer.expires_at):
        raise Refused("U11")


def u12_update_has_not_expired(statement: Statement, now: int) -> None:
    if now > statement.expires_at:
        raise Refused("U12")


def u13_not_from_the_future(statement: Statement, now: int) -> None:
    if statement.issued_at > now + AHEAD_MS:
        raise Refused("U13")


# What may follow what: J1 to J7


def j1_accepted_already(statement: Statement, held: Position | None) -> bool:
    return held is not None and statement.digest in (held.last, held.made_by)


def j2_not_older_than_held(statement: Statement, held: Position | None) -> None:
    if held is None:
        return
    offered, current = (statement.epoch, statement.version), (held.epoch, held.version)
    if offered < current or (statement.kind == "incremental" and offered == current):
        raise Refused("J2")


def j3_not_below_the_floor(statement: Statement, floor: Floor | None) -> None:
    if floor is not None and (statement.epoch, statement.version) < (floor.epoch, floor.version):
        raise Refused("J3")


def j4_recent_and_full_without_a_floor(statement: Statement, floor: Floor | None, now: int) -> None:
    if floor is None and (statement.kind != "full" or statement.issued_at < now - RECENT_MS):
        raise Refused("J4")


def j5_applies_to_what_is_held(statement: Statement, held: Position | None) -> None:
    if statement.kind == "full":
        return
    if held is None:
        raise Refused("J5")
    if (statement.epoch, statement.base, statement.prev) != (held.epoch, held.version, held.made_by):
        raise Refused("J5")


def is_another_of_the_held_version(statement: Statement, held: Position | None) -> bool:
    """Whether J6 has something to compare."""
    if statement.kind != "full" or held is None:
        return False
    return (statement.epoch, statement.version) == (held.epoch, held.version)


def j6_says_the_same_as_what_is_held(state: State, held: Position | None) -> None:
    if state != state_of(held):
        raise Refused("J6")


def j7_not_issued_before_the_newest(statement: Statement, held: Position | None, floor: Floor | None) -> None:
    for newest in (held, floor):
        if newest is not None and newest.epoch == statement.epoch and statement.issued_at < newest.issued_at:
            raise Refused("J7")


# The payload: P1 to P5 are in payload.py


def state_of(held: Position | None) -> State:
    return State() if held is None else held.state


def state_after(statement: Statement, held: Position | None) -> State:
    """The state that this update makes, or that it refreshes."""
    if statement.kind == "heartbeat":
        return state_of(held)
    return apply(read_change(statement.payload), state_of(held), statement.kind)


def p6_speaks_for_its_tenants(signer: Signer, before: State, after: State) -> None:
    if signer.tenants is not None and not (tenants_of(before) | tenants_of(after)) <= signer.tenants:
        raise Refused("P6")


def following(statement: Statement, state: State, held: Position | None) -> Position:
    """What is held once a judged update is accepted."""
    carries_state = statement.kind != "heartbeat"
    made_by = statement.digest if carries_state or held is None else held.made_by
    return Position(
        statement.epoch,
        statement.version,
        made_by,
        statement.digest,
        statement.issued_at,
        statement.expires_at,
        statement.serve_until,
        state,
        chain_with(statement, held),
    )


def chain_with(statement: Statement, held: Position | None) -> tuple[bytes, ...]:
    if statement.kind == "full" or held is None:
        return (statement.envelope,)
    that_made_state = held.chain if held.last == held.made_by else held.chain[:-1]
    return (*that_made_state, statement.envelope)


def raised(floor: Floor | None, statement: Statement) -> Floor:
    offered = (statement.epoch, statement.version)
    if floor is None or statement.epoch > floor.epoch:
        return Floor(*offered, statement.issued_at)
    highest = max(offered, (floor.epoch, floor.version))
    return Floor(*highest, max(floor.issued_at, statement.issued_at))
