//! Trust documents as signed, and the signing keys that are online.

use std::collections::BTreeSet;

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

/// What came of publishing a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is the newest one now.
    Yes,
    /// Another document of its version was first.
    TooLate,
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

    /// The version of the newest trust document; 0 where there is none.
    pub(crate) async fn trust_version(&self) -> Result<u64, StoreError> {
        let newest: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM trust_documents")
            .fetch_one(self.reader())
            .await
            .doing("read the version of the trust document")?;
        Ok(newest.unwrap_or_default().unsigned_abs())
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
        if self.insert_trust(trust).await? == Published::TooLate {
            self.rollback().await?;
            return Ok(false);
        }
        self.insert_key(KeyRole::Root, root).await?;
        self.insert_key(KeyRole::Signer, signer).await?;
        self.commit(entry("trust.create", &trust.version.to_string())).await?;
        Ok(true)
    }

    /// Stores a verified document that follows the newest one, and a signer made for it, and commits.
    /// Of the online keys only those in `listed` are kept. Where an epoch had to be reached, `epoch` is.
    pub(crate) async fn publish_trust(
        mut self,
        trust: &StoredTrust,
        made: Option<&StoredKey>,
        listed: &BTreeSet<String>,
        epoch: i64,
    ) -> Result<Published, StoreError> {
        if self.insert_trust(trust).await? == Published::TooLate {
            self.rollback().await?;
            return Ok(Published::TooLate);
        }
        if let Some(made) = made {
            self.insert_key(KeyRole::Signer, made).await?;
        }
        for id in self.online_keys().await? {
            if !listed.contains(&id) {
                self.retire_key(&id).await?;
            }
        }
        self.note_epoch_reached(epoch).await?;
        self.commit(entry("trust.publish", &trust.version.to_string())).await?;
        Ok(Published::Yes)
    }

    /// Stores a signer for a document that is still to be signed, and commits.
    pub(crate) async fn keep_signer(mut self, made: &StoredKey) -> Result<(), StoreError> {
        self.insert_key(KeyRole::Signer, made).await?;
        self.commit(entry("trust.draft", &made.id)).await.map(drop)
    }

    /// Forgets a root key that was online, and commits. `false` when it was not.
    pub(crate) async fn take_root_offline(mut self, id: &str) -> Result<bool, StoreError> {
        if !self.retire_key(id).await? {
            self.rollback().await?;
            return Ok(false);
        }
        self.commit(entry("trust.root_offline", id)).await?;
        Ok(true)
    }

    async fn insert_trust(&mut self, trust: &StoredTrust) -> Result<Published, StoreError> {
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
            Ok(_) => Ok(Published::Yes),
            Err(error) if is_taken(&error) => Ok(Published::TooLate),
            Err(error) => Err(error).doing("store a trust document"),
        }
    }

    async fn insert_key(&mut self, role: KeyRole, key: &StoredKey) -> Result<(), StoreError> {
        let at = self.at();
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
            .map(drop)
            .doing("store a signing key")
    }

    async fn online_keys(&mut self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT id FROM signing_keys WHERE retired_at IS NULL ORDER BY id")
            .fetch_all(self.connection())
            .await
            .doing("read the signing keys")
    }

    /// What is left of a retired key is its id.
    async fn retire_key(&mut self, id: &str) -> Result<bool, StoreError> {
        let at = self.at();
        let retired = sqlx::query(
            "UPDATE signing_keys SET retired_at = $1, sealed = $2 WHERE id = $3 AND retired_at IS NULL",
        )
        .bind(at.0)
        .bind(&[][..])
        .bind(id)
        .execute(self.connection())
        .await
        .doing("retire a signing key")?;
        Ok(retired.rows_affected() > 0)
    }
}

fn entry<'a>(action: &'static str, id: &'a str) -> Entry<'a> {
    Entry { tenant: "", action, record: Record { kind: "trust", id }, also: &[], host: None, fields: &[] }
}
