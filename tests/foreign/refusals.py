"""The refusals of docs/snapshot-format.md: the number of each check, and its name."""

from __future__ import annotations

NAMES = {
    "E1": "oversize",
    "E2": "malformed_envelope",
    "E3": "wrong_payload_type",
    "E4": "wrong_signature_count",
    "E5": "bad_encoding",
    "E6": "duplicate_signature",
    "U1": "malformed_body",
    "U2": "wrong_host",
    "U3": "unknown_signer",
    "U4": "bad_signature",
    "U5": "undecryptable",
    "U6": "malformed_statement",
    "U7": "host_mismatch",
    "U8": "signer_mismatch",
    "U9": "epoch_above_trust",
    "U10": "trust_expired",
    "U11": "signer_expired",
    "U12": "expired",
    "U13": "from_the_future",
    "J2": "stale_version",
    "J3": "below_floor",
    "J4": "floor_lost",
    "J5": "wrong_base",
    "J6": "equivocation",
    "J7": "issued_backwards",
    "P1": "malformed_payload",
    "P2": "entry_too_long",
    "P3": "record_twice",
    "P4": "full_deletes",
    "P5": "run_without_resource",
    "P6": "signer_scope",
    "T1": "pin_mismatch",
    "T2": "not_signed_by_held_roots",
    "T3": "malformed_trust",
    "T4": "not_signed_by_own_roots",
    "T5": "stale_trust",
    "T6": "trust_equivocation",
    "T7": "trust_version_skipped",
    "T8": "epoch_lowered",
}


class Refused(Exception):
    """A check did not hold. Without one: there is no trust document to judge by."""

    def __init__(self, check: str | None) -> None:
        self.check = check
        self.name = "no_trust" if check is None else NAMES[check]
        super().__init__(f"{check} {self.name}")
