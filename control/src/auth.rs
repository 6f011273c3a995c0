//! Who may call: the roles that keys carry.

use miosa_injector::model::TenantId;

/// What a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// The tenant API of one tenant.
    Tenant(TenantId, Access),
    /// The platform API.
    Platform,
}

/// How much of the tenant API a key may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Only look.
    Read,
    /// Look and change.
    Write,
}

impl Role {
    /// The role's word in the database and on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tenant(_, Access::Write) => "write",
            Self::Tenant(_, Access::Read) => "read",
            Self::Platform => "platform",
        }
    }

    /// The tenant, for a tenant's key.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Tenant(tenant, _) => Some(tenant),
            Self::Platform => None,
        }
    }

    /// Reads a role back from its columns.
    pub(crate) fn from_columns(role: &str, tenant: &str) -> Option<Self> {
        match role {
            "write" => Some(Self::Tenant(tenant.parse().ok()?, Access::Write)),
            "read" => Some(Self::Tenant(tenant.parse().ok()?, Access::Read)),
            "platform" => tenant.is_empty().then_some(Self::Platform),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_survive_the_database() {
        let tenant: TenantId = "t1".parse().unwrap();
        for role in
            [Role::Platform, Role::Tenant(tenant.clone(), Access::Read), Role::Tenant(tenant, Access::Write)]
        {
            let column = role.tenant().map_or("", TenantId::as_str);
            assert_eq!(Role::from_columns(role.name(), column), Some(role.clone()));
        }
        assert_eq!(Role::from_columns("platform", "t1"), None);
        assert_eq!(Role::from_columns("root", "t1"), None);
    }
}
