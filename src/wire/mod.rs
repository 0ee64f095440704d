//! Address resolution: how hosts on a segment find each other's link addresses.
//!
//! [`Message`] is what a node sends and [`Received`] what it receives, in the same form for every address family. An
//! [`AddressResolution`] turns them into frames and back: `arp` for IPv4. Neighbour discovery for IPv6 will be a second
//! module and a second variant of [`Family`]. Nothing here does I/O.

mod arp;
mod message;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::model::Mac;

pub use message::{Meaning, Message, Received, Request, Sender};

/// An address family whose link addresses can be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// By ARP.
    Ipv4,
}

/// The error for an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neighbour discovery for IPv6 is not supported yet")]
pub struct Unsupported;

impl Family {
    /// The family of `ip`.
    pub fn of(ip: IpAddr) -> Result<Self, Unsupported> {
        match ip {
            IpAddr::V4(_) => Ok(Self::Ipv4),
            IpAddr::V6(_) => Err(Unsupported),
        }
    }

    /// How its addresses are resolved.
    pub fn resolution(self) -> &'static dyn AddressResolution {
        match self {
            Self::Ipv4 => &arp::Arp,
        }
    }
}

/// An Ethernet frame.
pub type Frame = Vec<u8>;

/// The address resolution of one family, over Ethernet.
pub trait AddressResolution: std::fmt::Debug + Sync {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// The EtherType of its frames.
    fn ethertype(&self) -> u16;

    /// The frames for `message`, in this order, from a NIC with the MAC `from` and the address `own`. The NIC pads them to
    /// Ethernet's minimum. `None` if an address is of another family, or missing.
    fn encode(&self, from: Mac, own: Option<IpAddr>, message: &Message) -> Option<Vec<Frame>>;

    /// Decodes a frame that the NIC with the MAC `own` received. `None` if it is malformed, or its sender's MAC is one
    /// that no host can have: any host on the segment may send anything.
    fn decode(&self, own: Mac, frame: &[u8]) -> Option<Received>;
}
