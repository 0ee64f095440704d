use std::{fmt, net::IpAddr};

use crate::model::{Dev, Mac};

/// A frame of address resolution on a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An ARP request (or neighbour solicitation).
    Asked {
        /// The machine that asks.
        by: String,
        /// Its MAC.
        mac: Mac,
        /// The sender address; `None` in a probe.
        sender: Option<IpAddr>,
        /// The address it asks for.
        target: IpAddr,
    },
    /// An ARP reply (or neighbour advertisement).
    Answered {
        /// The machine that answers.
        by: String,
        /// The interface that received the request.
        dev: Dev,
        /// The MAC it gives.
        mac: Mac,
        /// The address that was asked for.
        ip: IpAddr,
        /// The machine that asked.
        to: String,
    },
    /// A gratuitous ARP in all of its forms (or an unsolicited advertisement).
    Announced {
        /// The machine that announces.
        by: String,
        /// The MAC it gives.
        mac: Mac,
        /// The address.
        ip: IpAddr,
    },
}

impl Event {
    /// The machine that claims by this frame that `address` is at its MAC.
    pub fn claims(&self, address: IpAddr) -> Option<&str> {
        match self {
            Self::Asked { by, sender, .. } => (*sender == Some(address)).then_some(by),
            Self::Answered { by, ip, .. } | Self::Announced { by, ip, .. } => {
                (*ip == address).then_some(by)
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked {
                by,
                mac,
                sender,
                target,
            } => {
                write!(f, "{by} ({mac}): who has {target}? tell ")?;
                match sender {
                    Some(sender) => write!(f, "{sender}"),
                    None => f.write_str("nobody (probe)"),
                }
            }
            Self::Answered {
                by,
                dev,
                mac,
                ip,
                to,
            } => write!(f, "{by} ({dev}) to {to}: {ip} is at {mac}"),
            Self::Announced { by, mac, ip } => write!(f, "{by} to all: {ip} is at {mac}"),
        }
    }
}
