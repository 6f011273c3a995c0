//! `miosa-control host`.

use data_encoding::HEXLOWER;

use super::table::table;
use super::{CommandError, origin, print_line};
use crate::cli::HostCommand;
use crate::clock::Millis;
use crate::store::{Store, hosts::HostCreated, trust::StoredTrust};
use crate::token::{Token, TokenKind};

/// Runs the command.
pub(crate) async fn run(store: &Store, command: HostCommand) -> Result<(), CommandError> {
    match command {
        HostCommand::Create { name } => create(store, name).await,
        HostCommand::Rejoin { host } => rejoin(store, host).await,
        HostCommand::List => list(store).await,
        HostCommand::Revoke { host } => revoke(store, host).await,
    }
}

/// The token carries the digest of the newest trust document, so that a host pins it before it has
/// spoken to anybody.
async fn create(store: &Store, name: String) -> Result<(), CommandError> {
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(well_formed) {
        return Err(CommandError::HostName);
    }
    let join = Join::generate(store).await?;
    let write = store.begin(&origin()).await?;
    match write.create_host(&name, &join.token.hash(), join.expires_at, join.trust.version).await? {
        HostCreated::Yes(_) => join.print(),
        HostCreated::NameTaken => Err(CommandError::HostNameTaken(name)),
    }
}

async fn rejoin(store: &Store, host: String) -> Result<(), CommandError> {
    let join = Join::generate(store).await?;
    let write = store.begin(&origin()).await?;
    if write.rejoin_host(&host, &join.token.hash(), join.expires_at, join.trust.version).await? {
        return join.print();
    }
    Err(CommandError::NotThere { what: "host", name: host })
}

/// What a host enrolls with.
struct Join {
    token: Token,
    expires_at: Millis,
    trust: StoredTrust,
}

impl Join {
    async fn generate(store: &Store) -> Result<Self, CommandError> {
        let trust = store.trust_documents().await?.pop().ok_or(CommandError::NoTrust)?;
        let token = Token::generate(TokenKind::Join)?;
        Ok(Self { token, expires_at: Millis::now().plus(JOIN_TOKEN_LIFETIME), trust })
    }

    fn print(&self) -> Result<(), CommandError> {
        print_line(&format!("{}.{}", self.token.expose(), HEXLOWER.encode(&self.trust.digest)))
    }
}

async fn list(store: &Store) -> Result<(), CommandError> {
    let rows: Vec<[Option<String>; 6]> = store
        .host_lines()
        .await?
        .into_iter()
        .map(|host| {
            [
                Some(host.id),
                Some(host.name),
                Some(host.created_at.rfc3339()),
                host.enrolled_at.map(Millis::rfc3339),
                host.last_seen_at.map(Millis::rfc3339),
                host.revoked_at.map(Millis::rfc3339),
            ]
        })
        .collect();
    print_line(&table(["ID", "NAME", "CREATED", "ENROLLED", "LAST SEEN", "REVOKED"], &rows))
}

async fn revoke(store: &Store, host: String) -> Result<(), CommandError> {
    if store.begin(&origin()).await?.revoke_host(&host).await? {
        return print_line(&host);
    }
    Err(CommandError::NotThere { what: "host", name: host })
}

/// A day: long enough to walk to the machine, short enough to be useless when found later.
const JOIN_TOKEN_LIFETIME: i64 = 24 * 60 * 60 * 1000;
