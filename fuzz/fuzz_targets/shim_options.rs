#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| miosa_exec::shim_options::run(data));
