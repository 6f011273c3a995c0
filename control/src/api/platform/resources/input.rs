//! What the platform may send about resources, parsed.

use miosa_injector::model::{
    EnvMap, IdError, ProfileId, ProjectId, Resource, ResourceId, ResourceKind, TenantId, WorkspaceId,
};
use miosa_snapshot::HostId;
use serde::Serialize;
use serde_json::Value;

use crate::api::env::take_env;
use crate::api::error::{ApiError, FieldError};
use crate::api::fields::{Fields, Given, string, text};
use crate::api::platform::selection::{PROFILE_ID, SelectionFields};
use crate::api::query::Params;
use crate::store::resources::ResourceFilter;
use crate::store::{Store, StoreError};
use crate::token::generate_id;

/// A resource to be created.
#[derive(Debug)]
pub(super) struct NewResource {
    pub(super) resource: Resource,
    pub(super) id_was_given: bool,
    pub(super) host_id: HostId,
    pub(super) given: Vec<&'static str>,
}

/// A change of a stored resource. `None` leaves a field as it is, an empty id clears it.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) workspace_id: Option<String>,
    pub(super) project_id: Option<String>,
    /// All of the new env: it is replaced, not added to.
    pub(super) env: Option<EnvMap>,
    pub(super) selection: SelectionFields,
    pub(super) given: Vec<&'static str>,
}

impl NewResource {
    pub(super) async fn parse(mut fields: Fields, params: Params, store: &Store) -> Result<Self, ApiError> {
        let id = fields.take("id", text::<ResourceId>).value();
        let tenant_id = fields.require("tenant_id", text::<TenantId>);
        let host_id = fields.require("host_id", host_id);
        let kind = fields.require("kind", text::<ResourceKind>);
        let workspace_id = fields.take("workspace_id", text::<WorkspaceId>).value();
        let project_id = fields.take("project_id", text::<ProjectId>).value();
        let env = take_env(&mut fields, "env").value().unwrap_or_default();
        let selection = SelectionFields::take(&mut fields).into_selection();
        if let Some(host_id) = &host_id
            && !store.host_takes_resources(host_id).await?
        {
            fields.wrong("host_id", NO_SUCH_HOST);
        }
        if let Some(tenant_id) = &tenant_id {
            check_profile(&mut fields, store, tenant_id, selection.profile_id.as_ref()).await?;
        }
        let given = fields.finish_with(params)?;
        let (Some(tenant_id), Some(host_id), Some(kind)) = (tenant_id, host_id, kind) else {
            // Unreachable: each of them has left an error behind.
            return Err(ApiError::invalid(Vec::new()));
        };
        let id_was_given = id.is_some();
        let id = match id {
            Some(id) => id,
            None => generated()?,
        };
        let resource = Resource { id, tenant_id, workspace_id, project_id, kind, env, selection };
        Ok(Self { resource, id_was_given, host_id, given })
    }
}

impl Patch {
    pub(super) async fn parse(
        mut fields: Fields,
        params: Params,
        tenant: &TenantId,
        shown: &impl Serialize,
        store: &Store,
    ) -> Result<Self, ApiError> {
        let workspace_id = id_column(fields.take("workspace_id", text::<WorkspaceId>));
        let project_id = id_column(fields.take("project_id", text::<ProjectId>));
        let env = match take_env(&mut fields, "env") {
            Given::Absent => None,
            Given::Null => Some(EnvMap::new()),
            Given::Value(env) => Some(env),
        };
        let selection = SelectionFields::take(&mut fields);
        if let Given::Value(id) = &selection.profile_id {
            check_profile(&mut fields, store, tenant, Some(id)).await?;
        }
        fields.must_equal(&FIXED, shown)?;
        let given = fields.finish_with(params)?;
        Ok(Self { workspace_id, project_id, env, selection, given })
    }
}

/// The filter of a list.
pub(super) fn filter(params: &mut Params) -> ResourceFilter {
    ResourceFilter {
        tenant_id: params.take::<TenantId>("tenant_id").map(String::from).unwrap_or_default(),
        host_id: params.take::<HostId>("host_id").map(String::from).unwrap_or_default(),
        kind: params.take::<ResourceKind>("kind").map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        workspace_id: params.take::<WorkspaceId>("workspace_id").map(String::from).unwrap_or_default(),
        project_id: params.take::<ProjectId>("project_id").map(String::from).unwrap_or_default(),
    }
}

/// Notes a profile that the tenant does not have.
pub(in crate::api::platform) async fn check_profile(
    fields: &mut Fields,
    store: &Store,
    tenant: &TenantId,
    id: Option<&ProfileId>,
) -> Result<(), ApiError> {
    if let Some(id) = id
        && store.profile(tenant.as_str(), id.as_str()).await?.is_none()
    {
        fields.wrong(PROFILE_ID, "names no agent runtime profile of the tenant");
    }
    Ok(())
}

/// 422 for a host that went away while the resource was created.
pub(super) fn no_such_host() -> ApiError {
    ApiError::invalid(vec![FieldError::new("host_id", NO_SUCH_HOST)])
}

fn generated() -> Result<ResourceId, ApiError> {
    let id = generate_id("res-").map_err(StoreError::from)?;
    id.try_into().map_err(|error: IdError| ApiError::internal(&error))
}

fn host_id(value: Value) -> Result<HostId, &'static str> {
    string(value)?.parse().map_err(|_malformed| NO_SUCH_HOST)
}

fn id_column<T: Into<String>>(field: Given<T>) -> Option<String> {
    match field {
        Given::Absent => None,
        Given::Null => Some(String::new()),
        Given::Value(id) => Some(id.into()),
    }
}

/// What of a resource can't be changed, but may be sent along as it is.
const FIXED: [&str; 6] = ["id", "tenant_id", "host_id", "kind", "created_at", "updated_at"];
const NO_SUCH_HOST: &str = "names no host that is known and not revoked";
