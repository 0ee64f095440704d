//! The vocabulary: plain values that all other modules use.
//!
//! Nothing here does I/O, knows Kubernetes or depends on time.

mod cluster;
mod conflict;
mod drain;
mod elected;
mod endpoints;
mod health_check;
mod interfaces;
mod ipvs_setting;
mod kube_proxy;
mod ledger;
mod link;
mod mac;
mod moves;
mod names;
mod net;
mod observed;
mod preflight;
mod ranges;
mod reason;
mod repair;
mod reserved;
mod scheduler;
mod selector;
mod service;
mod sync_daemon;
mod vip_devices;
mod virtual_service;
mod words;

pub use cluster::{Directing, Node, PeerState, Peers, Snapshot};
pub use conflict::{Conflict, Rivals};
pub use drain::Drain;
pub use elected::Elected;
pub use endpoints::{Endpoint, EndpointPorts, EndpointState, Endpoints, Slice, Slices};
pub use health_check::{
    ApplicationCheck, ApplicationRequest, CheckTimers, CheckType, HealthCheck, HttpMethod,
    HttpRequest, HttpsRequest, Verification,
};
pub use interfaces::{Interfaces, InvalidInterfaces};
pub use ipvs_setting::{DEFAULT_TCP_TIMEOUT, IpvsSetting, UnknownIpvsSetting};
pub use kube_proxy::{KubeProxy, PROXY_FIX, ProxyAnswer, ProxyDanger, has_proxy_device};
pub use ledger::{Ledger, SettingChange};
pub use link::{Arp, ArpReading, ArpSettings, Link, LinkKind};
pub use mac::{Mac, ParseMacError};
pub use moves::{Move, TakeCause};
pub use names::{Dev, InvalidDev, NodeName, ServiceName, VsKey};
pub use net::{AddressKey, NodeNet, Role, host_prefix};
pub use observed::{
    Answer, Connections, ForeignTag, Ipvs, Observed, ObservedAddress, Reach, WireEvidence,
};
pub use preflight::{Preflight, PreflightCheck};
pub use ranges::{IpRanges, ParseRangeError};
pub use reason::{Reason, Refusal};
pub use repair::Repair;
pub use reserved::{Reserved, ReservedAs};
pub use scheduler::{Flag, Scheduler, UnknownScheduler};
pub use selector::{Operator, Requirement, Selector};
pub use service::{
    Destination, Forward, ParseProtocolError, Persistence, Protocol, Service, ServiceKey,
};
pub use sync_daemon::{SyncDaemon, SyncDaemons, SyncHalf};
pub use vip_devices::{DevicePattern, InvalidPattern, VipDevices};
pub use virtual_service::{
    ArpMode, CordonPolicy, DirectorPolicy, ExternalServer, ParsePortError, Port, RealServerPolicy,
    VirtualService,
};
pub use words::listed;
pub(crate) use words::words;

/// The protocol number that marks addresses and routes as directway's
/// (`IFA_PROTO`, `RTA_PROTOCOL`): unassigned in iproute2's `rt_protos`.
pub const PROTOCOL_TAG: u8 = 215;

/// Label of nodes that may own VIPs (`true` or empty).
pub const DIRECTOR_LABEL: &str = "directway.dev/director";
/// Label of nodes that host applications and hold VIPs quietly (`true` or empty).
pub const BACKEND_LABEL: &str = "directway.dev/backend";
/// Node annotation that overrides `spec.realServers.weight`.
pub const WEIGHT_ANNOTATION: &str = "directway.dev/weight";
/// Node annotation that takes a real server out of use; every value but `false` does.
pub const DRAIN_ANNOTATION: &str = "directway.dev/drain";
