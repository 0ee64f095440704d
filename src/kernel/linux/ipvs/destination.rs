//! Attributes of a destination (real server), `IPVS_DEST_ATTR_*`.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, Nla, NlaBuffer, Parseable,
};

use super::stats::StatsAttribute;
use super::value::{Address, contents, exact, u16_of, u32_of};

const IPVS_DEST_ATTR_ADDR: u16 = 1;
const IPVS_DEST_ATTR_PORT: u16 = 2;
const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
const IPVS_DEST_ATTR_PERSIST_CONNS: u16 = 9;
const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
const IPVS_DEST_ATTR_STATS64: u16 = 12;

/// `IP_VS_CONN_F_FWD_MASK`: the bits of [`DestinationAttribute::Forward`] that hold the method.
pub const FORWARD_MASK: u32 = 0x7;
/// `IP_VS_CONN_F_MASQ`: network address translation.
pub const FORWARD_MASQUERADE: u32 = 0;
/// `IP_VS_CONN_F_LOCALNODE`.
pub const FORWARD_LOCAL: u32 = 1;
/// `IP_VS_CONN_F_TUNNEL`.
pub const FORWARD_TUNNEL: u32 = 2;
/// `IP_VS_CONN_F_DROUTE`: direct routing.
pub const FORWARD_DIRECT: u32 = 3;

/// One attribute of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationAttribute {
    /// The real server's address.
    Address(Address),
    /// The port, in the machine's order here, in network order in the message.
    Port(u16),
    /// Forwarding method (under [`FORWARD_MASK`]) and other `IP_VS_CONN_F_*` bits.
    Forward(u32),
    /// Weight; 0 = no new connections.
    Weight(u32),
    /// No new connections above this number of them; 0 = no limit.
    UpperThreshold(u32),
    /// New connections again below this number.
    LowerThreshold(u32),
    /// Connections in the established state.
    ActiveConnections(u32),
    /// All other connections.
    InactiveConnections(u32),
    /// Persistence templates.
    PersistentConnections(u32),
    /// `AF_INET` or `AF_INET6`; kernels before 3.18 leave it out, as it is always the service's.
    Family(u16),
    /// Counters.
    Stats64(Vec<StatsAttribute>),
    /// Not known to this code.
    Other(DefaultNla),
}

impl Nla for DestinationAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Address(address) => address.len(),
            Self::Port(_) | Self::Family(_) => 2,
            Self::Forward(_)
            | Self::Weight(_)
            | Self::UpperThreshold(_)
            | Self::LowerThreshold(_)
            | Self::ActiveConnections(_)
            | Self::InactiveConnections(_)
            | Self::PersistentConnections(_) => 4,
            Self::Stats64(stats) => stats.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Address(_) => IPVS_DEST_ATTR_ADDR,
            Self::Port(_) => IPVS_DEST_ATTR_PORT,
            Self::Forward(_) => IPVS_DEST_ATTR_FWD_METHOD,
            Self::Weight(_) => IPVS_DEST_ATTR_WEIGHT,
            Self::UpperThreshold(_) => IPVS_DEST_ATTR_U_THRESH,
            Self::LowerThreshold(_) => IPVS_DEST_ATTR_L_THRESH,
            Self::ActiveConnections(_) => IPVS_DEST_ATTR_ACTIVE_CONNS,
            Self::InactiveConnections(_) => IPVS_DEST_ATTR_INACT_CONNS,
            Self::PersistentConnections(_) => IPVS_DEST_ATTR_PERSIST_CONNS,
            Self::Family(_) => IPVS_DEST_ATTR_ADDR_FAMILY,
            Self::Stats64(_) => IPVS_DEST_ATTR_STATS64 | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Address(address) => buffer.copy_from_slice(address),
            Self::Port(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::Forward(number)
            | Self::Weight(number)
            | Self::UpperThreshold(number)
            | Self::LowerThreshold(number)
            | Self::ActiveConnections(number)
            | Self::InactiveConnections(number)
            | Self::PersistentConnections(number) => buffer.copy_from_slice(&number.to_ne_bytes()),
            Self::Family(family) => buffer.copy_from_slice(&family.to_ne_bytes()),
            Self::Stats64(stats) => stats.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for DestinationAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = contents(nla);
        let number = |name| u32_of(value).context(name);
        Ok(match nla.kind() {
            IPVS_DEST_ATTR_ADDR => Self::Address(exact(value).context("IPVS_DEST_ATTR_ADDR")?),
            IPVS_DEST_ATTR_PORT => Self::Port(
                exact(value)
                    .map(u16::from_be_bytes)
                    .context("IPVS_DEST_ATTR_PORT")?,
            ),
            IPVS_DEST_ATTR_FWD_METHOD => Self::Forward(number("IPVS_DEST_ATTR_FWD_METHOD")?),
            IPVS_DEST_ATTR_WEIGHT => Self::Weight(number("IPVS_DEST_ATTR_WEIGHT")?),
            IPVS_DEST_ATTR_U_THRESH => Self::UpperThreshold(number("IPVS_DEST_ATTR_U_THRESH")?),
            IPVS_DEST_ATTR_L_THRESH => Self::LowerThreshold(number("IPVS_DEST_ATTR_L_THRESH")?),
            IPVS_DEST_ATTR_ACTIVE_CONNS => {
                Self::ActiveConnections(number("IPVS_DEST_ATTR_ACTIVE_CONNS")?)
            }
            IPVS_DEST_ATTR_INACT_CONNS => {
                Self::InactiveConnections(number("IPVS_DEST_ATTR_INACT_CONNS")?)
            }
            IPVS_DEST_ATTR_PERSIST_CONNS => {
                Self::PersistentConnections(number("IPVS_DEST_ATTR_PERSIST_CONNS")?)
            }
            IPVS_DEST_ATTR_ADDR_FAMILY => {
                Self::Family(u16_of(value).context("IPVS_DEST_ATTR_ADDR_FAMILY")?)
            }
            IPVS_DEST_ATTR_STATS64 => {
                Self::Stats64(super::nested(nla).context("IPVS_DEST_ATTR_STATS64")?)
            }
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
