#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosad::fuzzing::apply_sequence::run(data));
