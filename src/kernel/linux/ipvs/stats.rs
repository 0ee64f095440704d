//! Counters, `IPVS_STATS_ATTR_*`, in their 64-bit form (kernel 4.1 and newer).

use netlink_packet_core::{DecodeError, DefaultNla, ErrorContext, Nla, NlaBuffer, Parseable};

use super::value::{contents, exact};

/// Which counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Stats {
    /// Connections scheduled.
    Connections = 1,
    /// Packets from clients.
    PacketsIn = 2,
    /// Packets to clients; 0 with direct routing.
    PacketsOut = 3,
    /// Bytes from clients.
    BytesIn = 4,
    /// Bytes to clients; 0 with direct routing.
    BytesOut = 5,
}

impl Stats {
    fn from_kind(kind: u16) -> Option<Self> {
        [
            Self::Connections,
            Self::PacketsIn,
            Self::PacketsOut,
            Self::BytesIn,
            Self::BytesOut,
        ]
        .into_iter()
        .find(|counter| *counter as u16 == kind)
    }
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsAttribute {
    /// A counter since the service or destination was added.
    Counter(Stats, u64),
    /// Rates, padding, and what is not known to this code.
    Other(DefaultNla),
}

impl Nla for StatsAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Counter(..) => 8,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Counter(counter, _) => *counter as u16,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Counter(_, value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for StatsAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        Ok(match Stats::from_kind(nla.kind()) {
            Some(counter) => {
                let value =
                    exact(contents(nla)).with_context(|| format!("IPVS_STATS_ATTR {counter:?}"))?;
                Self::Counter(counter, u64::from_ne_bytes(value))
            }
            None => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
