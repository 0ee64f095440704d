/// The order of a plan: ops of a phase run only after those of all earlier ones.
///
/// The order is the safety rule. A node leaves the clients' sight before it stops serving (`Yield`
/// comes first), is quiet before it carries a VIP (`Quiet` < `Bind`), has its destinations before it
/// answers ARP (`Direct` < `Claim`), lets a destination run dry before deleting it
/// (`Quiesce` < `Remove`), and restores sysctls only when no VIP is left (`Unbind` < `Restore`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// VIPs leave the NIC.
    Yield,
    /// Host routes are deleted: before new ones, because one address has one host route.
    Unroute,
    /// ARP settings that make the node quiet.
    Quiet,
    /// Dummy devices are created.
    Device,
    /// VIPs are bound to their quiet device.
    Bind,
    /// Host routes.
    Route,
    /// IPVS services are added and changed.
    Serve,
    /// Destinations are added and changed.
    Direct,
    /// Daemons that exchange connections stop: before others take their place.
    Desync,
    /// And start: a connection that is told of finds its destination.
    Sync,
    /// Destinations lose their weight.
    Quiesce,
    /// Destinations without weight are deleted.
    Remove,
    /// IPVS services are deleted.
    Unserve,
    /// VIPs leave their quiet device.
    Unbind,
    /// Dummy devices are deleted.
    Undevice,
    /// ARP settings are restored.
    Restore,
    /// VIPs are added to the NIC. No plan holds it: the election probes, claims and announces, and only where all before is done.
    Claim,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 17] = [
        Self::Yield,
        Self::Unroute,
        Self::Quiet,
        Self::Device,
        Self::Bind,
        Self::Route,
        Self::Serve,
        Self::Direct,
        Self::Desync,
        Self::Sync,
        Self::Quiesce,
        Self::Remove,
        Self::Unserve,
        Self::Unbind,
        Self::Undevice,
        Self::Restore,
        Self::Claim,
    ];
}
