//! What is counted, and how it is told to Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// The counters of a process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers by the first digit of their status, from 1 to 5.
    answers: [AtomicU64; 5],
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
