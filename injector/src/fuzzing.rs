//! What fuzzing may reach of this crate: one entry for each target, kept beside the targets in `fuzz/`.
//! It exists under test and under `--cfg fuzzing` only, so that nothing of it is public.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "an entry panics on what must not be, and its own numbers are small"
)]

#[path = "../../fuzz/entries/injector/command.rs"]
pub mod command;
#[path = "../../fuzz/entries/injector/env.rs"]
pub mod env;
#[path = "../../fuzz/entries/injector/json.rs"]
pub mod json;
#[path = "../../fuzz/entries/injector/payload.rs"]
pub mod payload;
#[path = "../../fuzz/entries/injector/scan.rs"]
mod scan;

#[cfg(test)]
#[path = "../../fuzz/entries/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        replay::kept_inputs("command", command::run);
        replay::kept_inputs("env", env::run);
        replay::kept_inputs("json", json::run);
        replay::kept_inputs("payload", payload::run);
    }
}
