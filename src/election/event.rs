use std::{net::IpAddr, sync::Arc};

use crate::wire::Received;

use super::ElectionConfig;

/// What happens to a director on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed, and every frame that arrived by now was handled. Only this event lets timers expire, because
    /// an answer in a buffer must not count as silence.
    Tick,
    /// A frame from the segment.
    Received(Received),
    /// The kernel dropped frames before they were read.
    Missed,
    /// The NIC lost its carrier or got it back, or was set down or up.
    Carrier(bool),
    /// The configuration has changed.
    Config(Arc<ElectionConfig>),
    /// What the NIC carries, after every claim and yield and whenever another program changes addresses. The VIP of a
    /// claim that failed is absent.
    Nic {
        /// VIPs that are on the NIC.
        present: Vec<IpAddr>,
        /// VIPs that are not.
        absent: Vec<IpAddr>,
    },
}
