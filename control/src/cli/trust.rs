//! `miosa-control trust` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use miosa_injector::model::TenantId;
use miosa_snapshot::VerifyingKey;

use super::parse_duration;
use crate::trust::change::{Named, parse_public_key};

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Print the trust document in force as it was signed, and say on standard error what it says
    #[command(after_long_help = SHOW_HELP)]
    Show {
        /// Say what this document or draft says instead; needs no state directory
        file: Option<PathBuf>,
    },
    /// Make the next trust document: signed and published at once where the root keys are at hand,
    /// else left as a draft to be signed elsewhere
    #[command(after_long_help = ROTATE_HELP)]
    Rotate(RotateOptions),
    /// Add a root key's signature to a draft; needs no state directory, so an air-gapped machine will do
    #[command(after_long_help = SIGN_HELP)]
    Sign(SignOptions),
    /// Take a finished trust document in: verified as hosts verify it, and sent to them at once
    Publish {
        /// The document with all its signatures
        file: PathBuf,
    },
    /// Make root keys, and take them away from this machine
    #[command(subcommand)]
    RootKey(RootKeyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct RotateOptions {
    /// Make a new signer and sign with it from now on. Signers in force stay listed until they expire
    /// or are revoked. One is made in any case where none would be left to sign with
    #[arg(long, env = "MIOSA_CONTROL_NEW_SIGNER")]
    pub(crate) new_signer: bool,
    /// Revoke a signer by its key id (or the beginning of it), or `all`: nothing it signed counts any
    /// more. Raises the epoch, so that nothing it may have signed ahead of time stands in the way
    #[arg(long, value_name = "KEYID|all", env = "MIOSA_CONTROL_REVOKE_SIGNER")]
    pub(crate) revoke_signer: Vec<Named>,
    /// List a signer whose private key is kept elsewhere, by its public key in base64
    #[arg(long, value_name = "PUBKEY", env = "MIOSA_CONTROL_ADD_SIGNER", value_parser = parse_public_key)]
    pub(crate) add_signer: Vec<VerifyingKey>,
    /// How long new and added signers may sign
    #[arg(long, value_name = "TIME", env = "MIOSA_CONTROL_SIGNER_EXPIRES_IN", default_value = "3650d", value_parser = parse_duration)]
    pub(crate) signer_expires_in: Duration,
    /// The only tenants that new and added signers may speak for, with commas between [default: all]
    #[arg(long, value_name = "IDS", env = "MIOSA_CONTROL_TENANTS", value_delimiter = ',')]
    pub(crate) tenants: Vec<TenantId>,
    /// List another root key, by its public key in base64
    #[arg(long, value_name = "PUBKEY", env = "MIOSA_CONTROL_ADD_ROOT", value_parser = parse_public_key)]
    pub(crate) add_root: Vec<VerifyingKey>,
    /// Remove a root key by its key id, or the beginning of it
    #[arg(long, value_name = "KEYID", env = "MIOSA_CONTROL_REMOVE_ROOT")]
    pub(crate) remove_root: Vec<Named>,
    /// How many root keys must sign from now on [default: as many as now]
    #[arg(long, value_name = "N", env = "MIOSA_CONTROL_THRESHOLD")]
    pub(crate) threshold: Option<u32>,
    /// Start the versions of all hosts anew, above whatever they have accepted
    #[arg(long, env = "MIOSA_CONTROL_RAISE_EPOCH")]
    pub(crate) raise_epoch: bool,
    /// How long the document is valid; hosts take no update under an expired one
    #[arg(long, value_name = "TIME", env = "MIOSA_CONTROL_EXPIRES_IN", default_value = "3650d", value_parser = parse_duration)]
    pub(crate) expires_in: Duration,
    /// Sign with the root key in this file as well
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_ROOT_KEY")]
    pub(crate) root_key: Vec<PathBuf>,
    /// Leave a draft in this file, and publish nothing [default where root keys are missing:
    /// STATE_DIR/trust-VERSION.draft.json]
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Say what would change, and change nothing
    #[arg(long, env = "MIOSA_CONTROL_DRY_RUN")]
    pub(crate) dry_run: bool,
}

impl Default for RotateOptions {
    /// What nothing on the command line means.
    fn default() -> Self {
        Self {
            new_signer: false,
            revoke_signer: Vec::new(),
            add_signer: Vec::new(),
            signer_expires_in: TEN_YEARS,
            tenants: Vec::new(),
            add_root: Vec::new(),
            remove_root: Vec::new(),
            threshold: None,
            raise_epoch: false,
            expires_in: TEN_YEARS,
            root_key: Vec::new(),
            out: None,
            dry_run: false,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SignOptions {
    /// The draft; the signature is added to it in place
    pub(crate) draft: PathBuf,
    /// The file of the root key (PKCS#8 in PEM, mode 0600)
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_ROOT_KEY")]
    pub(crate) root_key: PathBuf,
    /// The document that it follows, from `trust show > FILE`: with it the differences are shown, and
    /// nothing is signed that hosts would not take after it
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_PREVIOUS")]
    pub(crate) previous: Option<PathBuf>,
    /// Write the result here and leave the draft as it is
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Sign without asking
    #[arg(long, env = "MIOSA_CONTROL_YES")]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootKeyCommand {
    /// Make a root key, and print its public key for `trust rotate --add-root`; needs no state directory
    Generate {
        /// Where to write the private key (mode 0600); must not exist
        #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_OUT")]
        out: PathBuf,
    },
    /// Write the online root key to a file and erase it here; prints its key id
    Move {
        /// Where to write the private key (mode 0600); must not exist
        #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_OUT")]
        out: PathBuf,
        /// Which one, where several are online: its key id, or the beginning of it
        #[arg(value_name = "KEYID")]
        key: Option<Named>,
    },
}

const TEN_YEARS: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

const SHOW_HELP: &str = "\
Standard output is the document byte for byte, without a line end: what `miosad enroll --trust`,
`miosad push` and `trust sign --previous` take.";

const ROTATE_HELP: &str = "\
A signer was stolen:             miosa-control trust rotate --revoke-signer all
  the root key is in a file:     … --root-key FILE
  the root keys are elsewhere:   the same; then `trust sign` and `trust publish` the draft it leaves
A signer or document expires:    miosa-control trust rotate --new-signer
Take a root key offline:         miosa-control trust root-key move --out FILE
Two of three offline root keys:  miosa-control trust rotate --add-root PUB1 --add-root PUB2 \\
                                   --add-root PUB3 --remove-root KEYID --threshold 2
A database was put back:         miosa-control restore FILE, or trust rotate --raise-epoch

Prints the version of the document if it was published, and the path of the draft if one was left.";

const SIGN_HELP: &str = "\
Says what the draft changes, asks, signs, and says how many signatures are still missing. A finished
one goes back to the control machine, to `trust publish`.";
