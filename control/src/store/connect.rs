//! Connections: the database's address, pools, pragmas and migrations.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool};

use crate::state_dir::{StateDirError, touch_private};

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(PostgresUrl),
}

/// A `postgres://` URL, not printed because of its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PostgresUrl(String);

/// A `--database` that names no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be sqlite:FILE or postgres://…")]
pub(crate) struct DatabaseSyntax;

/// Why the database can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// The file can't be made.
    #[error("cannot prepare the database file")]
    File(#[from] StateDirError),
    /// No connection.
    #[error("cannot open the database {database}")]
    Connect { database: Database, source: sqlx::Error },
    /// The tables can't be brought up to date.
    #[error("cannot bring the tables of {database} up to date")]
    Migrate { database: Database, source: MigrateError },
}

/// `SQLite`: one connection that writes and several that only read. `PostgreSQL`: one pool twice.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(super) reader: AnyPool,
    pub(super) writer: AnyPool,
}

impl Database {
    /// Opens the database, makes it if it is a file, and brings its tables up to date.
    pub(crate) async fn connect(&self) -> Result<Pools, DatabaseError> {
        install_default_drivers();
        let (pools, migrations) = match self {
            Self::Sqlite(path) => {
                touch_private(path)?;
                (open_sqlite(&sqlite_url(path)).await, &SQLITE)
            }
            Self::Postgres(url) => (open_postgres(&url.0).await, &POSTGRES),
        };
        let pools = pools.map_err(|source| DatabaseError::Connect { database: self.clone(), source })?;
        let migrated = migrations.run(&pools.writer).await;
        migrated.map_err(|source| DatabaseError::Migrate { database: self.clone(), source })?;
        Ok(pools)
    }
}

async fn open_sqlite(url: &str) -> Result<Pools, sqlx::Error> {
    // The writer is opened first: it turns the file to WAL, which readers can't.
    let writer = sqlite_pool(1, WRITER_PRAGMAS).connect(url).await?;
    let reader = sqlite_pool(SQLITE_READERS, READER_PRAGMAS).connect(url).await?;
    Ok(Pools { reader, writer })
}

fn sqlite_pool(connections: u32, pragmas: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file does not go away, and asking it costs as much as the query that follows.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(pragmas).execute(connection).await.map(drop) })
        })
}

async fn open_postgres(url: &str) -> Result<Pools, sqlx::Error> {
    let pool = AnyPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // A connection in use shows its own failure; one that lay idle may have died unseen.
        .before_acquire(|connection: &mut AnyConnection, meta| {
            Box::pin(async move {
                if meta.idle_for < PING_AFTER_IDLE {
                    return Ok(true);
                }
                Ok(sqlx::Connection::ping(connection).await.is_ok())
            })
        })
        .connect(url)
        .await?;
    Ok(Pools { reader: pool.clone(), writer: pool })
}

/// A path as `sqlx` reads it back from a URL.
fn sqlite_url(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            url.push(char::from(*byte));
        } else {
            // Writing to a String can't fail.
            let _infallible = write!(url, "%{byte:02X}");
        }
    }
    url.push_str("?mode=rwc");
    url
}

impl PostgresUrl {
    /// The URL with its password, for whoever opens a connection of another kind.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Database {
    type Err = DatabaseSyntax;
    fn from_str(text: &str) -> Result<Self, DatabaseSyntax> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(DatabaseSyntax) } else { Ok(Self::Sqlite(path.into())) };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(PostgresUrl(text.to_owned())));
        }
        Err(DatabaseSyntax)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://…")
    }
}

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

const WRITER_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
     PRAGMA secure_delete = FAST;";
const READER_PRAGMAS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;";
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const PING_AFTER_IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_named_by_url() {
        assert_eq!("sqlite:/a/b.db".parse(), Ok(Database::Sqlite("/a/b.db".into())));
        assert_eq!("sqlite:///a/b.db".parse(), Ok(Database::Sqlite("/a/b.db".into())));
        assert_eq!("sqlite:b.db".parse(), Ok(Database::Sqlite("b.db".into())));
        assert!("postgres://u:p@h/d".parse::<Database>().is_ok());
        for bad in ["", "sqlite:", "mysql://h/d", "/a/b.db"] {
            assert_eq!(bad.parse::<Database>(), Err(DatabaseSyntax), "{bad}");
        }
    }

    #[test]
    fn a_database_password_is_never_printed() {
        let database: Database = "postgres://u:hunter2@h/d".parse().unwrap();
        assert!(!format!("{database} {database:?}").contains("hunter2"));
    }

    #[test]
    fn odd_paths_survive_the_url() {
        assert_eq!(sqlite_url("/a b/ü?#%.db".as_ref()), "sqlite:///a%20b/%C3%BC%3F%23%25.db?mode=rwc");
    }
}
