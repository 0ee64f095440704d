use std::net::Ipv4Addr;

use crate::model::Mac;

/// How a director reaches a real server on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The index of the director's interface.
    pub index: u32,
    /// Its Ethernet address.
    pub from: Mac,
    /// The real server's.
    pub to: Mac,
    /// An address of the director on that interface.
    pub source: Ipv4Addr,
}
