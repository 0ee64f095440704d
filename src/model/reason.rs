use super::words;

words! {
    /// Why something is not (yet) as its VirtualService asks: the closed set behind every condition,
    /// event, metric and log line.
    pub enum Reason {
        /// A field of the object has a value that admission would have refused.
        InvalidSpec = "InvalidSpec",
        /// An older VirtualService claims the same VIP, port and protocol.
        PortClaimed = "PortClaimed",
        /// An older VirtualService with the same VIP has other `spec.directors`.
        VipShapeDiffers = "VIPShapeDiffers",
        /// The VIP is a node's own address.
        VipIsNodeAddress = "VIPIsNodeAddress",
        /// The VIP is a router's or the API server's address, or one of a network as a whole.
        VipReserved = "VIPReserved",
        /// IPv6 cannot be served yet.
        Ipv6NotServed = "IPv6NotServed",
        /// No node is labelled and selected as a director.
        NoDirector = "NoDirector",
        /// No node or external host is selected as a real server.
        NoRealServers = "NoRealServers",
        /// No endpoint of the Service runs on a selected node.
        NoEndpoints = "NoEndpoints",
        /// The endpoint on the node is not ready.
        EndpointNotReady = "EndpointNotReady",
        /// The endpoint on the node is a pod with a network of its own, which direct routing does not reach.
        EndpointOnPodNetwork = "EndpointOnPodNetwork",
        /// The endpoint on the node listens on another port than the VIP's.
        EndpointPortDiffers = "EndpointPortDiffers",
        /// A node lacks an address of the VIP's family.
        NoNodeAddress = "NoNodeAddress",
        /// Another node has the node's address, too.
        NodeAddressShared = "NodeAddressShared",
        /// The node's weight annotation is not a weight.
        InvalidWeightAnnotation = "InvalidWeightAnnotation",
        /// No interface of the node is in the VIP's network, or the named one does not exist.
        NoInterface = "NoInterface",
        /// The device named as `vipDevice` carries something else, or does not exist.
        DeviceInUse = "DeviceInUse",
        /// The device named as `vipDevice` is none that the node's administrator allows.
        DeviceNotAllowed = "DeviceNotAllowed",
        /// `arp_ignore` 3–7 in `conf/all` keeps the node from being quiet, or a real server answers ARP for the VIP.
        NotQuiet = "NotQuiet",
        /// The director's ARP settings keep it from answering for the VIP.
        CannotAnswer = "CannotAnswerARP",
        /// The kernel has no IPVS.
        IpvsMissing = "IPVSMissing",
        /// The kernel lacks the scheduler's module.
        SchedulerMissing = "SchedulerMissing",
        /// An IPVS service with the same key is there and is not ours.
        ForeignService = "ForeignService",
        /// Another host on the segment answers for the VIP.
        VipConflict = "VIPConflict",
        /// The ledger cannot be written, so nothing may be changed.
        LedgerUnwritable = "LedgerUnwritable",
        /// The kernel refused an operation.
        KernelRefused = "KernelRefused",
        /// The real server's agent has not reported the VIP bound and quiet.
        NotBound = "NotBound",
        /// The real server is behind a router.
        NotOnSegment = "NotOnSegment",
        /// No host on the segment answers for the real server's address.
        Unreachable = "Unreachable",
        /// The real server fails a health check.
        HealthCheckFailed = "HealthCheckFailed",
        /// The real server is leaving; its connections go on until it is drained.
        Draining = "Draining",
        /// kube-proxy is in ipvs mode, and whether the VIP is in its excludeCIDRs is unknown.
        KubeProxyUnknown = "KubeProxyUnknown",
        /// kube-proxy is in ipvs mode, and the VIP is not in its excludeCIDRs.
        KubeProxyIpvs = "KubeProxyIPVS",
        /// kube-proxy in ipvs mode has deleted the VIP's services.
        KubeProxyDeletes = "KubeProxyDeletes",
        /// Another program on a node undoes again and again what directway sets up there.
        Overwritten = "Overwritten",
        /// A report on which this rests is out of date: the node's kubelet or its agent is silent.
        ReportStale = "ReportStale",
        /// Not yet read, probed or reported by the node concerned.
        Pending = "Pending",
    }
}

/// Why something is refused; the message names the field or object, the value and the fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// From the closed set.
    pub reason: Reason,
    /// For users.
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
