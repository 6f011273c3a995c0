//! What fuzzing may reach of this crate: one entry for each target, kept beside the targets in `fuzz/`.
//! It exists under test and under `--cfg fuzzing` only, so that nothing of it is public.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "an entry panics on what must not be, and its own numbers are small"
)]

#[path = "../../fuzz/entries/control/control_parts.rs"]
pub mod control_parts;
#[path = "../../fuzz/entries/control/control_requests.rs"]
pub mod control_requests;

#[cfg(test)]
#[path = "../../fuzz/entries/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        replay::kept_inputs("control_parts", control_parts::run);
        replay::kept_inputs("control_requests", control_requests::run);
    }
}
