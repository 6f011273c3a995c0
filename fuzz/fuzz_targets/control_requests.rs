#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_control::fuzzing::control_requests::run(data));
