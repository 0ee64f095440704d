use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::wire::{Message, Received};

use super::{KernelError, OpError};

/// A director's NIC on a segment, as far as the election needs it: clock, link state, VIPs and frames. The real kernel
/// and the simulated LAN implement it, so the same election runs on both.
pub trait SegmentNic {
    /// Time since the machine booted, including the time that it was suspended.
    fn now(&self) -> Duration;

    /// The NIC's state in the kernel; `None` if there is no such device any more.
    fn look(&mut self) -> Result<Option<NicState>, KernelError>;

    /// Adds VIPs, which the kernel removes after `lifetime`; `None` = never. One result each, in their order.
    fn add(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>>;

    /// Sets another lifetime for VIPs that are on the NIC. The kernel adds those that are not.
    fn renew(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>>;

    /// Removes VIPs.
    fn remove(&mut self, vips: &BTreeSet<IpAddr>) -> Vec<Result<(), OpError>>;

    /// Sends a message; `own` is the NIC's address, the sender address of requests with `Sender::Own`. Returns how many
    /// frames that took.
    fn send(&mut self, own: IpAddr, message: &Message) -> Result<usize, KernelError>;

    /// The next frame that has arrived; `None` if there is none now.
    fn receive(&mut self) -> Result<Option<Received>, KernelError>;

    /// How many frames the kernel dropped since the last call, because they were not received in time.
    fn lost(&mut self) -> Result<u32, KernelError>;
}

/// A NIC's link and VIPs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicState {
    /// Whether it is up and has a carrier.
    pub carrier: bool,
    /// Host-sized addresses with our tag, or with none as on kernels before 5.18.
    pub vips: BTreeSet<IpAddr>,
}
