#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tower_oauth2_fuzz::targets::error_response::run(data));
