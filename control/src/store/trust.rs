//! Trust documents as signed, and the signing keys that are online.

use sqlx::Row as _;
use zeroize::Zeroizing;

use super::{Doing as _, Entry, Record, Store, StoreError, Write, is_taken};

/// A trust document as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTrust {
    pub(crate) version: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

/// What an online key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// Signs trust documents.
    Root,
    /// Signs updates.
    Signer,
}

/// A signing key as stored: its id and its PKCS#8 form.
#[derive(Debug)]
pub(crate) struct StoredKey {
    pub(crate) id: String,
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
}

impl KeyRole {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Signer => "signer",
        }
    }
}

impl Store {
    /// All trust documents, oldest first.
    pub(crate) async fn trust_documents(&self) -> Result<Vec<StoredTrust>, StoreError> {
        const DOING: &str = "read the trust documents";
        let rows = sqlx::query("SELECT version, digest, envelope FROM trust_documents ORDER BY version")
            .fetch_all(self.reader())
            .await
            .doing(DOING)?;
        rows.iter()
            .map(|row| {
                Ok(StoredTrust {
                    version: row.try_get("version").doing(DOING)?,
                    digest: row.try_get("digest").doing(DOING)?,
                    envelope: row.try_get("envelope").doing(DOING)?,
                })
            })
            .collect()
    }

    /// The online keys of a role that aren't retired, oldest first.
    pub(crate) async fn signing_keys(&self, role: KeyRole) -> Result<Vec<StoredKey>, StoreError> {
        const DOING: &str = "read the signing keys";
        let rows = sqlx::query(
            "SELECT id, sealed FROM signing_keys WHERE role = $1 AND retired_at IS NULL ORDER BY created_at, id",
        )
        .bind(role.name())
        .fetch_all(self.reader())
        .await
        .doing(DOING)?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("id").doing(DOING)?;
                let sealed: Vec<u8> = row.try_get("sealed").doing(DOING)?;
                let pkcs8 = self
                    .master_key()
                    .open(role.name(), &id, &sealed)
                    .map_err(|source| StoreError::Sealed { what: "signing key", source })?;
                Ok(StoredKey { id, pkcs8 })
            })
            .collect()
    }
}

impl Write {
    /// Stores the very first root key, signer and trust document, and commits. `false` when another
    /// process was first.
    pub(crate) async fn found_trust(
        mut self,
        root: &StoredKey,
        signer: &StoredKey,
        trust: &StoredTrust,
    ) -> Result<bool, StoreError> {
        let at = self.at();
        let inserted = sqlx::query(
            "INSERT INTO trust_documents (version, digest, envelope, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(trust.version)
        .bind(trust.digest.as_slice())
        .bind(trust.envelope.as_slice())
        .bind(at.0)
        .execute(self.connection())
        .await;
        match inserted {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {
                self.rollback().await?;
                return Ok(false);
            }
            Err(error) => return Err(error).doing("store a trust document"),
        }
        for (role, key) in [(KeyRole::Root, root), (KeyRole::Signer, signer)] {
            let sealed = self
                .store()
                .master_key()
                .seal(role.name(), &key.id, &key.pkcs8)
                .map_err(|source| StoreError::Sealed { what: "signing key", source })?;
            sqlx::query("INSERT INTO signing_keys (id, role, sealed, created_at) VALUES ($1, $2, $3, $4)")
                .bind(key.id.as_str())
                .bind(role.name())
                .bind(sealed)
                .bind(at.0)
                .execute(self.connection())
                .await
                .doing("store a signing key")?;
        }
        self.commit(Entry {
            tenant: "",
            action: "trust.create",
            record: Record { kind: "trust", id: &trust.version.to_string() },
            also: &[],
            host: None,
            fields: &[],
        })
        .await?;
        Ok(true)
    }
}
