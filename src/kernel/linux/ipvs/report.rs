//! What the kernel reports over netlink, as the model's values.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader};
use netlink_packet_generic::GenlMessage;

use crate::model::{
    Connections, Destination, Flag, Forward, InvalidDev, IpvsSetting, Persistence, Protocol,
    Scheduler, Service, ServiceKey, SyncDaemon, SyncHalf,
};

use super::{
    Attribute, DaemonAttribute, DestinationAttribute, FORWARD_DIRECT, FORWARD_LOCAL, FORWARD_MASK,
    FORWARD_MASQUERADE, FORWARD_TUNNEL, IpvsMessage, ServiceAttribute, ServiceFlags,
    value::{Address, address_of},
};

/// A service in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenService {
    /// Identified by VIP, port and protocol; its destinations are reported separately.
    Addressed(ServiceKey, Service),
    /// Identified by a firewall mark.
    Marked(u32),
}

/// A destination in the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenDestination {
    /// The real server's address and port.
    pub server: SocketAddr,
    /// Weight and forwarding method.
    pub destination: Destination,
    /// Its connections.
    pub connections: Connections,
}

/// Decodes a service as soon as it is received: ten thousand of them with all their attributes take some memory.
impl NetlinkDeserializable for SeenService {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        GenlMessage::<IpvsMessage>::deserialize(header, payload)
            .and_then(|message| service(&message.payload))
    }
}

/// Reads one entry of a dump of services.
pub fn service(message: &IpvsMessage) -> Result<SeenService, DecodeError> {
    let attributes = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            Attribute::Service(attributes) => Some(attributes),
            Attribute::Destination(_)
            | Attribute::Daemon(_)
            | Attribute::TcpTimeout(_)
            | Attribute::TcpFinTimeout(_)
            | Attribute::UdpTimeout(_)
            | Attribute::Info(_)
            | Attribute::Other(_) => None,
        })
        .ok_or("an IPVS service without IPVS_CMD_ATTR_SERVICE")?;
    let mut raw = RawService::default();
    for attribute in attributes {
        match attribute {
            ServiceAttribute::Family(family) => raw.family = *family,
            ServiceAttribute::Protocol(protocol) => raw.protocol = *protocol,
            ServiceAttribute::Address(address) => raw.address = *address,
            ServiceAttribute::Port(port) => raw.port = *port,
            ServiceAttribute::FirewallMark(mark) => raw.mark = *mark,
            ServiceAttribute::Scheduler(name) => raw.scheduler = name,
            ServiceAttribute::Flags(ServiceFlags { flags, .. }) => raw.flags = *flags,
            ServiceAttribute::Timeout(seconds) => raw.timeout = *seconds,
            ServiceAttribute::Netmask(netmask) => raw.netmask = *netmask,
            ServiceAttribute::PersistenceEngine(_)
            | ServiceAttribute::Stats64(_)
            | ServiceAttribute::Other(_) => {}
        }
    }
    raw.seen()
}

#[derive(Default)]
struct RawService<'a> {
    family: u16,
    protocol: u16,
    address: Address,
    port: u16,
    mark: u32,
    scheduler: &'a str,
    flags: u32,
    timeout: u32,
    netmask: [u8; 4],
}

impl RawService<'_> {
    fn seen(self) -> Result<SeenService, DecodeError> {
        if self.mark != 0 {
            return Ok(SeenService::Marked(self.mark));
        }
        let Some(vip) = address_of(self.family, self.address) else {
            return Err(format!("an IPVS service of address family {}", self.family).into());
        };
        let protocol = Protocol::from_number(self.protocol).ok_or_else(|| {
            DecodeError::from(format!("an IPVS service of IP protocol {}", self.protocol))
        })?;
        let persistence = (self.flags & ServiceFlags::PERSISTENT != 0).then(|| Persistence {
            timeout_seconds: self.timeout,
            prefix_length: match vip {
                IpAddr::V4(_) => {
                    u8::try_from(u32::from_be_bytes(self.netmask).leading_ones()).unwrap_or(32)
                }
                IpAddr::V6(_) => u8::try_from(u32::from_ne_bytes(self.netmask)).unwrap_or(128),
            },
        });
        let service = Service {
            scheduler: Scheduler::from_kernel(self.scheduler),
            flags: sorted_flags(self.flags),
            persistence,
            destinations: BTreeMap::new(),
        };
        Ok(SeenService::Addressed(
            ServiceKey {
                vip,
                port: self.port,
                protocol,
            },
            service,
        ))
    }
}

fn sorted_flags(bits: u32) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Flag::ALL
        .into_iter()
        .filter(|flag| bits & flag.bit() != 0)
        .collect();
    flags.sort_unstable();
    flags
}

/// Reads one entry of a dump of the destinations of a service with this VIP.
pub fn destination(message: &IpvsMessage, vip: IpAddr) -> Result<SeenDestination, DecodeError> {
    let attributes = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            Attribute::Destination(attributes) => Some(attributes),
            Attribute::Service(_)
            | Attribute::Daemon(_)
            | Attribute::TcpTimeout(_)
            | Attribute::TcpFinTimeout(_)
            | Attribute::UdpTimeout(_)
            | Attribute::Info(_)
            | Attribute::Other(_) => None,
        })
        .ok_or("an IPVS destination without IPVS_CMD_ATTR_DEST")?;
    let (mut family, mut address, mut port) = (super::family_of(vip), Address::default(), 0);
    let mut destination = Destination::direct(0);
    let mut connections = Connections::default();
    for attribute in attributes {
        match attribute {
            DestinationAttribute::Family(number) => family = *number,
            DestinationAttribute::Address(bytes) => address = *bytes,
            DestinationAttribute::Port(number) => port = *number,
            DestinationAttribute::Weight(weight) => destination.weight = *weight,
            DestinationAttribute::Forward(flags) => destination.forward = forward_of(*flags),
            DestinationAttribute::ActiveConnections(count) => connections.active = *count,
            DestinationAttribute::InactiveConnections(count) => connections.inactive = *count,
            DestinationAttribute::UpperThreshold(_)
            | DestinationAttribute::LowerThreshold(_)
            | DestinationAttribute::PersistentConnections(_)
            | DestinationAttribute::Stats64(_)
            | DestinationAttribute::Other(_) => {}
        }
    }
    let ip = address_of(family, address).ok_or_else(|| {
        DecodeError::from(format!("an IPVS destination of address family {family}"))
    })?;
    Ok(SeenDestination {
        server: SocketAddr::new(ip, port),
        destination,
        connections,
    })
}

/// Reads one entry of a dump of daemons.
pub fn daemon(message: &IpvsMessage) -> Result<(SyncHalf, SyncDaemon), DecodeError> {
    let attributes = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            Attribute::Daemon(attributes) => Some(attributes),
            Attribute::Service(_)
            | Attribute::Destination(_)
            | Attribute::TcpTimeout(_)
            | Attribute::TcpFinTimeout(_)
            | Attribute::UdpTimeout(_)
            | Attribute::Info(_)
            | Attribute::Other(_) => None,
        })
        .ok_or("an IPVS daemon without IPVS_CMD_ATTR_DAEMON")?;
    let (mut state, mut interface, mut id) = (0, "", 0);
    for attribute in attributes {
        match attribute {
            DaemonAttribute::State(number) => state = *number,
            DaemonAttribute::Interface(name) => interface = name,
            DaemonAttribute::SyncId(number) => id = *number,
            DaemonAttribute::Other(_) => {}
        }
    }
    let half = match state {
        DaemonAttribute::MASTER => SyncHalf::Master,
        DaemonAttribute::BACKUP => SyncHalf::Backup,
        other => return Err(format!("an IPVS daemon in state {other}").into()),
    };
    let dev = interface.parse();
    let dev = dev.map_err(|error: InvalidDev| DecodeError::from(error.to_string()))?;
    Ok((half, SyncDaemon { dev, id }))
}

/// Reads the timeouts.
pub fn timeouts(message: &IpvsMessage) -> BTreeMap<IpvsSetting, u32> {
    let timeout = |attribute: &Attribute| match attribute {
        Attribute::TcpTimeout(seconds) => Some((IpvsSetting::TcpTimeout, *seconds)),
        Attribute::TcpFinTimeout(seconds) => Some((IpvsSetting::TcpfinTimeout, *seconds)),
        Attribute::UdpTimeout(seconds) => Some((IpvsSetting::UdpTimeout, *seconds)),
        Attribute::Service(_)
        | Attribute::Destination(_)
        | Attribute::Daemon(_)
        | Attribute::Info(_)
        | Attribute::Other(_) => None,
    };
    message.attributes.iter().filter_map(timeout).collect()
}

/// The forwarding method in a destination's flags.
pub(super) fn forward_of(flags: u32) -> Forward {
    match flags & FORWARD_MASK {
        FORWARD_DIRECT => Forward::Direct,
        FORWARD_LOCAL => Forward::Local,
        FORWARD_TUNNEL => Forward::Tunnel,
        FORWARD_MASQUERADE => Forward::Masquerade,
        _ => Forward::Bypass,
    }
}
