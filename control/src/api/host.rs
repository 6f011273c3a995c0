//! `/host/v1`: for the link of each host. A host says who it is by its token alone; no request names
//! a host, so that none can name another's.

mod caller;
mod enroll;
mod status;
mod updates;

use axum::Router;

use crate::app::App;

/// The routes.
pub(super) fn routes() -> Router<App> {
    enroll::routes().merge(updates::routes()).merge(status::routes())
}
