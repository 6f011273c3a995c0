//! What fuzzing may reach of this crate: one entry for each target, kept beside the targets in `fuzz/`.
//! It exists under test and under `--cfg fuzzing` only, so that nothing of it is public.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "an entry panics on what must not be, and its own numbers are small"
)]

#[path = "../../fuzz/entries/snapshot/envelope.rs"]
pub mod envelope;
#[path = "../../fuzz/entries/snapshot/statement.rs"]
pub mod statement;
#[path = "../../fuzz/entries/snapshot/trust_chain.rs"]
pub mod trust_chain;
#[path = "../../fuzz/entries/snapshot/update_open.rs"]
pub mod update_open;

#[cfg(test)]
#[path = "../../fuzz/entries/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        replay::kept_inputs("envelope", envelope::run);
        replay::kept_inputs("statement", statement::run);
        replay::kept_inputs("trust_chain", trust_chain::run);
        replay::kept_inputs("update_open", update_open::run);
    }
}
