#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_snapshot::fuzzing::update_open::run(data));
