//! IPVS's version and table size, `IPVS_INFO_ATTR_*`.

use netlink_packet_core::{DecodeError, DefaultNla, ErrorContext, Nla, NlaBuffer, Parseable};

use super::value::{contents, u32_of};

const IPVS_INFO_ATTR_VERSION: u16 = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

/// One attribute of the answer to `IPVS_CMD_GET_INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfoAttribute {
    /// Version, one byte each for major, minor and patch level.
    Version(u32),
    /// Number of buckets in the connection table.
    ConnectionTableSize(u32),
    /// Not known to this code.
    Other(DefaultNla),
}

impl Nla for InfoAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Version(_) | Self::ConnectionTableSize(_) => 4,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Version(_) => IPVS_INFO_ATTR_VERSION,
            Self::ConnectionTableSize(_) => IPVS_INFO_ATTR_CONN_TAB_SIZE,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Version(number) | Self::ConnectionTableSize(number) => {
                buffer.copy_from_slice(&number.to_ne_bytes())
            }
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for InfoAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = contents(nla);
        Ok(match nla.kind() {
            IPVS_INFO_ATTR_VERSION => {
                Self::Version(u32_of(value).context("IPVS_INFO_ATTR_VERSION")?)
            }
            IPVS_INFO_ATTR_CONN_TAB_SIZE => {
                Self::ConnectionTableSize(u32_of(value).context("IPVS_INFO_ATTR_CONN_TAB_SIZE")?)
            }
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
