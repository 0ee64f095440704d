//! Attributes of a synchronisation daemon, `IPVS_DAEMON_ATTR_*`.

use netlink_packet_core::{DecodeError, DefaultNla, ErrorContext, Nla, NlaBuffer, Parseable};

use super::value::{contents, emit_string, string_of, u32_of};

const IPVS_DAEMON_ATTR_STATE: u16 = 1;
const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;

/// One attribute of a synchronisation daemon. Group, port and packet size are left at the kernel's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonAttribute {
    /// Which of the two: [`Self::MASTER`] or [`Self::BACKUP`].
    State(u32),
    /// The interface on which it sends or receives, at most 15 bytes.
    Interface(String),
    /// Tells groups of directors apart.
    SyncId(u32),
    /// Not known to this code.
    Other(DefaultNla),
}

impl DaemonAttribute {
    /// `IP_VS_STATE_MASTER`.
    pub const MASTER: u32 = 1;
    /// `IP_VS_STATE_BACKUP`.
    pub const BACKUP: u32 = 2;
}

impl Nla for DaemonAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::State(_) | Self::SyncId(_) => 4,
            Self::Interface(name) => name.len() + 1,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::State(_) => IPVS_DAEMON_ATTR_STATE,
            Self::Interface(_) => IPVS_DAEMON_ATTR_MCAST_IFN,
            Self::SyncId(_) => IPVS_DAEMON_ATTR_SYNC_ID,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::State(number) | Self::SyncId(number) => {
                buffer.copy_from_slice(&number.to_ne_bytes())
            }
            Self::Interface(name) => emit_string(name, buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for DaemonAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = contents(nla);
        Ok(match nla.kind() {
            IPVS_DAEMON_ATTR_STATE => Self::State(u32_of(value).context("IPVS_DAEMON_ATTR_STATE")?),
            IPVS_DAEMON_ATTR_MCAST_IFN => Self::Interface(string_of(value)),
            IPVS_DAEMON_ATTR_SYNC_ID => {
                Self::SyncId(u32_of(value).context("IPVS_DAEMON_ATTR_SYNC_ID")?)
            }
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
