//! Attributes of a virtual service, `IPVS_SVC_ATTR_*`.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, Nla, NlaBuffer, Parseable,
};

use super::stats::StatsAttribute;
use super::value::{Address, contents, emit_string, exact, string_of, u16_of, u32_of};

const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
const IPVS_SVC_ATTR_FWMARK: u16 = 5;
const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
const IPVS_SVC_ATTR_FLAGS: u16 = 7;
const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
const IPVS_SVC_ATTR_NETMASK: u16 = 9;
const IPVS_SVC_ATTR_PE_NAME: u16 = 11;
const IPVS_SVC_ATTR_STATS64: u16 = 12;

/// `struct ip_vs_flags`: which flags are set, of those that `mask` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceFlags {
    /// `IP_VS_SVC_F_*`.
    pub flags: u32,
    /// Which bits of `flags` count. The kernel sets `IP_VS_SVC_F_HASHED` itself, whatever is here.
    pub mask: u32,
}

impl ServiceFlags {
    /// `IP_VS_SVC_F_PERSISTENT`: a client stays with its real server.
    pub const PERSISTENT: u32 = 0x0001;
    /// `IP_VS_SVC_F_HASHED`: set by the kernel for every service in its table.
    pub const HASHED: u32 = 0x0002;
    /// `IP_VS_SVC_F_ONEPACKET`: every datagram is scheduled by itself.
    pub const ONE_PACKET: u32 = 0x0004;
    /// `IP_VS_SVC_F_SCHED1`: `sh-fallback`, `mh-fallback`.
    pub const SCHEDULER_1: u32 = 0x0008;
    /// `IP_VS_SVC_F_SCHED2`: `sh-port`, `mh-port`.
    pub const SCHEDULER_2: u32 = 0x0010;
    /// `IP_VS_SVC_F_SCHED3`.
    pub const SCHEDULER_3: u32 = 0x0020;
}

/// One attribute of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAttribute {
    /// `AF_INET` or `AF_INET6`.
    Family(u16),
    /// `IPPROTO_*`.
    Protocol(u16),
    /// The VIP.
    Address(Address),
    /// The port, in the machine's order here, in network order in the message.
    Port(u16),
    /// The firewall mark that identifies a service instead of protocol, address and port.
    FirewallMark(u32),
    /// The scheduler's name, at most 15 bytes.
    Scheduler(String),
    /// Flags.
    Flags(ServiceFlags),
    /// Persistence timeout in seconds.
    Timeout(u32),
    /// Persistence granularity: for IPv4 a mask in network order, for IPv6 a prefix length in the machine's order.
    Netmask([u8; 4]),
    /// The persistence engine's name.
    PersistenceEngine(String),
    /// Counters.
    Stats64(Vec<StatsAttribute>),
    /// Not known to this code.
    Other(DefaultNla),
}

impl Nla for ServiceAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::Address(address) => address.len(),
            Self::FirewallMark(_) | Self::Timeout(_) | Self::Netmask(_) => 4,
            Self::Scheduler(name) | Self::PersistenceEngine(name) => name.len() + 1,
            Self::Flags(_) => 8,
            Self::Stats64(stats) => stats.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Family(_) => IPVS_SVC_ATTR_AF,
            Self::Protocol(_) => IPVS_SVC_ATTR_PROTOCOL,
            Self::Address(_) => IPVS_SVC_ATTR_ADDR,
            Self::Port(_) => IPVS_SVC_ATTR_PORT,
            Self::FirewallMark(_) => IPVS_SVC_ATTR_FWMARK,
            Self::Scheduler(_) => IPVS_SVC_ATTR_SCHED_NAME,
            Self::Flags(_) => IPVS_SVC_ATTR_FLAGS,
            Self::Timeout(_) => IPVS_SVC_ATTR_TIMEOUT,
            Self::Netmask(_) => IPVS_SVC_ATTR_NETMASK,
            Self::PersistenceEngine(_) => IPVS_SVC_ATTR_PE_NAME,
            Self::Stats64(_) => IPVS_SVC_ATTR_STATS64 | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(number) | Self::Protocol(number) => {
                buffer.copy_from_slice(&number.to_ne_bytes())
            }
            Self::Address(address) => buffer.copy_from_slice(address),
            Self::Port(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::FirewallMark(number) | Self::Timeout(number) => {
                buffer.copy_from_slice(&number.to_ne_bytes())
            }
            Self::Scheduler(name) | Self::PersistenceEngine(name) => emit_string(name, buffer),
            Self::Flags(ServiceFlags { flags, mask }) => {
                buffer[..4].copy_from_slice(&flags.to_ne_bytes());
                buffer[4..].copy_from_slice(&mask.to_ne_bytes());
            }
            Self::Netmask(netmask) => buffer.copy_from_slice(netmask),
            Self::Stats64(stats) => stats.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for ServiceAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = contents(nla);
        Ok(match nla.kind() {
            IPVS_SVC_ATTR_AF => Self::Family(u16_of(value).context("IPVS_SVC_ATTR_AF")?),
            IPVS_SVC_ATTR_PROTOCOL => {
                Self::Protocol(u16_of(value).context("IPVS_SVC_ATTR_PROTOCOL")?)
            }
            IPVS_SVC_ATTR_ADDR => Self::Address(exact(value).context("IPVS_SVC_ATTR_ADDR")?),
            IPVS_SVC_ATTR_PORT => Self::Port(
                exact(value)
                    .map(u16::from_be_bytes)
                    .context("IPVS_SVC_ATTR_PORT")?,
            ),
            IPVS_SVC_ATTR_FWMARK => {
                Self::FirewallMark(u32_of(value).context("IPVS_SVC_ATTR_FWMARK")?)
            }
            IPVS_SVC_ATTR_SCHED_NAME => Self::Scheduler(string_of(value)),
            IPVS_SVC_ATTR_FLAGS => {
                let [a, b, c, d, e, f, g, h] = exact(value).context("IPVS_SVC_ATTR_FLAGS")?;
                Self::Flags(ServiceFlags {
                    flags: u32::from_ne_bytes([a, b, c, d]),
                    mask: u32::from_ne_bytes([e, f, g, h]),
                })
            }
            IPVS_SVC_ATTR_TIMEOUT => Self::Timeout(u32_of(value).context("IPVS_SVC_ATTR_TIMEOUT")?),
            IPVS_SVC_ATTR_NETMASK => Self::Netmask(exact(value).context("IPVS_SVC_ATTR_NETMASK")?),
            IPVS_SVC_ATTR_PE_NAME => Self::PersistenceEngine(string_of(value)),
            IPVS_SVC_ATTR_STATS64 => {
                Self::Stats64(super::nested(nla).context("IPVS_SVC_ATTR_STATS64")?)
            }
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
