//! `trust sign`: one root key's signature on a draft. It uses nothing but the files it is given.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use miosa_snapshot::{Digest, Proposal, SigningKey, Trust};

use super::{TrustCommandError, read_document, replace, tell, tell_all, write_new};
use crate::cli::SignOptions;
use crate::commands::print_line;
use crate::trust::{root_key, words};

/// Runs the command.
pub(super) fn run(options: &SignOptions) -> Result<(), TrustCommandError> {
    let root = root_key::read(&options.root_key)?;
    let mut proposal = Proposal::read(&read_document(&options.draft)?)?;
    let previous = options.previous.as_deref().map(read_previous).transpose()?;
    check_order(&proposal, previous.as_ref())?;
    check_root(&proposal, previous.as_ref(), &root)?;

    tell_all(&words::describe(proposal.document(), None));
    match &previous {
        Some(previous) => {
            tell(&format!(
                "what it changes of document {}, digest {}:",
                previous.version(),
                previous.digest()
            ));
            tell_all(&words::changes(previous.document(), proposal.document()));
        }
        None => tell("what it changes is not shown: name the document before it with --previous"),
    }
    if !options.yes {
        ask(&root)?;
    }

    proposal.sign(&root)?;
    let bytes = proposal.write()?;
    match &options.out {
        Some(out) => write_new(out, &bytes)?,
        None => replace(&options.draft, &bytes)?,
    }
    let out = options.out.as_deref().unwrap_or(&options.draft);
    tell(&format!("signed by {}", root.key_id()));
    tell_rest(&proposal, previous.as_ref(), out);
    Ok(print_line(&out.display().to_string())?)
}

/// The document that is said to be in force. Its own roots vouch for it; that it is the newest is known
/// to who brought it.
fn read_previous(path: &Path) -> Result<Trust, TrustCommandError> {
    let bytes = read_document(path)?;
    Ok(Trust::pin(&bytes, &Digest::of(&bytes))?)
}

fn check_order(proposal: &Proposal, previous: Option<&Trust>) -> Result<(), TrustCommandError> {
    let Some(previous) = previous else { return Ok(()) };
    let (version, epoch) = (proposal.document().version, proposal.document().epoch);
    if previous.version().checked_add(1) != Some(version) {
        return Err(TrustCommandError::Refused(format!(
            "the draft is trust document {version}, which does not follow document {}",
            previous.version()
        )));
    }
    if epoch < previous.epoch() {
        return Err(TrustCommandError::Refused(format!(
            "the draft lowers the epoch from {} to {epoch}, which no host takes",
            previous.epoch()
        )));
    }
    Ok(())
}

/// A signature that counts for nothing is a mistake.
fn check_root(
    proposal: &Proposal,
    previous: Option<&Trust>,
    root: &SigningKey,
) -> Result<(), TrustCommandError> {
    let before = previous.map(|previous| previous.document().roots.as_slice()).unwrap_or_default();
    if proposal.document().roots.iter().chain(before).any(|listed| *listed == root.public()) {
        return Ok(());
    }
    let hint = if previous.is_none() {
        "; if the document before it lists it, name that with --previous"
    } else {
        ""
    };
    Err(TrustCommandError::Refused(format!("the draft does not list the root key {}{hint}", root.key_id())))
}

fn ask(root: &SigningKey) -> Result<(), TrustCommandError> {
    if !io::stdin().is_terminal() {
        return Err(TrustCommandError::Refused(
            "nobody is there to be asked; look at the draft with `trust show DRAFT`, then add --yes"
                .to_owned(),
        ));
    }
    tell(&format!("sign this with root key {}? [y/N]", root.key_id()));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(TrustCommandError::Refused("not signed".to_owned())),
    }
}

fn tell_rest(proposal: &Proposal, previous: Option<&Trust>, out: &Path) {
    let missing = words::missing(proposal, previous.map(Trust::document));
    tell_all(&missing);
    match (missing.is_empty(), previous) {
        (false, _) => tell("next: have it signed with those root keys too"),
        (true, Some(_)) => tell(&format!(
            "it is finished; on the control machine: miosa-control trust publish {}",
            out.display()
        )),
        (true, None) => tell(
            "its own root keys have signed; whether those of the document before it have is told by `trust publish`, or with --previous",
        ),
    }
}
