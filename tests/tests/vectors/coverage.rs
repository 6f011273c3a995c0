//! What must have a case: the checks of the document, read from its tables, and the errors of the two
//! crates, each by the name that the cases give it. A new variant does not compile until it is here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use miosa_injector::model::{EntryError, EnvName};
use miosa_injector::{Change, PayloadError, StateError};
use miosa_snapshot::{
    DocumentError, EnvelopeError, OpenError, OutOfScope, Refusal, StatementError, TrustError,
};

use crate::host::Refused;

/// A function from an error to its name, and the list of all those names.
macro_rules! reasons {
    ($function:ident, $list:ident, $error:ty { $($pattern:pat => $name:literal,)* }) => {
        fn $function(error: &$error) -> &'static str {
            match error { $($pattern => $name,)* }
        }
        const $list: &[&str] = &[$($name,)*];
    };
}

reasons!(envelope, ENVELOPE, EnvelopeError {
    EnvelopeError::Oversize { .. } => "EnvelopeError::Oversize",
    EnvelopeError::Malformed { .. } => "EnvelopeError::Malformed",
    EnvelopeError::PayloadType { .. } => "EnvelopeError::PayloadType",
    EnvelopeError::SignatureCount { .. } => "EnvelopeError::SignatureCount",
    EnvelopeError::Encoding { part: "payload" } => "EnvelopeError::Encoding(payload)",
    EnvelopeError::Encoding { part: "keyid" } => "EnvelopeError::Encoding(keyid)",
    EnvelopeError::Encoding { .. } => "EnvelopeError::Encoding(sig)",
    EnvelopeError::DuplicateSignature => "EnvelopeError::DuplicateSignature",
});

reasons!(statement, STATEMENT, StatementError {
    StatementError::Json { .. } => "StatementError::Json",
    StatementError::Format => "StatementError::Format",
    StatementError::Number => "StatementError::Number",
    StatementError::Kind => "StatementError::Kind",
    StatementError::Times => "StatementError::Times",
    StatementError::Payload => "StatementError::Payload",
});

reasons!(document, DOCUMENT, DocumentError {
    DocumentError::Json { .. } => "DocumentError::Json",
    DocumentError::Format => "DocumentError::Format",
    DocumentError::Number => "DocumentError::Number",
    DocumentError::Threshold => "DocumentError::Threshold",
    DocumentError::Roots => "DocumentError::Roots",
    DocumentError::Signers => "DocumentError::Signers",
    DocumentError::Tenant => "DocumentError::Tenant",
});

reasons!(refusal, REFUSAL, Refusal {
    Refusal::StaleVersion => "Refusal::StaleVersion",
    Refusal::BelowFloor => "Refusal::BelowFloor",
    Refusal::FloorLost => "Refusal::FloorLost",
    Refusal::WrongBase => "Refusal::WrongBase",
    Refusal::Equivocation => "Refusal::Equivocation",
    Refusal::IssuedBackwards => "Refusal::IssuedBackwards",
});

reasons!(payload, PAYLOAD, PayloadError {
    PayloadError::Malformed(_) => "PayloadError::Malformed",
    PayloadError::EntryTooLong { .. } => "PayloadError::EntryTooLong",
    PayloadError::Twice { .. } => "PayloadError::Twice",
    PayloadError::FullDeletes => "PayloadError::FullDeletes",
    PayloadError::State(StateError::RunWithoutResource { .. }) => "PayloadError::State(RunWithoutResource)",
});

/// What does not only hold another error.
const OPEN: [&str; 12] = [
    "OpenError::Body",
    "OpenError::WrongHost",
    "OpenError::UnknownSigner",
    "OpenError::BadSignature",
    "OpenError::Undecryptable",
    "OpenError::HostMismatch",
    "OpenError::SignerMismatch",
    "OpenError::EpochAboveTrust",
    "OpenError::TrustExpired",
    "OpenError::SignerExpired",
    "OpenError::Expired",
    "OpenError::FromTheFuture",
];
const TRUST: [&str; 7] = [
    "TrustError::PinMismatch",
    "TrustError::NotSignedByHeldRoots",
    "TrustError::NotSignedByOwnRoots",
    "TrustError::StaleVersion",
    "TrustError::Equivocation",
    "TrustError::SkippedVersion",
    "TrustError::EpochLowered",
];

pub fn of_open(error: &OpenError) -> Refused {
    let because = match error {
        OpenError::Envelope(error) => envelope(error),
        OpenError::Statement(error) => statement(error),
        OpenError::Body => OPEN[0],
        OpenError::WrongHost { .. } => OPEN[1],
        OpenError::UnknownSigner => OPEN[2],
        OpenError::BadSignature => OPEN[3],
        OpenError::Undecryptable => OPEN[4],
        OpenError::HostMismatch => OPEN[5],
        OpenError::SignerMismatch => OPEN[6],
        OpenError::EpochAboveTrust { .. } => OPEN[7],
        OpenError::TrustExpired { .. } => OPEN[8],
        OpenError::SignerExpired { .. } => OPEN[9],
        OpenError::Expired { .. } => OPEN[10],
        OpenError::FromTheFuture { .. } => OPEN[11],
    };
    refused(error.check(), error.name(), because)
}

pub fn of_trust(error: &TrustError) -> Refused {
    let because = match error {
        TrustError::Envelope(error) => envelope(error),
        TrustError::Document(error) => document(error),
        TrustError::PinMismatch => TRUST[0],
        TrustError::NotSignedByHeldRoots { .. } => TRUST[1],
        TrustError::NotSignedByOwnRoots { .. } => TRUST[2],
        TrustError::StaleVersion { .. } => TRUST[3],
        TrustError::Equivocation { .. } => TRUST[4],
        TrustError::SkippedVersion { .. } => TRUST[5],
        TrustError::EpochLowered { .. } => TRUST[6],
    };
    refused(error.check(), error.name(), because)
}

pub fn of_refusal(error: Refusal) -> Refused {
    refused(error.check(), error.name(), refusal(&error))
}

pub fn of_payload(error: &PayloadError) -> Refused {
    refused(error.check(), error.name(), payload(error))
}

pub fn of_scope(error: &OutOfScope) -> Refused {
    refused(error.check(), error.name(), SCOPE)
}

/// Every reason that must have a case.
pub fn reasons() -> Vec<&'static str> {
    let lists = [ENVELOPE, STATEMENT, DOCUMENT, REFUSAL, PAYLOAD, &OPEN, &TRUST, &[SCOPE]];
    lists.into_iter().flatten().copied().collect()
}

/// Numbers and names of the tables of `docs/snapshot-format.md`; J1 has no name, since it refuses
/// nothing.
pub fn checks_of_the_document() -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/snapshot-format.md");
    let text = fs::read_to_string(path).unwrap();
    let checks: BTreeSet<_> = text.lines().filter_map(check_of_a_row).collect();
    for (prefix, count) in [("E", 6), ("U", 13), ("J", 7), ("P", 6), ("T", 8)] {
        let found = checks.iter().filter(|(check, _)| check.starts_with(prefix)).count();
        assert!(found >= count, "{found} checks {prefix} are in the document");
    }
    checks
}

#[test]
fn the_checks_of_the_payload_in_the_document_are_those_of_the_code() {
    let errors = [
        Change::decode(b"{}").unwrap_err(),
        PayloadError::EntryTooLong {
            name: EnvName::parse("NAME").unwrap(),
            id: "env_1".to_owned(),
            source: EntryError(131_072),
        },
        PayloadError::Twice { kind: "run", id: "run_1".to_owned() },
        PayloadError::FullDeletes,
        PayloadError::State(StateError::RunWithoutResource {
            run: "run_1".parse().unwrap(),
            resource: "sbx-1".parse().unwrap(),
        }),
    ];
    let scope = OutOfScope { tenant: "acme".to_owned() };
    let coded = errors.iter().map(|error| (error.check(), error.name()));
    let coded = coded.chain([(scope.check(), scope.name())]);
    let coded: Vec<_> = coded.map(|(check, name)| (check.to_owned(), name.to_owned())).collect();
    let documented = checks_of_the_document();
    let documented: Vec<_> = documented.into_iter().filter(|(check, _)| check.starts_with('P')).collect();
    assert_eq!(coded, documented);
}

fn check_of_a_row(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let check = cells.next()?;
    let (letter, number) = check.split_at_checked(1)?;
    if !"EUJPT".contains(letter) || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let name = cells.last()?.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
    Some((check.to_owned(), name.unwrap_or_default().to_owned()))
}

fn refused(check: &'static str, name: &'static str, because: &str) -> Refused {
    Refused { check: Some(check), name, because: because.to_owned() }
}

const SCOPE: &str = "OutOfScope";
