//! Whole requests to the control plane, through its router and into a database.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::app::App;
use crate::at_rest::MasterKey;
use crate::auth::{Access, Role};
use crate::cli::ServeFor;
use crate::publisher::Publisher;
use crate::store::{Database, Origin, Store};
use crate::token::{Token, TokenKind};
use crate::{api, trust};

/// Every request is answered in the one shape, none by an error of ours, none without a key; who may only
/// read changes nothing, and neither does who asks what would change.
pub fn run(data: &[u8]) {
    WORLD.with(|world| {
        let world = world.get_or_init(World::new);
        world.runtime.block_on(world.run(data));
    });
}

thread_local!(static WORLD: OnceCell<World> = const { OnceCell::new() });

struct World {
    runtime: Runtime,
    store: Store,
    router: TowerToHyperService<Router>,
    /// Of a tenant who may write, of one who may only read, of the platform, and no key.
    keys: [String; 4],
    _directory: tempfile::TempDir,
    _ending: watch::Sender<bool>,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory =
            tempfile::Builder::new().prefix("miosa-fuzz-").tempdir_in(parent).expect("a directory");
        let database = Database::Sqlite(directory.path().join("control.db"));
        let (ending, ended) = watch::channel(false);
        let (store, keys, app) = runtime.block_on(async {
            let pools = database.connect().await.expect("a database");
            let store = Store::new(database, pools, MasterKey::new(&[7; 32]).expect("a key"));
            trust::found(&store).await.expect("a trust document");
            let tenant = |access| Role::Tenant("t1".parse().expect("an id"), access);
            let keys = [
                key(&store, TokenKind::Tenant, &tenant(Access::Write)).await,
                key(&store, TokenKind::Tenant, &tenant(Access::Read)).await,
                key(&store, TokenKind::Platform, &Role::Platform).await,
                String::new(),
            ];
            sqlx::query(
                "INSERT INTO hosts (id, name, created_at, pinned_trust) VALUES ('host_1', 'one', 1, 1)",
            )
            .execute(store.writer())
            .await
            .expect("a host");
            let minute = Duration::from_secs(60);
            let metrics = Arc::default();
            let publisher = Publisher::new(store.clone(), minute, ServeFor::Forever, Arc::clone(&metrics));
            let app = App {
                store: store.clone(),
                metrics,
                publisher: publisher.expect("randomness"),
                ending: ended,
            };
            (store, keys, app)
        });
        let router = TowerToHyperService::new(api::router(app));
        Self { runtime, store, router, keys, _directory: directory, _ending: ending }
    }

    async fn run(&self, data: &[u8]) {
        for table in ["variables", "runs", "resources", "profiles", "idempotency"] {
            let forget = sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}")));
            forget.execute(self.store.writer()).await.expect("an empty table");
        }
        // Requests are divided by a byte that no JSON holds.
        for request in data.split(|byte| *byte == 0xff).take(MAX_REQUESTS) {
            self.send(request).await;
        }
    }

    async fn send(&self, data: &[u8]) {
        let mut u = Unstructured::new(data);
        let route = pick(&mut u, &ROUTES);
        let method = pick(&mut u, &METHODS);
        let who = u.int_in_range(0..=7).unwrap_or(0);
        let flags: u8 = u.arbitrary().unwrap_or(0);
        let mut body = u.take_rest();
        let mut target = route.to_owned();
        if flags & 1 == 1 {
            let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
            target = format!("{target}?{}", String::from_utf8_lossy(&body[..end]));
            body = body.get(end + 1..).unwrap_or_default();
        }
        let is_dry = flags & 2 == 2;
        if is_dry {
            target.push_str(if target.contains('?') { "&dry_run=1" } else { "?dry_run=1" });
        }
        let key = match who {
            0..=2 if route.starts_with("/platform") => 2,
            0..=2 => 0,
            3..=5 => who - 2,
            _ => 3,
        };
        let mut request = Request::builder().method(method.clone()).uri(target);
        if key < 3 {
            request = request.header("Authorization", format!("Bearer {}", self.keys[key]));
        }
        if flags & 4 == 0 {
            request = request.header("Content-Type", "application/json");
        }
        if flags & 8 == 8 {
            request = request.header("Idempotency-Key", "one");
        }
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let before = self.rows().await;
        let answer = self.router.call(request).await.expect("an answer");
        let status = answer.status();
        assert!(!status.is_server_error(), "{status}");
        assert!(answer.headers().contains_key("x-request-id"));
        if status.is_client_error() {
            let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
            check_error(&bytes);
        } else {
            assert_ne!(key, 3, "answered without a key");
        }
        let may_change = status.is_success() && !is_dry && key != 1 && method != Method::GET;
        assert!(may_change || self.rows().await == before, "{status} to {method} {route} changed something");
    }

    /// What is stored, as far as a count says it: changes are numbered, so none goes unseen.
    async fn rows(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in ["variables", "runs", "resources", "profiles", "idempotency", "changes", "audit"] {
            let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")));
            counts.push(count.fetch_one(self.store.reader()).await.expect("a count"));
        }
        counts
    }
}

fn check_error(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let body: Value = serde_json::from_slice(bytes).expect("an error is JSON");
    let error = body.get("error").expect("an error says so");
    for member in ["code", "message"] {
        assert!(error.get(member).is_some_and(Value::is_string), "{body}");
    }
    assert!(bytes.len() <= 256 * 1024, "an error of {} bytes", bytes.len());
}

async fn key(store: &Store, kind: TokenKind, role: &Role) -> String {
    let token = Token::generate(kind).expect("randomness");
    let origin = Origin { actor: "fuzz".to_owned(), request_id: String::new() };
    let write = store.begin(&origin).await.expect("a write");
    write.create_api_key(role, &token.hash()).await.expect("a key");
    token.expose().to_owned()
}

fn pick<T: Clone>(u: &mut Unstructured<'_>, from: &[T]) -> T {
    u.choose(from).unwrap_or(&from[0]).clone()
}

const MAX_REQUESTS: usize = 6;
const METHODS: [Method; 6] =
    [Method::POST, Method::GET, Method::PATCH, Method::PUT, Method::DELETE, Method::OPTIONS];
const ROUTES: [&str; 16] = [
    "/api/v1/agent-runtime-profiles",
    "/api/v1/runtime-env",
    "/platform/v1/resources",
    "/platform/v1/resources/res-1/runs",
    "/host/v1/status",
    "/host/v1/enroll",
    "/platform/v1/resources/res-1",
    "/platform/v1/resources/res-1/runs/run_1",
    "/platform/v1/resources/res-1/explain",
    "/platform/v1/audit",
    "/platform/v1/hosts",
    "/platform/v1/hosts/host_1",
    "/host/v1/updates",
    "/api/v1/agent-runtime-profiles/arp_1",
    "/api/v1/runtime-env/env_1",
    "/nowhere/%2e%2e",
];
