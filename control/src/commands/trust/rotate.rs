//! `trust rotate`: makes the next document from the one in force.

use std::path::{Path, PathBuf};

use miosa_snapshot::{Digest, Proposal, SigningKey, TrustDocument, TrustError};

use super::publish::{put_in_force, tell_published};
use super::{Held, TrustCommandError, tell, tell_all, write_new};
use crate::cli::RotateOptions;
use crate::clock::Millis;
use crate::commands::{origin, print_line};
use crate::store::Store;
use crate::store::trust::StoredKey;
use crate::trust::change::{self, Change};
use crate::trust::{root_key, words};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// Hosts get it.
    Published,
    /// It waits for signatures.
    Draft,
    /// It was only shown.
    Shown,
}

/// Makes the next document; publishes it if the root keys at hand suffice, else leaves a draft.
pub(crate) async fn rotate(
    store: &Store,
    state_dir: &Path,
    options: &RotateOptions,
) -> Result<Rotated, TrustCommandError> {
    let held = Held::read(store).await?;
    let now = Millis::now();
    let needs_signer =
        change::needs_signer(held.trust.document(), &options.revoke_signer, &held.online.signers, now)?;
    let made = if options.new_signer || needs_signer { Some(SigningKey::generate()?) } else { None };
    let least_epoch = store.least_epoch().await?.unwrap_or_default();
    let change = asked(options, made.as_ref().map(|(key, _)| key), least_epoch);
    let document = change::next(held.trust.document(), &change, now)?;
    tell(&format!("the next trust document, {} -> {}:", held.trust.version(), document.version));
    tell_all(&words::changes(held.trust.document(), &document));
    if options.dry_run {
        return Ok(Rotated::Shown);
    }

    let proposal = sign_with_all_at_hand(&held, document, &options.root_key)?;
    let made = made.map(|(key, pkcs8)| StoredKey { id: key.key_id().to_string(), pkcs8 });
    let bytes = proposal.write()?;
    let finished = match held.trust.advance(&bytes) {
        Ok(trust) => Some(trust),
        Err(error) if lacks_signatures(&error) => None,
        // Not an envelope yet.
        Err(TrustError::Envelope(_)) if proposal.count_signed(&held.trust.document().roots) == 0 => None,
        Err(error) => return Err(error.into()),
    };
    if let (Some(trust), None) = (finished, &options.out) {
        put_in_force(store, &trust, &bytes, made.as_ref()).await?;
        tell_published(&trust);
        print_line(&trust.version().to_string())?;
        return Ok(Rotated::Published);
    }

    let file = format!("trust-{}.draft.json", proposal.document().version);
    let path = options.out.clone().unwrap_or_else(|| state_dir.join(file));
    if path.exists() {
        let path = path.display();
        return Err(TrustCommandError::Refused(format!(
            "{path} exists already; remove it if that draft is given up, or name another file with --out"
        )));
    }
    if let Some(made) = &made {
        store.begin(&origin()).await?.keep_signer(made).await?;
    }
    write_new(&path, &bytes)?;
    tell_draft(&held, &proposal, &path);
    print_line(&path.display().to_string())?;
    Ok(Rotated::Draft)
}

fn asked(options: &RotateOptions, made: Option<&SigningKey>, least_epoch: u64) -> Change {
    let tenants: Vec<_> = options.tenants.iter().map(ToString::to_string).collect();
    Change {
        new_signer: made.map(SigningKey::public),
        add_signers: options.add_signer.clone(),
        revoke_signers: options.revoke_signer.clone(),
        signers_for: options.signer_expires_in,
        tenants: Some(tenants).filter(|tenants| !tenants.is_empty()),
        add_roots: options.add_root.clone(),
        remove_roots: options.remove_root.clone(),
        threshold: options.threshold,
        raise_epoch: options.raise_epoch,
        least_epoch,
        valid_for: options.expires_in,
    }
}

/// Signs with the online root keys and those in files, as far as it counts for anything.
fn sign_with_all_at_hand(
    held: &Held,
    document: TrustDocument,
    files: &[PathBuf],
) -> Result<Proposal, TrustCommandError> {
    let roots: Vec<_> = held.trust.document().roots.iter().chain(&document.roots).copied().collect();
    let mut proposal = Proposal::new(document)?;
    for root in held.roots.iter().filter(|root| roots.contains(&root.public())) {
        proposal.sign(root)?;
    }
    for file in files {
        let root = root_key::read(file)?;
        if !roots.contains(&root.public()) {
            return Err(TrustCommandError::Refused(format!(
                "the root key {} in {} is listed neither in the trust document in force nor in the next one",
                root.key_id(),
                file.display()
            )));
        }
        proposal.sign(&root)?;
    }
    Ok(proposal)
}

pub(super) fn lacks_signatures(error: &TrustError) -> bool {
    matches!(error, TrustError::NotSignedByHeldRoots { .. } | TrustError::NotSignedByOwnRoots { .. })
}

fn tell_draft(held: &Held, proposal: &Proposal, path: &Path) {
    let missing = words::missing(proposal, Some(held.trust.document()));
    tell_all(&missing);
    let (path, version) = (path.display(), held.trust.version());
    tell(&format!("nothing is published yet; the draft is {path}"));
    if !missing.is_empty() {
        tell(&format!(
            "next: `miosa-control trust show > trust-{version}.json`, take it and the draft to where the root keys are, and there\n  \
             miosa-control trust sign DRAFT --previous trust-{version}.json --root-key FILE\nthen here"
        ));
    }
    tell(&format!("  miosa-control trust publish {path}"));
}

/// The digest by which a document is known.
pub(super) fn digest_of(bytes: &[u8]) -> Vec<u8> {
    Digest::of(bytes).as_bytes().to_vec()
}
