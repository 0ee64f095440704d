use std::net::IpAddr;

use crate::model::Mac;

/// Address resolution as a frame says it, ARP and neighbour discovery alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Received {
    /// Who says it.
    pub from: Mac,
    /// The address that is said to be at `from`: the sender's address of an ARP packet, `None` where it is 0.0.0.0; the
    /// source of a neighbour solicitation, the target of an advertisement.
    pub has: Option<IpAddr>,
    /// What else it says.
    pub meaning: Meaning,
    /// Whether it was sent to this NIC alone.
    pub to_us: bool,
}

impl Received {
    /// The address that the sender says it has, or is about to take: it names it as its own, or probes for it (RFC 5227
    /// section 2.1.1).
    pub fn claims(&self) -> Option<IpAddr> {
        match (self.has, self.meaning) {
            (Some(own), _) => Some(own),
            (None, Meaning::Request(about)) => Some(about),
            (None, Meaning::Reply(_)) => None,
        }
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// Who has this address? Without a sender's address it is a probe; with the same, an announcement.
    Request(IpAddr),
    /// An answer to who asked under this address; `None` answers a probe, and the address itself is an announcement.
    Reply(Option<IpAddr>),
}

/// What a node sends. Answers are not among it: the kernel gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Who has an address?
    Request(Request),
    /// Tells everybody that this address is here, which updates their neighbour tables: a gratuitous ARP (RFC 5227 section 2.3)
    /// or an unsolicited neighbour advertisement.
    Announce(IpAddr),
}

/// Who has an address?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The address.
    pub about: IpAddr,
    /// Who is asked; `None` = everybody.
    pub to: Option<Mac>,
    /// Under which address.
    pub sender: Sender,
}

/// The sender's address of a question; an answer repeats it, so that it tells which question it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// None: a probe, which claims nothing and leaves no trace in anybody's neighbour table.
    Unspecified,
    /// The NIC's own address, of the family of what is asked for. Only who really has the address answers a question
    /// that is sent to one host under this.
    Own,
}
