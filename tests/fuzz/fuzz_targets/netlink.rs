//! Whatever a netlink datagram holds, reading it neither panics nor loops.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz netlink`
#![no_main]

use directway::kernel::linux::{
    ipvs::{IpvsMessage, procfs, report},
    netlink::{RawMessages, Ack},
    raw::Reply,
    rtnl::{address, link, route},
};
use libfuzzer_sys::fuzz_target;
use netlink_packet_core::NetlinkDeserializable;
use netlink_packet_generic::GenlMessage;

fuzz_target!(|datagram: &[u8]| {
    for message in RawMessages::new(datagram) {
        let Ok(message) = message else { break };
        let _ = (Ack::parse_error(&message), Ack::parse_done(&message));
        if let Ok(message) = GenlMessage::<IpvsMessage>::deserialize(&message.header, message.payload) {
            let _ = report::service(&message.payload);
            let _ = report::destination(&message.payload, [10, 0, 0, 1].into());
        }
        if let Ok(reply) = Reply::deserialize(&message.header, message.payload) {
            let _ = (link::parse(&reply), address::parse(&reply));
            let _ = (route::parse_listed(&reply), route::parse_path(&reply));
        }
    }
    let _ = procfs::read(datagram, |_| {});
});
