#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosad::fuzzing::cache_open::run(data));
