//! The messages that directway sends, built from the model.

use std::net::{IpAddr, SocketAddr};

use crate::model::{
    Destination, Forward, IpvsSetting, Persistence, Service, ServiceKey, SyncDaemon, SyncHalf,
};

use super::{
    Attribute, Command, DaemonAttribute, DestinationAttribute, FORWARD_DIRECT, FORWARD_LOCAL,
    FORWARD_MASQUERADE, FORWARD_TUNNEL, IpvsMessage, ServiceAttribute, ServiceFlags, address_bytes,
    family_of,
};

/// `IP_VS_CONN_F_BYPASS`.
const FORWARD_BYPASS: u32 = 4;

/// Adds a service, without destinations.
pub fn add_service(key: &ServiceKey, service: &Service) -> IpvsMessage {
    message(Command::NewService, described(key, service), None)
}

/// Gives a service other settings; its destinations stay.
pub fn edit_service(key: &ServiceKey, service: &Service) -> IpvsMessage {
    message(Command::SetService, described(key, service), None)
}

/// Deletes a service with its destinations.
pub fn delete_service(key: &ServiceKey) -> IpvsMessage {
    message(Command::DeleteService, identified(key), None)
}

/// Asks, as a dump, for all services.
pub fn list_services() -> IpvsMessage {
    IpvsMessage {
        command: Command::GetService,
        attributes: Vec::new(),
    }
}

/// Asks for one service.
pub fn get_service(key: &ServiceKey) -> IpvsMessage {
    message(Command::GetService, identified(key), None)
}

/// Adds a destination.
pub fn add_destination(key: &ServiceKey, address: IpAddr, destination: Destination) -> IpvsMessage {
    message(
        Command::NewDestination,
        identified(key),
        Some(weighed(key, address, destination)),
    )
}

/// Changes a destination.
pub fn edit_destination(
    key: &ServiceKey,
    address: IpAddr,
    destination: Destination,
) -> IpvsMessage {
    message(
        Command::SetDestination,
        identified(key),
        Some(weighed(key, address, destination)),
    )
}

/// Deletes a destination.
pub fn delete_destination(key: &ServiceKey, server: SocketAddr) -> IpvsMessage {
    message(
        Command::DeleteDestination,
        identified(key),
        Some(located(server)),
    )
}

/// Asks, as a dump, for a service's destinations.
pub fn list_destinations(key: &ServiceKey) -> IpvsMessage {
    message(Command::GetDestination, identified(key), None)
}

/// Starts a synchronisation daemon.
pub fn start_sync(half: SyncHalf, daemon: &SyncDaemon) -> IpvsMessage {
    daemon_message(
        Command::NewDaemon,
        vec![
            DaemonAttribute::State(state_of(half)),
            DaemonAttribute::Interface(daemon.dev.to_string()),
            DaemonAttribute::SyncId(daemon.id),
        ],
    )
}

/// Stops a synchronisation daemon.
pub fn stop_sync(half: SyncHalf) -> IpvsMessage {
    let which = DaemonAttribute::State(state_of(half));
    daemon_message(Command::DeleteDaemon, vec![which])
}

/// Asks, as a dump, which daemons run.
pub fn list_daemons() -> IpvsMessage {
    IpvsMessage {
        command: Command::GetDaemon,
        attributes: Vec::new(),
    }
}

/// Asks for the timeouts.
pub fn get_timeouts() -> IpvsMessage {
    IpvsMessage {
        command: Command::GetConfig,
        attributes: Vec::new(),
    }
}

/// Sets one timeout; the others stay. `None` for a setting that is none.
pub fn set_timeout(setting: IpvsSetting, seconds: u32) -> Option<IpvsMessage> {
    let timeout = match setting {
        IpvsSetting::TcpTimeout => Attribute::TcpTimeout(seconds),
        IpvsSetting::TcpfinTimeout => Attribute::TcpFinTimeout(seconds),
        IpvsSetting::UdpTimeout => Attribute::UdpTimeout(seconds),
        IpvsSetting::ConnReuseMode
        | IpvsSetting::ExpireNodestConn
        | IpvsSetting::ExpireQuiescentTemplate
        | IpvsSetting::ScheduleIcmp
        | IpvsSetting::SloppyTcp
        | IpvsSetting::SyncThreshold => return None,
    };
    Some(IpvsMessage {
        command: Command::SetConfig,
        attributes: vec![timeout],
    })
}

fn daemon_message(command: Command, daemon: Vec<DaemonAttribute>) -> IpvsMessage {
    IpvsMessage {
        command,
        attributes: vec![Attribute::Daemon(daemon)],
    }
}

fn state_of(half: SyncHalf) -> u32 {
    match half {
        SyncHalf::Master => DaemonAttribute::MASTER,
        SyncHalf::Backup => DaemonAttribute::BACKUP,
    }
}

fn message(
    command: Command,
    service: Vec<ServiceAttribute>,
    destination: Option<Vec<DestinationAttribute>>,
) -> IpvsMessage {
    let mut attributes = vec![Attribute::Service(service)];
    attributes.extend(destination.map(Attribute::Destination));
    IpvsMessage {
        command,
        attributes,
    }
}

fn identified(key: &ServiceKey) -> Vec<ServiceAttribute> {
    vec![
        ServiceAttribute::Family(family_of(key.vip)),
        ServiceAttribute::Protocol(key.protocol.number().into()),
        ServiceAttribute::Address(address_bytes(key.vip)),
        ServiceAttribute::Port(key.port),
    ]
}

/// The kernel requires all of these, even if only one of them changes (`ip_vs_genl_parse_service`, full entry).
fn described(key: &ServiceKey, service: &Service) -> Vec<ServiceAttribute> {
    let mut flags = service.flags.iter().fold(0, |bits, flag| bits | flag.bit());
    let (timeout, prefix) = match service.persistence {
        Some(Persistence {
            timeout_seconds,
            prefix_length,
        }) => {
            flags |= ServiceFlags::PERSISTENT;
            (timeout_seconds, Some(prefix_length))
        }
        None => (0, None),
    };
    let mut attributes = identified(key);
    attributes.extend([
        ServiceAttribute::Scheduler(service.scheduler.name().to_owned()),
        ServiceAttribute::Flags(ServiceFlags {
            flags,
            mask: u32::MAX,
        }),
        ServiceAttribute::Timeout(timeout),
        ServiceAttribute::Netmask(netmask(key.vip, prefix)),
    ]);
    attributes
}

/// A mask for IPv4, a prefix length for IPv6; without `prefix`, that of a single client.
fn netmask(vip: IpAddr, prefix: Option<u8>) -> [u8; 4] {
    match vip {
        IpAddr::V4(_) => {
            let host_bits = 32u32.saturating_sub(prefix.unwrap_or(32).into());
            u32::MAX.checked_shl(host_bits).unwrap_or(0).to_be_bytes()
        }
        IpAddr::V6(_) => u32::from(prefix.unwrap_or(128)).to_ne_bytes(),
    }
}

fn located(server: SocketAddr) -> Vec<DestinationAttribute> {
    vec![
        DestinationAttribute::Family(family_of(server.ip())),
        DestinationAttribute::Address(address_bytes(server.ip())),
        DestinationAttribute::Port(server.port()),
    ]
}

fn weighed(
    key: &ServiceKey,
    address: IpAddr,
    destination: Destination,
) -> Vec<DestinationAttribute> {
    let forward = match destination.forward {
        Forward::Direct => FORWARD_DIRECT,
        Forward::Local => FORWARD_LOCAL,
        Forward::Tunnel => FORWARD_TUNNEL,
        Forward::Masquerade => FORWARD_MASQUERADE,
        Forward::Bypass => FORWARD_BYPASS,
    };
    // Direct routing cannot remap the port.
    let mut attributes = located(SocketAddr::new(address, key.port));
    attributes.extend([
        DestinationAttribute::Forward(forward),
        DestinationAttribute::Weight(destination.weight),
        DestinationAttribute::UpperThreshold(0),
        DestinationAttribute::LowerThreshold(0),
    ]);
    attributes
}
