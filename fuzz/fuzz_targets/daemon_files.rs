#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosad::fuzzing::daemon_files::run(data));
