use std::{net::IpAddr, sync::Arc};

use crate::model::Mac;

use super::View;

/// What happens to a director on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed, and every frame that arrived until now was given as an event. Timers act on this event only: an
    /// answer that waits in a buffer must not count as silence.
    Tick,
    /// A frame from the segment.
    Heard(Heard),
    /// Frames were lost between the NIC and us.
    Missed,
    /// The NIC lost its carrier or got it back, or was set down or up.
    Carrier(bool),
    /// The sources say something else than before.
    View(Arc<View>),
    /// What the NIC carries: the outcome of an action, whether it worked or not, and whatever else changes addresses. A
    /// claim that worked is present; one that failed is absent.
    Nic {
        /// VIPs that are on the NIC.
        present: Vec<IpAddr>,
        /// VIPs that are not.
        absent: Vec<IpAddr>,
    },
}

/// Address resolution as a frame says it, ARP and neighbour discovery alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Heard {
    /// Who says it.
    pub from: Mac,
    /// The address that is said to be at `from`: the sender's address of an ARP packet, `None` where it is 0.0.0.0; the
    /// source of a neighbour solicitation, the target of an advertisement.
    pub has: Option<IpAddr>,
    /// What else it says.
    pub says: Says,
    /// Whether it was sent to this NIC alone.
    pub to_us: bool,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Says {
    /// Who has this address? Without a sender's address it is a probe; with the same, an announcement.
    Asks(IpAddr),
    /// An answer to who asked under this address; `None` answers a probe, and the address itself is an announcement.
    Answers(Option<IpAddr>),
}
