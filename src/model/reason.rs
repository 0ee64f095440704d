use std::fmt;

/// Why something is not (yet) as its VirtualService asks: the closed set behind every condition,
/// event, metric and log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A field of the object has a value that admission would have refused.
    InvalidSpec,
    /// An older VirtualService claims the same VIP, port and protocol.
    PortClaimed,
    /// Another VirtualService with the same VIP wants it held or carried differently.
    VipShapeDiffers,
    /// The VIP is a node's own address.
    VipIsNodeAddress,
    /// IPv6 cannot be served yet.
    Ipv6NotServed,
    /// No node is labelled and selected as a director.
    NoDirector,
    /// No node or external host is selected as a real server.
    NoRealServers,
    /// No endpoint of the Service runs on a selected node.
    NoEndpoints,
    /// The endpoint on the node is not ready.
    EndpointNotReady,
    /// The endpoint on the node is a pod with a network of its own, which direct routing does not reach.
    EndpointOnPodNetwork,
    /// The endpoint on the node listens on another port than the VIP's.
    EndpointPortDiffers,
    /// A node lacks an address of the VIP's family.
    NoNodeAddress,
    /// The node's weight annotation is not a weight.
    InvalidWeightAnnotation,
    /// No interface of the node is in the VIP's network, or the named one does not exist.
    NoInterface,
    /// The device named as `vipDevice` carries something else, or does not exist.
    DeviceInUse,
    /// A stricter sysctl on the node (`arp_ignore` 3–7) cannot be made quiet.
    NotQuiet,
    /// The kernel has no IPVS.
    IpvsMissing,
    /// The kernel lacks the scheduler's module.
    SchedulerMissing,
    /// An IPVS service with the same key is there and is not ours.
    ForeignService,
    /// Somebody else on the wire answers for the VIP.
    VipConflict,
    /// The ledger cannot be written, so nothing may be changed.
    LedgerUnwritable,
    /// The kernel refused an operation.
    KernelRefused,
    /// The real server's agent has not reported the VIP bound and quiet.
    NotBound,
    /// The real server is behind a router.
    NotOnSegment,
    /// Nobody on the segment answers for the real server's address.
    Unreachable,
    /// The real server is leaving; its connections go on until it is drained.
    Draining,
    /// kube-proxy is in ipvs mode, and nobody tells whether it leaves the VIP's services alone.
    KubeProxyUnknown,
    /// kube-proxy is in ipvs mode, and the VIP is not in its excludeCIDRs.
    KubeProxyIpvs,
    /// kube-proxy in ipvs mode has deleted the VIP's services.
    KubeProxyDeletes,
    /// Not yet seen by the node concerned.
    Pending,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::InvalidSpec,
        Self::PortClaimed,
        Self::VipShapeDiffers,
        Self::VipIsNodeAddress,
        Self::Ipv6NotServed,
        Self::NoDirector,
        Self::NoRealServers,
        Self::NoEndpoints,
        Self::EndpointNotReady,
        Self::EndpointOnPodNetwork,
        Self::EndpointPortDiffers,
        Self::NoNodeAddress,
        Self::InvalidWeightAnnotation,
        Self::NoInterface,
        Self::DeviceInUse,
        Self::NotQuiet,
        Self::IpvsMissing,
        Self::SchedulerMissing,
        Self::ForeignService,
        Self::VipConflict,
        Self::LedgerUnwritable,
        Self::KernelRefused,
        Self::NotBound,
        Self::NotOnSegment,
        Self::Unreachable,
        Self::Draining,
        Self::KubeProxyUnknown,
        Self::KubeProxyIpvs,
        Self::KubeProxyDeletes,
        Self::Pending,
    ];

    /// The CamelCase word of conditions and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::PortClaimed => "PortClaimed",
            Self::VipShapeDiffers => "VIPShapeDiffers",
            Self::VipIsNodeAddress => "VIPIsNodeAddress",
            Self::Ipv6NotServed => "IPv6NotServed",
            Self::NoDirector => "NoDirector",
            Self::NoRealServers => "NoRealServers",
            Self::NoEndpoints => "NoEndpoints",
            Self::EndpointNotReady => "EndpointNotReady",
            Self::EndpointOnPodNetwork => "EndpointOnPodNetwork",
            Self::EndpointPortDiffers => "EndpointPortDiffers",
            Self::NoNodeAddress => "NoNodeAddress",
            Self::InvalidWeightAnnotation => "InvalidWeightAnnotation",
            Self::NoInterface => "NoInterface",
            Self::DeviceInUse => "DeviceInUse",
            Self::NotQuiet => "NotQuiet",
            Self::IpvsMissing => "IPVSMissing",
            Self::SchedulerMissing => "SchedulerMissing",
            Self::ForeignService => "ForeignService",
            Self::VipConflict => "VIPConflict",
            Self::LedgerUnwritable => "LedgerUnwritable",
            Self::KernelRefused => "KernelRefused",
            Self::NotBound => "NotBound",
            Self::NotOnSegment => "NotOnSegment",
            Self::Unreachable => "Unreachable",
            Self::Draining => "Draining",
            Self::KubeProxyUnknown => "KubeProxyUnknown",
            Self::KubeProxyIpvs => "KubeProxyIPVS",
            Self::KubeProxyDeletes => "KubeProxyDeletes",
            Self::Pending => "Pending",
        }
    }

    /// The reason whose name this is.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A "no" with its reason; the message names the field or object, the value and the fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// From the closed set.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
