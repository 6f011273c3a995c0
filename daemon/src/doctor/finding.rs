//! What one check came to.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: String,
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) says: String,
    /// What to do; none where all is well.
    pub(super) action: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and soon or in some case it will not.
    Warn,
    /// It does not work.
    Fail,
    /// It can't be seen by whoever asks.
    Unknown,
}

impl Finding {
    pub(super) fn ok(check: &str, says: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict: Verdict::Ok, says: says.into(), action: None }
    }

    pub(super) fn warn(check: &str, says: impl Into<String>, action: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, action: Some(action.into()), ..Self::ok(check, says) }
    }

    pub(super) fn fail(check: &str, says: impl Into<String>, action: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, action: Some(action.into()), ..Self::ok(check, says) }
    }

    /// Something that only root may look at.
    pub(super) fn unseen(check: &str, says: impl Into<String>) -> Self {
        let action = Some("run `miosad doctor` as root".to_owned());
        Self { verdict: Verdict::Unknown, action, ..Self::ok(check, says) }
    }

    /// Something that only a running daemon can tell.
    pub(super) fn untold(check: &str, says: impl Into<String>) -> Self {
        let action = Some("ask again when `miosad serve` runs and may be asked".to_owned());
        Self { verdict: Verdict::Unknown, action, ..Self::ok(check, says) }
    }

    /// Names of files may hold anything.
    pub(super) fn in_one_line(mut self) -> Self {
        self.says = self.says.replace(char::is_control, " ");
        self
    }

    pub(super) fn words(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "unknown",
        };
        let action = self.action.as_ref().map(|action| format!("; {action}")).unwrap_or_default();
        format!("{verdict:<8}{:<15}{}{action}", self.check, self.says)
    }
}
