//! The contract of the control plane, tried from outside: the real program over a real socket. The
//! same cases run on `SQLite` and on `PostgreSQL`; `super::open` is the only difference.

#[expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]
mod backend;
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod client;
#[expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod control;
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod host;
mod start;

/// The cases that a backend is tried with. `open` is the backend's.
macro_rules! cases {
    () => {
        mod auth;
        mod concurrency;
        mod delivery;
        mod dry_run;
        mod hosts;
        mod http;
        mod idempotency;
        mod increments;
        mod paging;
        mod profiles;
        mod publishing;
        mod resources;
        mod runtime_env;
        mod secrets;
        mod trust;
    };
}

/// On a file of their own.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "cases"]
mod sqlite {
    use crate::backend::sqlite;
    use crate::control::Control;

    async fn open() -> Option<Control> {
        Some(Control::start(sqlite()).await)
    }

    cases!();
}

/// On a database of their own, in a cluster that this program starts.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#[expect(clippy::duplicate_mod, reason = "the same cases are the point")]
#[path = "cases"]
mod postgres {
    use crate::backend::postgres;
    use crate::control::Control;

    async fn open() -> Option<Control> {
        Some(Control::start(postgres()?).await)
    }

    cases!();
}
