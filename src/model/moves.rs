use std::time::Duration;

use jiff::Timestamp;

use super::IpRanges;

/// VIPs that came to a node together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Which VIPs.
    pub vips: IpRanges,
    /// Who had them, as far as known.
    pub from: Option<String>,
    /// Why, in one word.
    pub cause: String,
    /// How long that took: since they were known to be vacant, or since the move began. Of several the longest.
    pub after: Duration,
}
