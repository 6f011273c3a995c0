//! `miosa-control serve`: bind, serve, and end in order on SIGTERM or SIGINT.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;
use crate::cli::ServeOptions;
use crate::hygiene::Memory;
use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::server::{Server, ServerError, load_tls};
use crate::store::Store;
use crate::token::NoRandomness;
use crate::{api, housekeeping, manager, ops};

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Listening.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Runs the command until a signal ends it.
pub(crate) async fn run(store: Store, options: ServeOptions, memory: Memory) -> Result<(), ServeError> {
    if memory == Memory::Swappable {
        tracing::warn!(
            "this process may not lock its memory, so secrets may reach a swap device; set LimitMEMLOCK=infinity"
        );
    }
    // Handlers first: a signal that comes during the start must end it, not kill it.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;

    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(cert), Some(key)) => Some(load_tls(cert, key).map_err(ServerError::from)?),
        _ => None,
    };
    let server = Server::bind(&options.listen, tls.clone()).await?;
    let ops_server = match &options.ops_listen {
        Some(address) => Some(Server::bind(address, tls).await?),
        None => None,
    };

    let (end, ending) = watch::channel(false);
    let metrics: Arc<Metrics> = Arc::default();
    let app = App {
        store: store.clone(),
        publisher: Publisher::new(store.clone(), options.fresh_for, options.serve_for, Arc::clone(&metrics))?,
        metrics,
        ending: ending.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (store, ending) = (store.clone(), ending.clone());
        async move { store.listen(ending).await }
    });
    tasks.spawn(housekeeping::run(store, ending.clone()));
    tasks.spawn(app.publisher.clone().run(ending.clone()));
    tracing::info!(address = %server.address(), "listening");
    let status = format!("listening on {}", server.address());
    tasks.spawn(server.run(api::router(app.clone()), ending.clone()));
    if let Some(server) = ops_server {
        tracing::info!(address = %server.address(), "listening for operations");
        tasks.spawn(server.run(ops::router(app), ending));
    }

    manager::ready(&status);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        never = manager::pulse() => match never {},
    }
    tracing::info!("ending");
    manager::stopping();
    end.send_replace(true);
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task {
            tracing::error!(%error, "a task did not end in order");
        }
    }
    Ok(())
}
