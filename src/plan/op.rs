use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::model::{
    AddressKey, Arp, Destination, Dev, Forward, IpvsSetting, PROTOCOL_TAG, Role, Service,
    ServiceKey, SyncDaemon, SyncHalf, host_prefix,
};

use super::Phase;

/// One change in the kernel. Its `Display` is the command that a person would type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates a dummy device and sets it up.
    AddDummy(Dev),
    /// Deletes a dummy device.
    DelDummy(Dev),
    /// Changes an ARP setting so that the node is quiet.
    Quiet(ArpChange),
    /// Restores an interface's earlier ARP setting.
    Restore(ArpChange),
    /// Changes a setting of IPVS.
    SetIpvs(IpvsChange),
    /// Restores the earlier value of a setting of IPVS.
    RestoreIpvs(IpvsChange),
    /// Starts an IPVS synchronisation daemon, which sends or receives connections.
    StartSync(SyncHalf, SyncDaemon),
    /// Stops a synchronisation daemon.
    StopSync(SyncHalf),
    /// Adds a host-sized address.
    AddAddress(AddressKey, Role),
    /// Removes a host-sized address.
    DelAddress(AddressKey, Role),
    /// Adds a host route to the main table.
    AddRoute(AddressKey),
    /// Removes a host route from the main table.
    DelRoute(AddressKey),
    /// Adds an IPVS service; the destinations in it are ignored.
    AddService(ServiceKey, Box<Service>),
    /// Changes an IPVS service's settings; the destinations in it are ignored.
    EditService(ServiceKey, Box<Service>),
    /// Deletes an IPVS service with all its destinations.
    DelService(ServiceKey),
    /// Adds a destination.
    AddDestination(ServiceKey, IpAddr, Destination),
    /// Changes a destination; its new weight is not 0.
    EditDestination(ServiceKey, IpAddr, Destination),
    /// Sets a destination's weight to 0: no new connections, existing ones go on.
    QuiesceDestination(ServiceKey, IpAddr),
    /// Deletes a destination.
    DelDestination(ServiceKey, IpAddr),
    /// Deletes a destination with another port than its service's, which another program added to a service of ours.
    DelForeignDestination(ServiceKey, SocketAddr),
}

/// Sets one ARP value of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpChange {
    /// The interface.
    pub dev: Dev,
    /// Which setting.
    pub which: Arp,
    /// Its value now.
    pub from: u32,
    /// Its new value.
    pub to: u32,
}

/// Sets one value of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpvsChange {
    /// Which setting.
    pub setting: IpvsSetting,
    /// Its new value.
    pub to: u32,
}

/// What an op is about, and whom its failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The whole node.
    Node,
    /// One VIP.
    Vip(IpAddr),
    /// One IPVS service.
    Service(ServiceKey),
}

impl Op {
    /// The phase in which it runs.
    pub fn phase(&self) -> Phase {
        match self {
            Self::AddDummy(_) => Phase::AddDevice,
            Self::DelDummy(_) => Phase::DelDevice,
            Self::Quiet(_) => Phase::Quiet,
            Self::Restore(_) | Self::RestoreIpvs(_) => Phase::Restore,
            Self::StartSync(..) => Phase::StartSync,
            Self::StopSync(_) => Phase::StopSync,
            Self::AddAddress(_, Role::Quiet) => Phase::Bind,
            Self::AddAddress(_, Role::Held) => Phase::Claim,
            Self::DelAddress(_, Role::Quiet) => Phase::Unbind,
            Self::DelAddress(_, Role::Held) => Phase::Yield,
            Self::AddRoute(_) => Phase::AddRoute,
            Self::DelRoute(_) => Phase::DelRoute,
            Self::AddService(..) | Self::EditService(..) | Self::SetIpvs(_) => Phase::AddService,
            Self::DelService(_) => Phase::DelService,
            Self::AddDestination(..) | Self::EditDestination(..) => Phase::AddDestination,
            Self::QuiesceDestination(..) => Phase::Quiesce,
            Self::DelDestination(..) | Self::DelForeignDestination(..) => Phase::DelDestination,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::AddDummy(_)
            | Self::DelDummy(_)
            | Self::Quiet(_)
            | Self::Restore(_)
            | Self::SetIpvs(_)
            | Self::RestoreIpvs(_)
            | Self::StartSync(..)
            | Self::StopSync(_) => Subject::Node,
            Self::AddAddress(key, _)
            | Self::DelAddress(key, _)
            | Self::AddRoute(key)
            | Self::DelRoute(key) => Subject::Vip(key.ip),
            Self::AddService(key, _)
            | Self::EditService(key, _)
            | Self::DelService(key)
            | Self::AddDestination(key, ..)
            | Self::EditDestination(key, ..)
            | Self::QuiesceDestination(key, _)
            | Self::DelDestination(key, _)
            | Self::DelForeignDestination(key, _) => Subject::Service(*key),
        }
    }

    /// A word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AddDummy(_) => "add_dummy",
            Self::DelDummy(_) => "del_dummy",
            Self::Quiet(_) => "quiet",
            Self::Restore(_) => "restore",
            Self::SetIpvs(_) => "set_ipvs",
            Self::RestoreIpvs(_) => "restore_ipvs",
            Self::StartSync(..) => "start_sync",
            Self::StopSync(_) => "stop_sync",
            Self::AddAddress(_, Role::Quiet) => "bind",
            Self::AddAddress(_, Role::Held) => "claim",
            Self::DelAddress(_, Role::Quiet) => "unbind",
            Self::DelAddress(_, Role::Held) => "yield",
            Self::AddRoute(_) => "add_route",
            Self::DelRoute(_) => "del_route",
            Self::AddService(..) => "add_service",
            Self::EditService(..) => "edit_service",
            Self::DelService(_) => "del_service",
            Self::AddDestination(..) => "add_destination",
            Self::EditDestination(..) => "edit_destination",
            Self::QuiesceDestination(..) => "quiesce_destination",
            Self::DelDestination(..) => "del_destination",
            Self::DelForeignDestination(..) => "del_foreign_destination",
        }
    }
}

impl fmt::Display for ArpChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.which {
            Arp::Ignore => "arp_ignore",
            Arp::Announce => "arp_announce",
        };
        // sysctl(8) takes slashes too, and then leaves the dots of a name such as eth0.5 alone.
        let separator = if self.dev.as_str().contains('.') {
            "/"
        } else {
            "."
        };
        let key = ["net", "ipv4", "conf", self.dev.as_str(), name].join(separator);
        write!(f, "sysctl -w {key}={}", self.to)
    }
}

impl fmt::Display for IpvsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to;
        match self.setting {
            // ipvsadm takes 0 for a timeout that stays.
            IpvsSetting::TcpTimeout => write!(f, "ipvsadm --set {to} 0 0"),
            IpvsSetting::TcpfinTimeout => write!(f, "ipvsadm --set 0 {to} 0"),
            IpvsSetting::UdpTimeout => write!(f, "ipvsadm --set 0 0 {to}"),
            IpvsSetting::ConnReuseMode
            | IpvsSetting::ExpireNodestConn
            | IpvsSetting::ExpireQuiescentTemplate
            | IpvsSetting::ScheduleIcmp
            | IpvsSetting::SloppyTcp
            | IpvsSetting::SyncThreshold => {
                write!(f, "sysctl -w net.ipv4.vs.{}={to}", self.setting)
            }
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddDummy(dev) => write!(f, "ip link add {dev} up type dummy"),
            Self::DelDummy(dev) => write!(f, "ip link del {dev}"),
            Self::Quiet(set) | Self::Restore(set) => set.fmt(f),
            Self::SetIpvs(set) | Self::RestoreIpvs(set) => set.fmt(f),
            Self::StartSync(half, SyncDaemon { dev, id }) => write!(
                f,
                "ipvsadm --start-daemon {half} --mcast-interface {dev} --syncid {id}"
            ),
            Self::StopSync(half) => write!(f, "ipvsadm --stop-daemon {half}"),
            Self::AddAddress(AddressKey { dev, ip }, _) => {
                write!(
                    f,
                    "ip addr add {ip}/{} dev {dev} proto {PROTOCOL_TAG}",
                    host_prefix(*ip)
                )
            }
            Self::DelAddress(AddressKey { dev, ip }, _) => {
                write!(f, "ip addr del {ip}/{} dev {dev}", host_prefix(*ip))
            }
            Self::AddRoute(AddressKey { dev, ip }) => {
                write!(
                    f,
                    "ip route add {ip}/{} dev {dev} proto {PROTOCOL_TAG}",
                    host_prefix(*ip)
                )
            }
            Self::DelRoute(AddressKey { dev, ip }) => {
                write!(
                    f,
                    "ip route del {ip}/{} dev {dev} proto {PROTOCOL_TAG}",
                    host_prefix(*ip)
                )
            }
            Self::AddService(key, service) => ipvsadm_service(f, "-A", key, service),
            Self::EditService(key, service) => ipvsadm_service(f, "-E", key, service),
            Self::DelService(key) => write!(f, "ipvsadm -D {}", service_arg(key)),
            Self::AddDestination(key, address, destination) => {
                ipvsadm_destination(f, "-a", key, *address, *destination)
            }
            Self::EditDestination(key, address, destination) => {
                ipvsadm_destination(f, "-e", key, *address, *destination)
            }
            Self::QuiesceDestination(key, address) => {
                ipvsadm_destination(f, "-e", key, *address, Destination::direct(0))
            }
            Self::DelDestination(key, address) => {
                let server = host_port(*address, key.port);
                write!(f, "ipvsadm -d {} -r {server}", service_arg(key))
            }
            Self::DelForeignDestination(key, server) => {
                write!(f, "ipvsadm -d {} -r {server}", service_arg(key))
            }
        }
    }
}

fn host_port(ip: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(ip, port).to_string()
}

fn service_arg(key: &ServiceKey) -> String {
    format!(
        "{} {}",
        key.protocol.ipvsadm_flag(),
        host_port(key.vip, key.port)
    )
}

fn ipvsadm_service(
    f: &mut fmt::Formatter<'_>,
    command: &str,
    key: &ServiceKey,
    service: &Service,
) -> fmt::Result {
    write!(
        f,
        "ipvsadm {command} {} -s {}",
        service_arg(key),
        service.scheduler
    )?;
    if let Some(persistence) = service.persistence {
        write!(f, " -p {}", persistence.timeout_seconds)?;
        if persistence.prefix_length != host_prefix(key.vip) {
            match key.vip {
                IpAddr::V4(_) => write!(f, " -M {}", netmask(persistence.prefix_length))?,
                IpAddr::V6(_) => write!(f, " -M {}", persistence.prefix_length)?,
            }
        }
    }
    let flags: Vec<String> = service
        .flags
        .iter()
        .map(|flag| flag.name(&service.scheduler))
        .collect();
    if !flags.is_empty() {
        write!(f, " -b {}", flags.join(","))?;
    }
    Ok(())
}

fn netmask(prefix_length: u8) -> std::net::Ipv4Addr {
    let host_bits = 32u32.saturating_sub(prefix_length.into());
    u32::MAX.checked_shl(host_bits).unwrap_or(0).into()
}

fn ipvsadm_destination(
    f: &mut fmt::Formatter<'_>,
    command: &str,
    key: &ServiceKey,
    address: IpAddr,
    destination: Destination,
) -> fmt::Result {
    let forward = match destination.forward {
        Forward::Direct | Forward::Local | Forward::Bypass => "-g",
        Forward::Tunnel => "-i",
        Forward::Masquerade => "-m",
    };
    let real_server = host_port(address, key.port);
    write!(
        f,
        "ipvsadm {command} {} -r {real_server} {forward} -w {}",
        service_arg(key),
        destination.weight
    )
}
