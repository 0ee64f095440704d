//! Whatever arrives on the wire, reading it does not panic, and what is read is what would be sent.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz wire`
#![no_main]

use directway::{
    model::Mac,
    wire::arp::{FRAME_LENGTH, Frame, Packet},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Most bytes are no ARP at all; these get past the first look.
    let mut arp = bytes.to_vec();
    if let Some(start) = arp.get_mut(12..21) {
        start.copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0]);
        check(&arp);
    }
});

fn check(bytes: &[u8]) {
    if let Some(packet) = Packet::parse(bytes) {
        let again = Frame { destination: Mac([0xff; 6]), packet }.bytes();
        assert_eq!(&again[12..], &bytes[12..FRAME_LENGTH]);
    }
}
