//! The enrollment and the host's private key: there, right, and nobody else's to read.

use std::path::Path;

use super::finding::Finding;
use super::patient::Patient;
use crate::credentials::Credentials;
use crate::failure::in_one_line;
use crate::host::{HOST_KEY, HostError, HostFile};

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let state = &patient.settings.state;
    let host = match HostFile::load(state) {
        Ok(host) => host,
        Err(error) => return vec![unusable(&error, patient)],
    };
    // A credential is shown to nobody but the service, so the file alone is looked at here.
    match host.identity(state, &Credentials::default()) {
        Ok(_) if source(patient) == Some(CREDENTIAL) => vec![Finding::warn(
            KEY,
            format!(
                "the key is a credential of the service, and lies in {} as well",
                state.host_key().display()
            ),
            "remove the file: the credential is the one that is used",
        )],
        Ok(_) => vec![Finding::ok(KEY, format!("the key of {} ({}), mode 600", host.host_id, host.name))],
        Err(HostError::NoKey(_)) => vec![credential(patient)],
        Err(error) => vec![unusable(&error, patient)],
    }
}

/// Where the running daemon has its key from.
fn source(patient: &Patient) -> Option<&str> {
    patient.told().map(|status| status.host_key.as_str())
}

fn credential(patient: &Patient) -> Finding {
    if source(patient) == Some(CREDENTIAL) {
        return Finding::ok(KEY, "a credential of the service, and the right one: the daemon runs on it");
    }
    let stores = ["/etc/credstore.encrypted", "/run/credstore.encrypted", "/etc/credstore", "/run/credstore"];
    let stored = stores.iter().map(|store| Path::new(store).join(HOST_KEY)).find(|path| path.exists());
    if let Some(path) = stored {
        return Finding::ok(KEY, format!("{}, which only the service can open", path.display()));
    }
    let path = patient.settings.state.host_key();
    Finding::fail(
        KEY,
        format!("{} is not there, nor a credential {HOST_KEY}", path.display()),
        "run `miosad unenroll` and enroll again with a token of `miosa-control host rejoin`",
    )
}

fn unusable(error: &HostError, patient: &Patient) -> Finding {
    if let HostError::Disk(cause) = error {
        return match source(patient) {
            Some(source) if cause.is_denied() => {
                Finding::ok(KEY, format!("the right one: the daemon runs on it (from a {source})"))
            }
            None if cause.is_denied() => Finding::unseen(KEY, "the enrollment can't be looked at"),
            _ => Finding::fail(KEY, in_one_line(error), cause.advice().unwrap_or("see the kernel's log")),
        };
    }
    // These errors say what to do after their first semicolon, or else after their first colon.
    let text = in_one_line(error);
    let (says, action) =
        text.split_once("; ").or_else(|| text.split_once(": ")).unwrap_or((&text, "enroll it"));
    Finding::fail(KEY, says, action)
}

const KEY: &str = "host key";
const CREDENTIAL: &str = "credential";
