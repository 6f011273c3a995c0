-- Kept word for word beside migrations/postgres/0001_initial.sql, which has BYTEA for BLOB, orders
-- text by bytes with COLLATE "C", and has no WITHOUT ROWID.
--
-- Conventions: an absent id is '' and never NULL, so that unique indexes treat two absences as
-- equal on both databases; booleans are 0/1; times are unix milliseconds; JSON is TEXT.

-- Facts about this database as a whole, such as which master key it was made with.
CREATE TABLE meta (
    name       TEXT PRIMARY KEY NOT NULL,
    value      TEXT NOT NULL
) WITHOUT ROWID;

-- Bearer keys of the tenant and platform APIs. tenant_id is '' for the platform role.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       BLOB NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('write', 'read', 'platform')),
    tenant_id  TEXT NOT NULL CHECK ((role = 'platform') = (tenant_id = '')),
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);

-- A tenant's data keys, wrapped by the master key. The highest generation seals new values.
CREATE TABLE data_keys (
    tenant_id  TEXT NOT NULL,
    generation BIGINT NOT NULL,
    wrapped    BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, generation)
) WITHOUT ROWID;

-- Runtime env. scope_id is the workspace's or project's id that the scope names, '' for the
-- tenant scope: with it the identities of the three scopes are one unique index. size is the bytes
-- of NAME=value and its NUL, so that what a scope holds can be summed up without opening it.
CREATE TABLE variables (
    id           TEXT PRIMARY KEY NOT NULL,
    tenant_id    TEXT NOT NULL,
    scope        TEXT NOT NULL CHECK (scope IN ('tenant', 'workspace', 'project')),
    scope_id     TEXT NOT NULL CHECK ((scope = 'tenant') = (scope_id = '')),
    workspace_id TEXT NOT NULL DEFAULT '',
    target       TEXT NOT NULL CHECK (target IN ('all', 'sandbox', 'computer', 'agent')),
    name         TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    sealed       BLOB NOT NULL,
    size         BIGINT NOT NULL,
    enabled      BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    metadata     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX variables_by_identity ON variables (tenant_id, scope, scope_id, target, name);
CREATE INDEX variables_in_order ON variables (tenant_id, created_at, id);

CREATE TABLE profiles (
    id           TEXT PRIMARY KEY NOT NULL,
    tenant_id    TEXT NOT NULL,
    workspace_id TEXT NOT NULL DEFAULT '',
    project_id   TEXT NOT NULL DEFAULT '',
    name         TEXT NOT NULL,
    runtime      TEXT NOT NULL,
    description  TEXT,
    applies_to   TEXT NOT NULL,
    tools        TEXT NOT NULL,
    connectors   TEXT NOT NULL,
    env          TEXT NOT NULL,
    policy       TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    is_default   BIGINT NOT NULL CHECK (is_default IN (0, 1)),
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX profiles_by_name ON profiles (tenant_id, workspace_id, project_id, name);
CREATE UNIQUE INDEX profiles_default ON profiles (tenant_id, workspace_id, project_id) WHERE is_default = 1;
CREATE INDEX profiles_in_order ON profiles (tenant_id, created_at, id);

-- Hosts. A host without public_key has not enrolled yet. pinned_trust is the trust document that its join
-- token names, the first that it is sent; beat_at is the time of the newest heartbeat issued to it, before
-- which nothing else may be issued; what follows is what the host last said about itself. highest_* is the
-- latest state that it ever said it holds; regressed_* is from when it said that it holds an earlier one.
CREATE TABLE hosts (
    id               TEXT PRIMARY KEY NOT NULL,
    name             TEXT NOT NULL,
    public_key       BLOB,
    token_hash       BLOB,
    agent            TEXT NOT NULL DEFAULT '',
    created_at       BIGINT NOT NULL,
    enrolled_at      BIGINT,
    revoked_at       BIGINT,
    pinned_trust     BIGINT NOT NULL,
    beat_at          BIGINT NOT NULL DEFAULT 0,
    last_seen_at     BIGINT,
    reported_epoch   BIGINT,
    reported_version BIGINT,
    reported_digest  BLOB,
    error_code       TEXT,
    error_message    TEXT,
    error_at         BIGINT,
    reported_trust   BIGINT,
    highest_epoch    BIGINT NOT NULL DEFAULT 0,
    highest_version  BIGINT NOT NULL DEFAULT 0,
    regressions      BIGINT NOT NULL DEFAULT 0,
    regressed_at     BIGINT,
    regressed_from   TEXT,
    regressed_to     TEXT
);
CREATE UNIQUE INDEX hosts_by_name ON hosts (name) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX hosts_by_token ON hosts (token_hash);

-- One-time tokens, by hash, that turn a host row into an enrolled host.
CREATE TABLE join_tokens (
    hash       BLOB PRIMARY KEY NOT NULL,
    host_id    TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);

-- Resources placed on hosts. sealed is the resource's own env under the tenant's data key.
CREATE TABLE resources (
    id           TEXT PRIMARY KEY NOT NULL,
    tenant_id    TEXT NOT NULL,
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    kind         TEXT NOT NULL CHECK (kind IN ('sandbox', 'computer', 'agent')),
    workspace_id TEXT NOT NULL DEFAULT '',
    project_id   TEXT NOT NULL DEFAULT '',
    profile_id   TEXT NOT NULL DEFAULT '',
    skip_profile BIGINT NOT NULL CHECK (skip_profile IN (0, 1)),
    generation   BIGINT NOT NULL,
    sealed       BLOB NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX resources_by_host ON resources (host_id, id);
CREATE INDEX resources_by_tenant ON resources (tenant_id, id);
CREATE INDEX resources_in_order ON resources (created_at, id);

-- Runs. sealed is everything of a run that may carry a secret: env, instruction, commands.
CREATE TABLE runs (
    id           TEXT PRIMARY KEY NOT NULL,
    resource_id  TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    tenant_id    TEXT NOT NULL,
    profile_id   TEXT NOT NULL DEFAULT '',
    skip_profile BIGINT NOT NULL CHECK (skip_profile IN (0, 1)),
    generation   BIGINT NOT NULL,
    sealed       BLOB NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX runs_by_resource ON runs (resource_id, created_at, id);
CREATE INDEX runs_by_expiry ON runs (expires_at);

-- The newest update issued to each host, as a full one. Versions are counted per host and never lowered.
-- content is a hash of the state inside, by which the publisher sees that nothing changed; increment is
-- the digest of the incremental update that the same version was issued as too, empty if it was not;
-- positions is JSON, tenant → the change number that the state includes; trust is the version of the
-- trust document that it was signed under.
CREATE TABLE host_updates (
    host_id    TEXT PRIMARY KEY NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    digest     BLOB NOT NULL,
    increment  BLOB NOT NULL,
    content    BLOB NOT NULL,
    positions  TEXT NOT NULL,
    envelope   BLOB NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    trust      BIGINT NOT NULL
);

-- Trust documents as signed, and the private keys that are online, sealed by the master key.
CREATE TABLE trust_documents (
    version    BIGINT PRIMARY KEY NOT NULL,
    digest     BLOB NOT NULL,
    envelope   BLOB NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('root', 'signer')),
    sealed     BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

-- Change numbers: one counter for each tenant, and '' for what belongs to none. The counter is
-- updated last in its transaction, so that numbers become visible in order.
CREATE TABLE change_counters (
    tenant_id TEXT PRIMARY KEY NOT NULL,
    number    BIGINT NOT NULL
) WITHOUT ROWID;

-- What each change number touched. host_id is '' when the change is not about one host.
CREATE TABLE changes (
    tenant_id   TEXT NOT NULL,
    number      BIGINT NOT NULL,
    record_kind TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    host_id     TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, number, record_kind, record_id)
) WITHOUT ROWID;

-- Who did what. Never a value: detail holds names of fields only.
CREATE TABLE audit (
    tenant_id   TEXT NOT NULL,
    number      BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    detail      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, number)
) WITHOUT ROWID;
CREATE INDEX audit_in_order ON audit (at, number, tenant_id);

-- Answers to POSTs that carried an Idempotency-Key: a keyed hash of the request, and the answer
-- sealed by the caller's data key, since it may hold previews. changed, host_id and number say which
-- change the answer is about: its tenant, its host if it is about one, and its change number.
CREATE TABLE idempotency (
    tenant_id  TEXT NOT NULL,
    idem_key   TEXT NOT NULL,
    request    BLOB NOT NULL,
    status     BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    sealed     BLOB NOT NULL,
    changed    TEXT NOT NULL,
    host_id    TEXT NOT NULL,
    number     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, idem_key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);
