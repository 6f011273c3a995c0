#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosad::fuzzing::link_lines::run(data));
