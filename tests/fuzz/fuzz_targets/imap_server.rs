//! See `imap_server` in `decoders`.
#![no_main]

#[path = "../decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decoders::run("imap_server", bytes);
});
