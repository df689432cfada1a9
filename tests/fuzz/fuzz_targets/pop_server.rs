//! See `pop_server` in `decoders`.
#![no_main]

#[path = "../decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decoders::run("pop_server", bytes);
});
