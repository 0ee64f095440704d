//! Reading any frame does not panic, and a request that was read is the same after it was encoded and read again.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz wire`
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use directway::{
    model::Mac,
    wire::{Family, Message, Request, Meaning, Sender},
};
use libfuzzer_sys::fuzz_target;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Most random bytes are no ARP; with this header they get past the first check.
    let mut arp = bytes.to_vec();
    if let Some(start) = arp.get_mut(12..21) {
        start.copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0]);
        check(&arp);
    }
});

fn check(bytes: &[u8]) {
    let family = Family::of(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let resolution = family.resolution();
    if let Some(heard) = resolution.decode(OWN, bytes)
        && let Meaning::Request(about) = heard.meaning
    {
        let question = Request {
            about,
            to: heard.to_us.then_some(OWN),
            sender: heard.has.map_or(Sender::Unspecified, |_| Sender::Own),
        };
        let again = resolution.encode(heard.from, heard.has, &Message::Request(question));
        let [frame] = &again.unwrap()[..] else {
            panic!("a question is one frame");
        };
        assert_eq!(resolution.decode(OWN, frame), Some(heard));
    }
}
