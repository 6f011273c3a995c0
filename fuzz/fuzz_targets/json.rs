#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_injector::fuzzing::json::run(data));
