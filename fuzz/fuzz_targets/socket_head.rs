#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosad::fuzzing::socket_head::run(data));
