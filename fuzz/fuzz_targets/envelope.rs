#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_snapshot::fuzzing::envelope::run(data));
