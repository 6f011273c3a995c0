#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_injector::fuzzing::command::run(data));
