//! `PostgreSQL` tells every replica what any of them committed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use super::feed::Committed;
use super::{Database, Store};
use crate::report::Chain;

impl Store {
    /// Passes on what other replicas commit, until `ending` turns true. On `SQLite` there is nobody
    /// to listen to: it returns at once.
    pub(crate) async fn listen(&self, mut ending: watch::Receiver<bool>) {
        let Database::Postgres(url) = &self.0.database else { return };
        loop {
            let listening = async {
                let mut listener = PgListener::connect(url.expose()).await?;
                listener.listen(CHANNEL).await?;
                // Whatever happened before, or while there was no connection, was not heard.
                self.feed().tell(Committed::unknown());
                loop {
                    match listener.try_recv().await? {
                        Some(heard) => {
                            let change = parse(heard.payload());
                            tracing::debug!(
                                tenant = change.tenant.as_ref(),
                                number = change.number,
                                "heard of a change"
                            );
                            self.feed().tell(change);
                        }
                        None => self.feed().tell(Committed::unknown()),
                    }
                }
            };
            let failed: Result<(), sqlx::Error> = tokio::select! {
                failed = listening => failed,
                _ = ending.wait_for(|ending| *ending) => return,
            };
            if let Err(error) = failed {
                tracing::warn!("cannot listen for other replicas' changes: {}", Chain(&error));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Reads `NUMBER TENANT HOST`, as the writers announce it, tenant and host being empty where there is
/// none. What is not understood, such as a later version's form, is a reason to look at everything.
fn parse(payload: &str) -> Committed {
    let mut words = payload.splitn(3, ' ');
    let (number, tenant, host) = (words.next(), words.next(), words.next());
    let (Some(Ok(number)), Some(tenant), Some(host)) = (number.map(str::parse), tenant, host) else {
        return Committed::unknown();
    };
    let host = if host.is_empty() { None } else { Some(Arc::from(host)) };
    Committed { tenant: Arc::from(tenant), host, number }
}

const CHANNEL: &str = "miosa_changes";
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_understood() {
        for (payload, tenant, host) in
            [("7 t1 host_1", "t1", Some("host_1")), ("7 t1 ", "t1", None), ("7  host_1", "", Some("host_1"))]
        {
            let expected = Committed { tenant: tenant.into(), host: host.map(Arc::from), number: 7 };
            assert_eq!(parse(payload), expected);
        }
        assert_eq!(parse("nonsense"), Committed::unknown());
    }
}
