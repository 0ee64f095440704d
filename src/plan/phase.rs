/// The order of a plan: ops of a phase run only after those of all earlier ones.
///
/// The order keeps clients' connections safe. A node takes a VIP off the NIC before it stops serving (`Yield`
/// comes first), is quiet before it binds a VIP (`Quiet` < `Bind`), has its destinations before it answers ARP
/// (`AddDestination` < `Claim`), sets a destination's weight to 0 before it deletes it (`Quiesce` <
/// `DelDestination`), and restores sysctls only after VIPs are unbound (`Unbind` < `Restore`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// VIPs leave the NIC.
    Yield,
    /// Host routes are deleted, before new ones are added: an address can have only one.
    DelRoute,
    /// ARP settings are changed so that the node is quiet.
    Quiet,
    /// Dummy devices are created.
    AddDevice,
    /// VIPs are bound to their quiet device.
    Bind,
    /// Host routes are added.
    AddRoute,
    /// IPVS services are added and changed, and settings of IPVS are changed.
    AddService,
    /// Destinations are added and changed.
    AddDestination,
    /// Synchronisation daemons stop, before others take their place.
    StopSync,
    /// Synchronisation daemons start: the destinations of connections that they receive are there now.
    StartSync,
    /// Destinations get weight 0.
    Quiesce,
    /// Destinations of weight 0 are deleted.
    DelDestination,
    /// IPVS services are deleted.
    DelService,
    /// VIPs leave their quiet device.
    Unbind,
    /// Dummy devices are deleted.
    DelDevice,
    /// ARP settings, and settings of IPVS, are restored.
    Restore,
    /// VIPs are added to the NIC. No plan contains this: the election claims, once all earlier phases are done.
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
