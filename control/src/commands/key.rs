//! `miosa-control key`.

use miosa_injector::model::TenantId;

use super::table::table;
use super::{CommandError, origin, print_line};
use crate::auth::{Access, Role};
use crate::cli::{KeyCommand, RoleName};
use crate::clock::Millis;
use crate::store::Store;
use crate::token::{Token, TokenKind};

/// Runs the command.
pub(crate) async fn run(store: &Store, command: KeyCommand) -> Result<(), CommandError> {
    match command {
        KeyCommand::Create { tenant, role } => create(store, tenant, role).await,
        KeyCommand::List => list(store).await,
        KeyCommand::Revoke { id } => revoke(store, id).await,
    }
}

async fn create(store: &Store, tenant: Option<TenantId>, role: Option<RoleName>) -> Result<(), CommandError> {
    let role = match (tenant, role) {
        (Some(tenant), None | Some(RoleName::Write)) => Role::Tenant(tenant, Access::Write),
        (Some(tenant), Some(RoleName::Read)) => Role::Tenant(tenant, Access::Read),
        (None, Some(RoleName::Platform)) => Role::Platform,
        (Some(_), Some(RoleName::Platform)) => {
            return Err(CommandError::Usage("a platform key belongs to no tenant; leave --tenant out"));
        }
        (None, _) => return Err(CommandError::Usage("name the tenant of the key with --tenant")),
    };
    let kind = match role {
        Role::Tenant(..) => TokenKind::Tenant,
        Role::Platform => TokenKind::Platform,
    };
    let token = Token::generate(kind)?;
    store.begin(&origin()).await?.create_api_key(&role, &token.hash()).await?;
    print_line(token.expose())
}

async fn list(store: &Store) -> Result<(), CommandError> {
    let rows: Vec<[Option<String>; 5]> = store
        .api_keys()
        .await?
        .into_iter()
        .map(|key| {
            [
                Some(key.id),
                Some(key.role.name().to_owned()),
                key.role.tenant().map(ToString::to_string),
                Some(key.created_at.rfc3339()),
                key.revoked_at.map(Millis::rfc3339),
            ]
        })
        .collect();
    print_line(&table(["ID", "ROLE", "TENANT", "CREATED", "REVOKED"], &rows))
}

async fn revoke(store: &Store, id: String) -> Result<(), CommandError> {
    if store.begin(&origin()).await?.revoke_api_key(&id).await? {
        return print_line(&id);
    }
    Err(CommandError::NotThere { what: "key", name: id })
}
