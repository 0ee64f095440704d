//! IPVS over generic netlink: messages and attributes of `include/uapi/linux/ip_vs.h`.
//!
//! Attributes that this code does not know are kept as they are; a kernel newer than this file must never be a reason to fail.
//! A known attribute with an impossible length is an error. Nothing here panics on any input.

mod daemon;
mod destination;
mod info;
pub mod procfs;
pub mod report;
pub mod request;
mod service;
pub mod sockopt;
mod stats;
#[cfg(test)]
mod tests;
mod value;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, Nla, NlaBuffer, NlasIterator,
    Parseable, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};

pub use self::daemon::DaemonAttribute;
pub use self::destination::{
    DestinationAttribute, FORWARD_DIRECT, FORWARD_LOCAL, FORWARD_MASK, FORWARD_MASQUERADE,
    FORWARD_TUNNEL,
};
pub use self::info::InfoAttribute;
pub use self::service::{ServiceAttribute, ServiceFlags};
pub use self::stats::{Stats, StatsAttribute};
pub use self::value::{Address, address_bytes, family_of};

/// `IPVS_GENL_NAME`.
pub const FAMILY_NAME: &str = "IPVS";
/// `IPVS_GENL_VERSION`.
const FAMILY_VERSION: u8 = 1;

const IPVS_CMD_NEW_SERVICE: u8 = 1;
const IPVS_CMD_SET_SERVICE: u8 = 2;
const IPVS_CMD_DEL_SERVICE: u8 = 3;
const IPVS_CMD_GET_SERVICE: u8 = 4;
const IPVS_CMD_NEW_DEST: u8 = 5;
const IPVS_CMD_SET_DEST: u8 = 6;
const IPVS_CMD_DEL_DEST: u8 = 7;
const IPVS_CMD_GET_DEST: u8 = 8;
const IPVS_CMD_NEW_DAEMON: u8 = 9;
const IPVS_CMD_DEL_DAEMON: u8 = 10;
const IPVS_CMD_GET_DAEMON: u8 = 11;
const IPVS_CMD_SET_CONFIG: u8 = 12;
const IPVS_CMD_GET_CONFIG: u8 = 13;
const IPVS_CMD_SET_INFO: u8 = 14;
const IPVS_CMD_GET_INFO: u8 = 15;

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;
const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;

/// What a message asks for, or reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Add a service; also the command of each entry in a dump of services.
    NewService,
    /// Change a service.
    SetService,
    /// Delete a service with its destinations.
    DeleteService,
    /// Read one service, or all as a dump.
    GetService,
    /// Add a destination; also the command of each entry in a dump of destinations.
    NewDestination,
    /// Change a destination.
    SetDestination,
    /// Delete a destination.
    DeleteDestination,
    /// Read a service's destinations as a dump.
    GetDestination,
    /// Start a synchronisation daemon; also the command of each entry in a dump of daemons.
    NewDaemon,
    /// Stop a synchronisation daemon.
    DeleteDaemon,
    /// Read the running synchronisation daemons as a dump.
    GetDaemon,
    /// Set timeouts; also the answer to [`Command::GetConfig`].
    SetConfig,
    /// Read the timeouts.
    GetConfig,
    /// The answer to [`Command::GetInfo`].
    SetInfo,
    /// Read IPVS's version and table size.
    GetInfo,
    /// A command that this code does not use.
    Other(u8),
}

impl From<Command> for u8 {
    fn from(command: Command) -> Self {
        match command {
            Command::NewService => IPVS_CMD_NEW_SERVICE,
            Command::SetService => IPVS_CMD_SET_SERVICE,
            Command::DeleteService => IPVS_CMD_DEL_SERVICE,
            Command::GetService => IPVS_CMD_GET_SERVICE,
            Command::NewDestination => IPVS_CMD_NEW_DEST,
            Command::SetDestination => IPVS_CMD_SET_DEST,
            Command::DeleteDestination => IPVS_CMD_DEL_DEST,
            Command::GetDestination => IPVS_CMD_GET_DEST,
            Command::NewDaemon => IPVS_CMD_NEW_DAEMON,
            Command::DeleteDaemon => IPVS_CMD_DEL_DAEMON,
            Command::GetDaemon => IPVS_CMD_GET_DAEMON,
            Command::SetConfig => IPVS_CMD_SET_CONFIG,
            Command::GetConfig => IPVS_CMD_GET_CONFIG,
            Command::SetInfo => IPVS_CMD_SET_INFO,
            Command::GetInfo => IPVS_CMD_GET_INFO,
            Command::Other(other) => other,
        }
    }
}

impl From<u8> for Command {
    fn from(command: u8) -> Self {
        match command {
            IPVS_CMD_NEW_SERVICE => Command::NewService,
            IPVS_CMD_SET_SERVICE => Command::SetService,
            IPVS_CMD_DEL_SERVICE => Command::DeleteService,
            IPVS_CMD_GET_SERVICE => Command::GetService,
            IPVS_CMD_NEW_DEST => Command::NewDestination,
            IPVS_CMD_SET_DEST => Command::SetDestination,
            IPVS_CMD_DEL_DEST => Command::DeleteDestination,
            IPVS_CMD_GET_DEST => Command::GetDestination,
            IPVS_CMD_NEW_DAEMON => Command::NewDaemon,
            IPVS_CMD_DEL_DAEMON => Command::DeleteDaemon,
            IPVS_CMD_GET_DAEMON => Command::GetDaemon,
            IPVS_CMD_SET_CONFIG => Command::SetConfig,
            IPVS_CMD_GET_CONFIG => Command::GetConfig,
            IPVS_CMD_SET_INFO => Command::SetInfo,
            IPVS_CMD_GET_INFO => Command::GetInfo,
            other => Command::Other(other),
        }
    }
}

/// An attribute of the first level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A service, or what identifies one.
    Service(Vec<ServiceAttribute>),
    /// A destination, or what identifies one.
    Destination(Vec<DestinationAttribute>),
    /// A synchronisation daemon.
    Daemon(Vec<DaemonAttribute>),
    /// Seconds until an idle TCP connection is forgotten.
    TcpTimeout(u32),
    /// The same after a FIN.
    TcpFinTimeout(u32),
    /// The same for UDP.
    UdpTimeout(u32),
    /// Part of the answer to [`Command::GetInfo`], whose attributes have numbers of their own.
    Info(InfoAttribute),
    /// Not known to this code.
    Other(DefaultNla),
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Service(attributes) => attributes.as_slice().buffer_len(),
            Self::Destination(attributes) => attributes.as_slice().buffer_len(),
            Self::Daemon(attributes) => attributes.as_slice().buffer_len(),
            Self::TcpTimeout(_) | Self::TcpFinTimeout(_) | Self::UdpTimeout(_) => 4,
            Self::Info(attribute) => attribute.value_len(),
            Self::Other(attribute) => attribute.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Service(_) => IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED,
            Self::Destination(_) => IPVS_CMD_ATTR_DEST | NLA_F_NESTED,
            Self::Daemon(_) => IPVS_CMD_ATTR_DAEMON | NLA_F_NESTED,
            Self::TcpTimeout(_) => IPVS_CMD_ATTR_TIMEOUT_TCP,
            Self::TcpFinTimeout(_) => IPVS_CMD_ATTR_TIMEOUT_TCP_FIN,
            Self::UdpTimeout(_) => IPVS_CMD_ATTR_TIMEOUT_UDP,
            Self::Info(attribute) => attribute.kind(),
            Self::Other(attribute) => attribute.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Service(attributes) => attributes.as_slice().emit(buffer),
            Self::Destination(attributes) => attributes.as_slice().emit(buffer),
            Self::Daemon(attributes) => attributes.as_slice().emit(buffer),
            Self::TcpTimeout(seconds)
            | Self::TcpFinTimeout(seconds)
            | Self::UdpTimeout(seconds) => buffer.copy_from_slice(&seconds.to_ne_bytes()),
            Self::Info(attribute) => attribute.emit_value(buffer),
            Self::Other(attribute) => attribute.emit_value(buffer),
        }
    }
}

impl<'a> ParseableParametrized<NlaBuffer<&'a [u8]>, Command> for Attribute {
    fn parse_with_param(nla: &NlaBuffer<&'a [u8]>, command: Command) -> Result<Self, DecodeError> {
        if command == Command::SetInfo {
            return InfoAttribute::parse(nla).map(Self::Info);
        }
        let seconds = |name| value::u32_of(value::contents(nla)).context(name);
        Ok(match nla.kind() {
            IPVS_CMD_ATTR_SERVICE => Self::Service(nested(nla).context("IPVS_CMD_ATTR_SERVICE")?),
            IPVS_CMD_ATTR_DEST => Self::Destination(nested(nla).context("IPVS_CMD_ATTR_DEST")?),
            IPVS_CMD_ATTR_DAEMON => Self::Daemon(nested(nla).context("IPVS_CMD_ATTR_DAEMON")?),
            IPVS_CMD_ATTR_TIMEOUT_TCP => Self::TcpTimeout(seconds("IPVS_CMD_ATTR_TIMEOUT_TCP")?),
            IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => {
                Self::TcpFinTimeout(seconds("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")?)
            }
            IPVS_CMD_ATTR_TIMEOUT_UDP => Self::UdpTimeout(seconds("IPVS_CMD_ATTR_TIMEOUT_UDP")?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

/// The attributes inside `nla`.
fn nested<'a, A: Parseable<NlaBuffer<&'a [u8]>>>(
    nla: &NlaBuffer<&'a [u8]>,
) -> Result<Vec<A>, DecodeError> {
    NlasIterator::new(value::contents(nla))
        .map(|inner| A::parse(&inner?))
        .collect()
}

/// A message of the IPVS family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsMessage {
    /// What is asked or reported.
    pub command: Command,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

impl GenlFamily for IpvsMessage {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command.into()
    }

    fn version(&self) -> u8 {
        FAMILY_VERSION
    }
}

impl Emitable for IpvsMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for IpvsMessage {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let command = Command::from(header.cmd);
        let attributes = NlasIterator::new(payload)
            .map(|nla| Attribute::parse_with_param(&nla?, command))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            command,
            attributes,
        })
    }
}
