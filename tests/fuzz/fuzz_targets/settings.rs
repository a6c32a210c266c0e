#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oom_guard_fuzz::checks::settings::check(input));
