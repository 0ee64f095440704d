use std::{net::IpAddr, sync::Arc};

use crate::wire::Received;

use super::ElectionConfig;

/// What happens to a director on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed, and every frame that arrived until now was given as an event. Timers act on this event only: an
    /// answer that waits in a buffer must not count as silence.
    Tick,
    /// A frame from the segment.
    Received(Received),
    /// Frames were lost between the NIC and us.
    Missed,
    /// The NIC lost its carrier or got it back, or was set down or up.
    Carrier(bool),
    /// The sources say something else than before.
    Config(Arc<ElectionConfig>),
    /// What the NIC carries: the outcome of an action, whether it worked or not, and whatever else changes addresses. A
    /// claim that worked is present; one that failed is absent.
    Nic {
        /// VIPs that are on the NIC.
        present: Vec<IpAddr>,
        /// VIPs that are not.
        absent: Vec<IpAddr>,
    },
}
