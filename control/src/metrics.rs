//! What is counted, and how it is told to Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// The counters of a process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers by the first digit of their status, from 1 to 5.
    answers: [AtomicU64; 5],
    /// Times that a host held an earlier state than it once did.
    pub(crate) hosts_regressed: AtomicU64,
    /// Until when there is a signer, in Unix seconds; 0 while there is none.
    pub(crate) signer_expires_at: AtomicU64,
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counters in the text format that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# HELP miosa_control_requests_total Requests answered, by class of status.\n\
             # TYPE miosa_control_requests_total counter\n",
        );
        for (class, counter) in (1..).zip(&self.answers) {
            let count = counter.load(Ordering::Relaxed);
            // Writing to a String can't fail.
            let _infallible = writeln!(text, "miosa_control_requests_total{{status=\"{class}xx\"}} {count}");
        }
        let regressed = self.hosts_regressed.load(Ordering::Relaxed);
        let expires_at = self.signer_expires_at.load(Ordering::Relaxed);
        // Writing to a String can't fail.
        let _infallible = write!(
            text,
            "# HELP miosa_control_hosts_regressed_total Times that a host held an earlier state than it once did.\n\
             # TYPE miosa_control_hosts_regressed_total counter\n\
             miosa_control_hosts_regressed_total {regressed}\n\
             # HELP miosa_control_signer_expires_timestamp_seconds When the signer in use or the trust document expires; 0 without one.\n\
             # TYPE miosa_control_signer_expires_timestamp_seconds gauge\n\
             miosa_control_signer_expires_timestamp_seconds {expires_at}\n"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class() {
        let metrics = Metrics::default();
        metrics.answered(StatusCode::OK);
        metrics.answered(StatusCode::CREATED);
        metrics.answered(StatusCode::NOT_FOUND);
        let text = metrics.text();
        assert!(text.contains("miosa_control_requests_total{status=\"2xx\"} 2\n"), "{text}");
        assert!(text.contains("miosa_control_requests_total{status=\"4xx\"} 1\n"), "{text}");
    }
}
