/// The order of a plan: ops of a phase run only after those of all earlier ones.
///
/// The order is the safety rule. A node leaves the clients' sight before it stops serving (`Yield`
/// comes first), is quiet before it carries a VIP (`Quiet` < `Bind`), has its destinations before it
/// answers ARP (`AddDestination` < `Claim`), lets a destination run dry before deleting it
/// (`Quiesce` < `DelDestination`), and restores sysctls only when no VIP is left (`Unbind` < `Restore`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// VIPs leave the NIC.
    Yield,
    /// Host routes are deleted: before new ones, because one address has one host route.
    DelRoute,
    /// ARP settings that make the node quiet.
    Quiet,
    /// Dummy devices are created.
    AddDevice,
    /// VIPs are bound to their quiet device.
    Bind,
    /// Host routes.
    AddRoute,
    /// IPVS services are added and changed.
    AddService,
    /// Destinations are added and changed.
    AddDestination,
    /// Daemons that exchange connections stop: before others take their place.
    StopSync,
    /// And start: a connection that is told of finds its destination.
    StartSync,
    /// Destinations lose their weight.
    Quiesce,
    /// Destinations without weight are deleted.
    DelDestination,
    /// IPVS services are deleted.
    DelService,
    /// VIPs leave their quiet device.
    Unbind,
    /// Dummy devices are deleted.
    DelDevice,
    /// ARP settings are restored.
    Restore,
    /// VIPs are added to the NIC. No plan holds it: the election probes, claims and announces, and only where all before is done.
    Claim,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 17] = [
        Self::Yield,
        Self::DelRoute,
        Self::Quiet,
        Self::AddDevice,
        Self::Bind,
        Self::AddRoute,
        Self::AddService,
        Self::AddDestination,
        Self::StopSync,
        Self::StartSync,
        Self::Quiesce,
        Self::DelDestination,
        Self::DelService,
        Self::Unbind,
        Self::DelDevice,
        Self::Restore,
        Self::Claim,
    ];
}
