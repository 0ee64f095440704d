//! The kind NodeState: what one node's agent observes, for the controller, for the other agents and for people.
//!
//! It stays short whatever the number of VirtualServices: what is as desired is written as ranges of
//! addresses, and only what differs is spelt out.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printcolumn has the same keys"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{lists, observed_generations::MAX_DIGEST};

/// How many ranges of addresses, or groups of VIPs, one list has at most.
pub(super) const MAX_RANGES: usize = 65_536;
/// How many entries with a text of their own one list has at most.
pub(super) const MAX_ENTRIES: usize = 16_384;
/// How many characters a sentence has at most.
pub(super) const MAX_TEXT: usize = 1024;
/// How many characters a name has at most: that of a node (RFC 1123), or NAMESPACE/NAME.
pub(super) const MAX_NAME: usize = 317;
/// How many characters a word of ours, a digest, a MAC or an interface's name has at most.
pub(super) const MAX_WORD: usize = 128;
/// The most patterns of devices.
pub(super) const MAX_DEVICES: usize = 256;
/// The most kinds of repairs.
const MAX_REPAIRS: usize = 64;
/// How many characters a range of addresses has at most.
pub(super) const MAX_RANGE: usize = 91;

/// Nothing is asked of a NodeState; all of it is status.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "directway.dev",
    version = "v1alpha1",
    kind = "NodeState",
    shortname = "dwn",
    no_spec,
    category = "directway",
    status = "NodeStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A NodeState is what the directway agent of the node with the same name observes there. Written by that agent alone.",
    printcolumn(
        name = "ROLES",
        type_ = "string",
        json_path = ".status.summary.roles",
        description = "Whether the node may hold VIPs, hosts applications, or both."
    ),
    printcolumn(
        name = "HELD",
        type_ = "integer",
        json_path = ".status.summary.held",
        description = "VIPs that the node answers ARP for."
    ),
    printcolumn(
        name = "BOUND",
        type_ = "integer",
        json_path = ".status.summary.bound",
        description = "VIPs that the node carries quietly."
    ),
    printcolumn(
        name = "SERVICES",
        type_ = "integer",
        json_path = ".status.services",
        description = "IPVS services that directway programmed."
    ),
    printcolumn(
        name = "REFUSED",
        type_ = "integer",
        json_path = ".status.summary.refused",
        description = "VirtualServices that the node cannot do its part for."
    ),
    printcolumn(
        name = "REPAIRED",
        type_ = "integer",
        json_path = ".status.drift",
        description = "Changes of others that directway put right since the agent's start.",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation."
    ),
    printcolumn(
        name = "VERSION",
        type_ = "string",
        json_path = ".status.agentVersion",
        description = "The agent's version.",
        priority = 1
    )
)]
pub struct NodeStateSpec {}

/// What the node's agent observes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeStateStatus {
    /// The version of the agent that wrote this.
    #[serde(default)]
    #[schemars(length(max = MAX_WORD))]
    pub agent_version: String,
    /// Which VirtualServices, in which generation, the agent had seen when it observed this: a digest for programs.
    #[serde(default)]
    #[schemars(length(max = MAX_DIGEST))]
    pub observed: String,
    /// What the node's labels make it: director, backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = MAX_WORD)))]
    pub roles: Vec<String>,
    /// The interfaces on which the node can answer ARP: all that have an address, and the first 16 that have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub networks: Vec<Network>,
    /// Addresses that can be no VIP because of this node, besides its own in `networks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub reserved: Vec<ReservedEntry>,
    /// The ARP settings that apply to all interfaces (net.ipv4.conf.all).
    #[serde(default)]
    pub arp_all: NodeArp,
    /// Devices that may carry VIPs: names, or * after the beginning of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_DEVICES), inner(length(max = MAX_WORD)))]
    pub vip_devices: Vec<String>,
    /// VIPs that the node carries while every interface keeps quiet about them, as addresses and ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub bound: Vec<String>,
    /// VIPs that the node answers ARP for, as addresses and ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub held: Vec<String>,
    /// VIPs of which the node, as a director, has not been able to serve everything lately, as addresses and ranges: another
    /// director that can serve everything holds them. `refused` and `preflight` say what it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub incomplete: Vec<String>,
    /// What the node's IPVS sends to whom; services with equal destinations share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES))]
    pub directing: Vec<DirectingEntry>,
    /// How many entries of `directing` were left out so that this object stays small; absent when none was. Other nodes
    /// take such a director for one that may send packets for any VIP that `directing` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directing_left_out: Option<i64>,
    /// VirtualServices for which the node cannot do its part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub refused: Vec<RefusedEntry>,
    /// VIPs that somebody else answers ARP for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub conflicts: Vec<ConflictEntry>,
    /// The last VIPs that came to the node, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub moves: Vec<MoveEntry>,
    /// Real servers of this director that get no new connections and are deleted when their open ones have ended, or
    /// `spec.drainSeconds` have passed. Absent when there is none, and in what agents of older releases write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub drains: Vec<DrainEntry>,
    /// VIPs that are served, with what endangers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub warnings: Vec<WarningEntry>,
    /// What the node lacks for directway's work; absent when it lacks nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub preflight: Vec<PreflightEntry>,
    /// How many IPVS services directway programmed.
    #[serde(default)]
    pub services: i64,
    /// How many destinations these services have.
    #[serde(default)]
    pub destinations: i64,
    /// How often the node's network was found changed by somebody else, and put right, since the agent started.
    #[serde(default)]
    pub drift: i64,
    /// What these changes were, by what directway did to put them right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REPAIRS))]
    pub repairs: Vec<RepairEntry>,
    /// The request to undo everything that the node follows; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoEntry>,
    /// How many entries were left out above, `directing` included, so that this object stays small; absent when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
    /// The same as numbers, for the columns of kubectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<NodeSummary>,
}

/// An interface and its networks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The interface's name.
    #[schemars(length(max = MAX_WORD))]
    pub interface: String,
    /// The kernel's index of the interface.
    #[serde(default)]
    pub index: i64,
    /// Its Ethernet address, by which other directors ask it where broadcasts do not get through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_WORD))]
    pub mac: Option<String>,
    /// Whether it is down or has no carrier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// Its networks, such as 192.168.188.0/24; link-local ones are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub subnets: Vec<String>,
    /// The node's own addresses in these networks: where it has no InternalIP, other directors know it by the lowest of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub addresses: Vec<String>,
    /// Its own ARP settings as they are without directway, which restores them in the end.
    #[serde(default)]
    pub arp: NodeArp,
}

/// Addresses that are the same to the node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReservedEntry {
    /// What they are to it.
    #[schemars(description = lists::reserved_as(), length(max = 64))]
    #[serde(rename = "as")]
    pub as_: String,
    /// The addresses, the first 256 of each kind.
    #[schemars(length(max = 256), inner(length(max = 45)))]
    pub addresses: Vec<String>,
}

/// The ARP settings of an interface.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeArp {
    /// arp_ignore: when to answer an ARP request.
    #[serde(default)]
    pub ignore: i64,
    /// arp_announce: which source address to use in ARP requests.
    #[serde(default)]
    pub announce: i64,
}

/// Services that have the same destinations.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DirectingEntry {
    /// The VIPs, as addresses and ranges.
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub vips: Vec<String>,
    /// The services' ports on these VIPs, such as 443/TCP; absent = all that no other entry names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_WORD)))]
    pub ports: Vec<String>,
    /// Real servers that get new connections, as addresses and ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub ready: Vec<String>,
    /// Real servers that get none, and why. One that is also in `ready` fails its health checks as all others do, and gets new
    /// connections for want of a better one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENTRIES))]
    pub unready: Vec<UnreadyEntry>,
    /// Real servers that left and keep their open connections, as addresses and ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub draining: Vec<String>,
}

/// A real server with something wrong.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UnreadyEntry {
    /// Its address.
    #[schemars(length(max = MAX_RANGE))]
    pub address: String,
    /// Why, in one word.
    #[schemars(length(max = MAX_WORD))]
    pub reason: String,
    /// Why, and what to do.
    #[schemars(length(max = MAX_TEXT))]
    pub message: String,
}

/// VirtualServices that are refused for the same reason.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RefusedEntry {
    /// Which ones, as namespace/name.
    #[schemars(length(max = MAX_ENTRIES), inner(length(max = MAX_NAME)))]
    pub virtual_services: Vec<String>,
    /// Why, in one word.
    #[schemars(length(max = MAX_WORD))]
    pub reason: String,
    /// Why, and what to do.
    #[schemars(length(max = MAX_TEXT))]
    pub message: String,
}

/// A VIP that somebody else answers ARP for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConflictEntry {
    /// The VIP.
    #[schemars(length(max = MAX_RANGE))]
    pub vip: String,
    /// The interface on which the answers came.
    #[schemars(length(max = MAX_WORD))]
    pub interface: String,
    /// The node's own MAC there, if it holds the VIP itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_WORD))]
    pub mac: Option<String>,
    /// Who answered.
    #[schemars(length(max = MAX_ENTRIES))]
    pub rivals: Vec<RivalEntry>,
}

/// A host that answers for a VIP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RivalEntry {
    /// Its MAC.
    #[schemars(length(max = MAX_WORD))]
    pub mac: String,
    /// The node that it is, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME))]
    pub node: Option<String>,
}

/// VIPs that came to the node together.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MoveEntry {
    /// When, by the node's clock (RFC 3339).
    #[schemars(length(max = MAX_WORD))]
    pub at: String,
    /// The VIPs, as addresses and ranges.
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub vips: Vec<String>,
    /// The director that had them; absent where nobody had, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME))]
    pub from: Option<String>,
    /// Why.
    #[schemars(description = lists::causes(), length(max = MAX_WORD))]
    pub cause: String,
    /// How long that took, in milliseconds: since they were known to be vacant, or since the move began.
    pub milliseconds: i64,
}

/// A real server that keeps its open connections for a while.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DrainEntry {
    /// Its address.
    #[schemars(length(max = MAX_RANGE))]
    pub address: String,
    /// How many connections are open over all services, to two digits; counted every few seconds.
    pub connections: i64,
    /// When it is deleted from the last service at the latest, by the node's clock (RFC 3339).
    #[schemars(length(max = MAX_WORD))]
    pub until: String,
}

/// VIPs that are endangered in the same way.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WarningEntry {
    /// The VIPs, as addresses and ranges.
    #[schemars(length(max = MAX_RANGES), inner(length(max = MAX_RANGE)))]
    pub vips: Vec<String>,
    /// By what, in one word.
    #[schemars(length(max = MAX_WORD))]
    pub reason: String,
    /// By what, and what to do.
    #[schemars(length(max = MAX_TEXT))]
    pub message: String,
}

/// Changes of one kind that others made and directway put right.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RepairEntry {
    /// What directway did, in one word, as in its log and its metrics.
    #[schemars(length(max = MAX_WORD))]
    pub op: String,
    /// How often since the agent's start.
    pub count: i64,
    /// When first, by the node's clock.
    #[schemars(length(max = MAX_WORD))]
    pub first: String,
    /// When last.
    #[schemars(length(max = MAX_WORD))]
    pub last: String,
    /// The last time, as a command.
    #[schemars(length(max = MAX_TEXT))]
    pub example: String,
}

/// Something that the node lacks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightEntry {
    /// What was checked, in one word.
    #[schemars(length(max = MAX_WORD))]
    pub check: String,
    /// What was found.
    #[schemars(length(max = MAX_TEXT))]
    pub message: String,
    /// What to do.
    #[schemars(length(max = MAX_TEXT))]
    pub fix: String,
}

/// How far the node is with undoing everything.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UndoEntry {
    /// The request, as the ConfigMap that asks for it names it.
    #[schemars(length(max = MAX_TEXT))]
    pub request: String,
    /// Whether nothing of directway's is left in the node's kernel.
    #[serde(default)]
    pub done: bool,
}

/// Numbers for the columns of kubectl.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// The roles as one text.
    #[schemars(length(max = MAX_WORD))]
    pub roles: String,
    /// How many VIPs the node answers ARP for.
    pub held: i64,
    /// How many VIPs it carries quietly.
    pub bound: i64,
    /// How many VirtualServices it cannot do its part for.
    pub refused: i64,
}
