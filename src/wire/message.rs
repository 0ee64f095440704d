use std::net::IpAddr;

use crate::model::Mac;

/// The contents of a received frame, the same for ARP and neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Received {
    /// The sender's MAC.
    pub from: Mac,
    /// The address that the frame claims to be at `from`: the sender address of an ARP packet, `None` if it is 0.0.0.0;
    /// the source of a neighbour solicitation, the target of an advertisement.
    pub has: Option<IpAddr>,
    /// What the frame asks or answers.
    pub meaning: Meaning,
    /// Whether it was sent to this NIC alone.
    pub to_us: bool,
}

impl Received {
    /// The address that the sender claims: the one that it gives as its own or, in a probe, the one that it is about to
    /// take (RFC 5227 section 2.1.1).
    pub fn claims(&self) -> Option<IpAddr> {
        match (self.has, self.meaning) {
            (Some(own), _) => Some(own),
            (None, Meaning::Request(about)) => Some(about),
            (None, Meaning::Reply(_)) => None,
        }
    }

    /// Whether it is a reply that no question was asked for: it repeats its own sender's address, and no host asks for its
    /// own address as another host's. It announces that address, as a request for it does, and proves nothing else.
    pub fn is_gratuitous_reply(&self) -> bool {
        matches!((self.meaning, self.has), (Meaning::Reply(to), Some(own)) if to == Some(own))
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// A request for this address. Without a sender address it is a probe; with the same address, an announcement.
    Request(IpAddr),
    /// A reply to a request with this sender address; `None` answers a probe. If `has` is the same, an announcement.
    Reply(Option<IpAddr>),
}

/// What a node sends. Replies are missing here, because the kernel sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Asks who has an address.
    Request(Request),
    /// Announces that this address is here, so that hosts update their neighbour tables: gratuitous ARP in each of its
    /// forms, or an unsolicited neighbour advertisement. Which frames that takes is the family's affair.
    Announce(IpAddr),
}

/// An ARP request, or a neighbour solicitation: which host has an address?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The address.
    pub about: IpAddr,
    /// The host that it is sent to; `None` = all hosts.
    pub to: Option<Mac>,
    /// Its sender address.
    pub sender: Sender,
}

/// The sender address of a request. The reply repeats it, and so shows which request it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// None: a probe, which leaves no trace in any neighbour table.
    Unspecified,
    /// The NIC's own address, of the same family as the one asked for. Only the host that has the address answers a
    /// unicast request with this.
    Own,
}
