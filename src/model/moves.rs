use std::time::Duration;

use jiff::Timestamp;

use super::{IpRanges, words};

/// VIPs that came to a node together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Which VIPs.
    pub vips: IpRanges,
    /// Their previous holder, if known.
    pub from: Option<String>,
    /// Why.
    pub cause: TakeCause,
    /// How long that took: since they were known to be vacant, or since the move began. The longest of all `vips`.
    pub after: Duration,
}

words! {
    /// Why a director took a VIP.
    pub enum TakeCause {
        /// No host had it.
        Vacant = "vacant",
        /// Its holder's kernel no longer answered.
        HolderDown = "holder-down",
        /// Its holder's kernel is up, but no longer has the VIP.
        HolderSilent = "holder-silent",
        /// Its holder agreed to a move.
        Planned = "planned",
        /// It was on the NIC already, so nothing moved.
        Adopted = "adopted",
    }
}

impl TakeCause {
    /// Whether the VIP came from a director that failed.
    pub fn is_failover(self) -> bool {
        match self {
            Self::HolderDown | Self::HolderSilent => true,
            Self::Vacant | Self::Planned | Self::Adopted => false,
        }
    }
}
