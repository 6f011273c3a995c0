//! Every case, one file a kind.

mod apply;
mod envelope;
mod payload;
mod restart;
mod statement;
mod trust;
mod update;

use super::build::{Story, Verdict};
use super::document::trust;
use super::update::Offer;

pub(super) fn all() -> Vec<Story> {
    [
        envelope::cases(),
        update::cases(),
        statement::cases(),
        payload::cases(),
        trust::cases(),
        apply::cases(),
        restart::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One update, offered to a host under the first trust document.
fn offered(kind: &'static str, name: &str, about: &str, update: impl Into<Offer>, verdict: Verdict) -> Story {
    Story::new(kind, name, about).pins(&trust()).takes(update, verdict)
}
