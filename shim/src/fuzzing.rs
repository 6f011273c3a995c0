//! What fuzzing may reach of this program: one entry for each target, kept beside the targets in `fuzz/`.
//! It exists under test, and in the library that `fuzz/` makes of these modules.
#![cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the library that `fuzz/` makes exports them"))]

#[path = "../../fuzz/entries/shim/shim_options.rs"]
pub mod shim_options;
#[path = "../../fuzz/entries/shim/shim_response.rs"]
pub mod shim_response;

#[cfg(test)]
#[path = "../../fuzz/entries/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        replay::kept_inputs("shim_options", shim_options::run);
        replay::kept_inputs("shim_response", shim_response::run);
    }
}
