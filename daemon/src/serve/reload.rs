//! What new settings change in a `serve` that runs, and how the configuration stands for operators. It
//! reads no file.

use tokio::sync::watch;

use crate::admin::Admin;
use crate::dropped::DropDoor;
use crate::failure::in_one_line;
use crate::reload::{ConfigurationReport, Reloadable, Standing};
use crate::settings::{Limits, Settings};

/// A `serve` that runs.
pub(super) struct Serving {
    pub(super) limits: watch::Sender<Limits>,
    pub(super) admin: Admin,
    pub(super) drop_door: DropDoor,
}

impl Reloadable for Serving {
    fn apply(&mut self, settings: &Settings) {
        self.limits.send_if_modified(|limits| {
            let is_other = *limits != settings.limits;
            *limits = settings.limits;
            is_other
        });
        self.admin.shared.access.configure(settings.access_log);
    }

    fn note(&mut self, standing: Standing<'_>) {
        let shared = &self.admin.shared;
        let now = shared.clock.now().unix_ms;
        let before = shared.ledger.facts().configuration;
        let report = match standing {
            Standing::InForce { file, but } => ConfigurationReport {
                file: file.display().to_string(),
                state: if but.is_empty() { "in_force" } else { "needs_restart" }.to_owned(),
                since: now,
                problem: None,
                needs_restart: but.iter().map(|&key| key.to_owned()).collect(),
            },
            Standing::Refused { error, is_news } => {
                let problem = in_one_line(error);
                if is_news {
                    shared.ledger.count_alarm("configuration_refused", &problem, now);
                }
                ConfigurationReport { state: "refused".to_owned(), problem: Some(problem), ..before }
            }
        };
        shared.ledger.set_configuration(report);
    }

    async fn look_again(&mut self) {
        self.drop_door.look_again();
    }

    fn in_short(&self) -> String {
        self.admin.in_short()
    }
}
