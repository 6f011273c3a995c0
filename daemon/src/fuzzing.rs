//! What fuzzing may reach of this crate: one entry for each target, kept beside the targets in `fuzz/`.
//! It exists under test and under `--cfg fuzzing` only, so that nothing of it is public.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "an entry panics on what must not be, and its own numbers are small"
)]

#[path = "../../fuzz/entries/daemon/apply_sequence.rs"]
pub mod apply_sequence;
#[path = "../../fuzz/entries/daemon/cache_open.rs"]
pub mod cache_open;
#[path = "../../fuzz/entries/daemon/daemon_files.rs"]
pub mod daemon_files;
#[path = "../../fuzz/entries/daemon/host.rs"]
mod host;
#[path = "../../fuzz/entries/daemon/link_lines.rs"]
pub mod link_lines;
#[path = "../../fuzz/entries/daemon/socket_head.rs"]
pub mod socket_head;

#[cfg(test)]
#[path = "../../fuzz/entries/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        replay::kept_inputs("apply_sequence", apply_sequence::run);
        replay::kept_inputs("cache_open", cache_open::run);
        replay::kept_inputs("daemon_files", daemon_files::run);
        replay::kept_inputs("link_lines", link_lines::run);
        replay::kept_inputs("socket_head", socket_head::run);
    }
}
