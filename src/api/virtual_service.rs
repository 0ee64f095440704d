//! The kind VirtualService as it is written by people.
//!
//! Numbers and names have the widest type here on purpose: a value out of range must reach
//! [`super::convert`], which names it, instead of failing somewhere inside a parser.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printcolumn has the same keys"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{health_check::HealthCheck, lists, rules};
use crate::model;

/// What a VirtualService asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "directway.dev",
    version = "v1alpha1",
    kind = "VirtualService",
    namespaced,
    shortname = "dvs",
    category = "directway",
    status = "VirtualServiceStatus",
    derive = "PartialEq",
    doc = "A VirtualService is one or two virtual IP addresses (VIPs) whose connections are spread over real servers by direct routing: requests pass a director, replies go straight to the client.",
    printcolumn(
        name = "VIP",
        type_ = "string",
        json_path = ".spec.vips[0]",
        description = "The first virtual IP address."
    ),
    printcolumn(
        name = "PORTS",
        type_ = "string",
        json_path = ".status.summary.ports",
        description = "Ports and protocols."
    ),
    printcolumn(
        name = "SCHEDULER",
        type_ = "string",
        json_path = ".spec.scheduler.name",
        description = "How new connections are spread."
    ),
    printcolumn(
        name = "HOLDER",
        type_ = "string",
        json_path = ".status.summary.holders",
        description = "The director that answers ARP for the VIP."
    ),
    printcolumn(
        name = "REAL SERVERS",
        type_ = "string",
        json_path = ".status.summary.realServers",
        description = "Real servers that get new connections, of all that are selected."
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether clients are served."
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation."
    ),
    printcolumn(
        name = "DIRECTORS",
        type_ = "string",
        json_path = ".status.summary.directors",
        description = "Directors that could hold the VIP now, of all that are selected.",
        priority = 1
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not, in one word.",
        priority = 1
    ),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Why it is ready or not.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::external_is_no_vip())]
#[x_kube(validation = rules::health_check_has_a_port())]
pub struct VirtualServiceSpec {
    /// The virtual IP addresses: one, or one IPv4 and one IPv6 address (dual stack). Every director and every real
    /// server carries them quietly; one director, the holder, answers ARP for them.
    #[schemars(length(min = 1, max = 2), inner(length(max = 45)))]
    #[x_kube(validation = rules::vips_are_addresses())]
    #[x_kube(validation = rules::vips_are_canonical())]
    #[x_kube(validation = rules::vips_are_unicast())]
    #[x_kube(validation = rules::vips_differ_in_family())]
    pub vips: Vec<String>,
    /// The ports that are served on every VIP. Direct routing cannot remap a port: real servers listen on the same one.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["port".into(), "protocol".into()]))]
    pub ports: Vec<Port>,
    /// How new connections are spread over the real servers. Default: consistent hashing of client address and port
    /// (mh with mh-port and mh-fallback), which sends a connection to the same real server whichever director gets it.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Keeps clients with their real server over several connections. Default: every connection is scheduled by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Which nodes may hold the VIPs, and where. Default: every node labelled directway.dev/director.
    #[serde(default)]
    pub directors: Directors,
    /// Which hosts answer the clients, and how they carry the VIPs.
    pub real_servers: RealServers,
    /// How directors find out whether a real server serves. One that fails gets no new connections, and keeps its open ones.
    /// If all fail, all get connections. Default: only the direct path of TCP ports is checked.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// How many seconds a real server that is leaving keeps its open connections. It gets no new ones meanwhile.
    #[serde(default = "default_drain")]
    #[schemars(range(min = 0, max = 86400))]
    pub drain_seconds: i64,
}

/// A served port.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// A name for people, such as http.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// The port number, on the VIP and on the real servers alike.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i64,
    /// The transport protocol.
    #[serde(default = "default_protocol")]
    #[schemars(description = lists::protocol(), extend("enum" = lists::protocols()))]
    pub protocol: String,
}

/// An IPVS scheduler.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::flags_belong_to_the_scheduler())]
pub struct Scheduler {
    /// The scheduler's name as ipvsadm knows it.
    #[serde(default = "default_scheduler")]
    #[schemars(description = lists::scheduler_name(), extend("enum" = lists::schedulers()))]
    pub name: String,
    /// The scheduler's flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        description = lists::scheduler_flags(),
        length(max = lists::most_flags()),
        extend("items" = {"type": "string", "maxLength": lists::longest_flag(), "enum": lists::flags()})
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub flags: Option<Vec<String>>,
}

/// Stickiness.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Persistence {
    /// How many seconds a client stays with its real server after its last connection has ended.
    #[schemars(range(min = 1, max = 2_678_400))]
    pub timeout_seconds: i64,
    /// How many leading bits of an IPv4 client's address count: clients of one network stay together. 32 = each alone.
    #[serde(default = "default_ipv4_prefix")]
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix_length: i64,
    /// How many leading bits of an IPv6 client's address count: clients of one network stay together. 128 = each alone.
    #[serde(default = "default_ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix_length: i64,
}

/// Who may hold the VIPs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Directors {
    /// Narrows the nodes labelled directway.dev/director to those with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// The name of the node that holds the VIPs whenever it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::preferred_is_a_node_name())]
    pub preferred: Option<String>,
    /// The interface that faces the clients: a name, or up to 8 with commas between them, the preferred first, where names
    /// differ between nodes; * stands for any characters (eno*,bond0). Default: the one whose network contains the VIP.
    /// With a name, the VIP may be of any network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127))]
    #[x_kube(validation = rules::are_interfaces())]
    pub interface: Option<String>,
}

/// Who answers the clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::some_source_of_real_servers())]
pub struct RealServers {
    /// Narrows the nodes labelled directway.dev/backend to those with these labels; {} selects all of them. Default:
    /// all of them if a service is named, else no node, external hosts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// A Service whose endpoints say which of the selected nodes get new connections: those where a ready one runs.
    /// Its pods are on the host's network (hostNetwork: true) and listen on the VIP's ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,
    /// The device that carries the VIPs on real servers: lo, the name of a dummy device (made if it is not there), or a
    /// network interface that carries nothing else.
    #[serde(default = "default_device")]
    #[schemars(length(min = 1, max = 15))]
    #[x_kube(validation = rules::is_device("spec.realServers.vipDevice"))]
    pub vip_device: String,
    /// How real servers are kept from answering ARP for the VIPs: sysctl sets arp_ignore and arp_announce on every
    /// interface that could receive the question.
    #[serde(default = "default_arp")]
    #[schemars(extend("enum" = lists::arp_modes()))]
    pub arp: String,
    /// The share of new connections of every selected node, 0 = none. A node's annotation directway.dev/weight
    /// overrides it.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 65535))]
    pub weight: i64,
    /// Whether real servers get a host route for each VIP to its device.
    #[serde(default)]
    pub host_route: bool,
    /// What kubectl cordon means for a node as a real server: Ignore, it gets connections as before; Drain, it gets no new
    /// ones, keeps its open ones for drainSeconds at most, and then gives the VIPs up, until kubectl uncordon.
    #[serde(default = "default_cordon_policy")]
    #[schemars(extend("enum" = lists::cordon_policies()))]
    pub cordon_policy: String,
    /// Real servers that are not nodes of the cluster. Whoever runs them binds the VIP there and keeps it quiet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = rules::external_are_addresses())]
    #[x_kube(validation = rules::external_are_canonical())]
    #[x_kube(validation = rules::external_are_unicast())]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["address".into()]))]
    pub external: Option<Vec<ExternalServer>>,
}

/// A Service in the VirtualService's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::is_service_name())]
    pub name: String,
}

/// A real server that is not a node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalServer {
    /// The host's own address, on a segment that the director reaches without a router.
    #[schemars(length(max = 45))]
    pub address: String,
    /// Its share of new connections, 0 = none.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 65535))]
    pub weight: i64,
}

/// Selects nodes by their labels. All requirements must hold; none at all selects every node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// Labels that a node must have with exactly these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), transform = lists::bound_labels)]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further requirements on labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub match_expressions: Option<Vec<SelectorRequirement>>,
}

/// A requirement on one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::values_fit_the_operator())]
pub struct SelectorRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What must hold: In and NotIn compare with values, Exists and DoesNotExist take none.
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    pub operator: String,
    /// The values that In and NotIn compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Option<Vec<String>>,
}

/// What the cluster makes of a VirtualService: observed, never intended. Written by the controller.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The virtual IP addresses in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 45)))]
    pub vips: Vec<String>,
    /// The node that answers ARP for each VIP now. A VIP that nobody holds is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["vip".into()]))]
    pub holders: Vec<Holder>,
    /// Nodes that may hold the VIPs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directors: Option<Count>,
    /// Hosts that answer the clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_servers: Option<Count>,
    /// The same as short texts, for the columns of kubectl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Accepted (the spec is valid and collides with no other), Programmed (the holder has done its part), Ready
    /// (programmed, and at least one real server gets new connections), VIPConflict (somebody else on the wire answers for a VIP),
    /// KubeProxyConflict (kube-proxy in ipvs mode deletes the VIP's services, or will) and NodeConflict (another program on a
    /// node undoes again and again what directway sets up there for a VIP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), transform = lists::bound_conditions)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Who answers ARP for a VIP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The VIP.
    #[schemars(length(max = 45))]
    pub vip: String,
    /// The name of the node.
    #[schemars(length(max = 253))]
    pub node: String,
}

/// How many there are, and how many of them can do their work.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// How many can do their work now.
    pub ready: i64,
    /// How many are selected.
    pub total: i64,
}

impl Count {
    /// `ready` of `total`.
    pub fn of(ready: usize, total: usize) -> Self {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            ready: number(ready),
            total: number(total),
        }
    }
}

/// Short texts for the columns of kubectl.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Ports and protocols, such as 80/TCP,443/TCP.
    #[schemars(length(max = 1024))]
    pub ports: String,
    /// The names of the nodes that hold the VIPs.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub holders: String,
    /// Real servers ready/total, such as 2/3.
    #[schemars(length(max = 64))]
    pub real_servers: String,
    /// Directors ready/total, such as 1/2.
    #[schemars(length(max = 64))]
    pub directors: String,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            name: default_scheduler(),
            flags: Some(lists::default_flag_names(&model::Scheduler::DEFAULT)),
        }
    }
}

fn default_scheduler() -> String {
    model::Scheduler::DEFAULT.name().to_owned()
}

fn default_protocol() -> String {
    model::Protocol::Tcp.name().to_owned()
}

fn default_device() -> String {
    "lo".to_owned()
}

fn default_arp() -> String {
    model::ArpMode::Sysctl.name().to_owned()
}

fn default_cordon_policy() -> String {
    model::CordonPolicy::Ignore.name().to_owned()
}

fn default_weight() -> i64 {
    1
}

fn default_drain() -> i64 {
    60
}

fn default_ipv4_prefix() -> i64 {
    32
}

fn default_ipv6_prefix() -> i64 {
    128
}
