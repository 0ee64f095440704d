//! What a node's kernel has, as a document: `directway observe -o json` writes it, `directway plan --observed` reads
//! it back. Each entry has its owner; the reader makes the ledger of that.

mod read;
mod text;
mod write;

pub use read::BadObservation;
pub use text::text;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

/// The only format so far.
pub const VERSION: u32 = 1;

/// One look at a node's kernel.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// The format: [`VERSION`].
    pub version: u32,
    /// Why IPVS cannot be used; absent if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvs_missing: Option<String>,
    /// `net.ipv4.conf.all.*`.
    #[serde(default)]
    pub arp_all: Arp,
    /// Interfaces.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Host-sized addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// Host routes in the main table.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Next hops of the routes of all tables.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub next_hops: BTreeSet<IpAddr>,
    /// IPVS services.
    #[serde(default)]
    pub services: Vec<Service>,
    /// How many IPVS services by firewall mark there are.
    #[serde(default)]
    pub fwmark_services: usize,
    /// Settings of IPVS (`net.ipv4.vs.*`) that directway may change, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ipvs_settings: BTreeMap<String, IpvsSetting>,
    /// IPVS daemons that exchange connections with other directors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_daemons: Vec<SyncDaemon>,
}

/// An IPVS daemon that sends or receives connections.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncDaemon {
    /// master (sends) or backup (receives).
    pub role: SyncRole,
    /// Its interface.
    pub interface: String,
    /// Its group of directors.
    pub sync_id: u32,
    /// Whose it is.
    #[serde(default)]
    pub owner: Owner,
}

/// What a daemon does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SyncRole {
    /// Sends.
    Master,
    /// Receives.
    Backup,
}

/// A setting of IPVS.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpvsSetting {
    /// Its present value.
    pub value: u32,
    /// The values before and after directway changed it; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// Whose an entry is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// directway owns the entry: it may change and remove it.
    Ours,
    /// Another program or a person owns it: directway never touches it.
    #[default]
    Foreign,
}

/// `arp_ignore` and `arp_announce`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arp {
    /// `arp_ignore`.
    #[serde(default)]
    pub ignore: u32,
    /// `arp_announce`.
    #[serde(default)]
    pub announce: u32,
}

/// A network interface.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Its Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// loopback, dummy or other.
    #[serde(default)]
    pub kind: Kind,
    /// Administratively up.
    #[serde(default = "yes")]
    pub up: bool,
    /// The link has a carrier.
    #[serde(default = "yes")]
    pub carrier: bool,
    /// Takes part in ARP.
    #[serde(default = "yes")]
    pub arp_capable: bool,
    /// A port of a bridge or bond.
    #[serde(default)]
    pub enslaved: bool,
    /// Addresses with their network, host-sized ones left out.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its own ARP settings.
    #[serde(default)]
    pub arp: Arp,
    /// What the kernel acts on: the greater of its own and conf/all. For people; a reader computes it.
    #[serde(default)]
    pub effective_arp: Arp,
    /// Whether the node does not answer ARP for VIPs of other devices here. For people; a reader computes it.
    #[serde(default)]
    pub quiet: bool,
    /// Whose the interface is: ours is a dummy that directway made.
    #[serde(default)]
    pub owner: Owner,
    /// ARP settings that directway changed, by the setting's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed_arp: BTreeMap<String, Changed>,
}

fn yes() -> bool {
    true
}

/// A setting that directway changed.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changed {
    /// The value before, to be restored.
    pub before: u32,
    /// The value that directway set.
    pub set: u32,
}

/// Kinds of interfaces.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `lo`.
    Loopback,
    /// A dummy device.
    Dummy,
    /// Anything else.
    #[default]
    Other,
}

/// A host-sized address.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The device that carries it.
    pub interface: String,
    /// Whether the node answers ARP for it there.
    pub held: bool,
    /// Whose it is.
    #[serde(default)]
    pub owner: Owner,
    /// The protocol number that it is tagged with (`IFA_PROTO`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Seconds until the kernel removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u32>,
}

/// A host route.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The destination.
    pub address: IpAddr,
    /// Where it leads.
    pub interface: String,
    /// Whose it is, by its protocol number.
    #[serde(default)]
    pub owner: Owner,
}

/// An IPVS service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The VIP.
    pub vip: IpAddr,
    /// The port.
    pub port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// The scheduler's name.
    pub scheduler: String,
    /// The scheduler's flags by ipvsadm's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Stickiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Its destinations.
    #[serde(default)]
    pub destinations: Vec<Destination>,
    /// Whose it is.
    #[serde(default)]
    pub owner: Owner,
}

/// Stickiness of a service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Persistence {
    /// How long a client stays with its real server.
    pub timeout_seconds: u32,
    /// How many bits of the client's address count.
    pub prefix_length: u8,
}

/// A destination: a real server in a service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Its address.
    pub address: IpAddr,
    /// Its port, if that is not its service's: another program added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its weight.
    pub weight: u32,
    /// How packets reach it.
    #[serde(default)]
    pub forward: Forward,
    /// Connections of a destination with weight 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
}

/// Connections of a destination as IPVS counts them.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connections {
    /// Established, as far as IPVS knows.
    pub active: u32,
    /// All others.
    pub inactive: u32,
}

/// How packets reach a real server.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// Direct routing.
    #[default]
    Direct,
    /// To a socket of this node.
    Local,
    /// A tunnel.
    Tunnel,
    /// Address translation.
    Masquerade,
    /// Sent to the packet's own destination address (`IP_VS_CONN_F_BYPASS`).
    Bypass,
}
