//! A simulator of kernels on segments, with the errnos and rules of real ones.
//!
//! A [`FakeLan`] holds [`Machine`]s – nodes, clients, strangers – whose NICs are on segments (broadcast domains).
//! [`FakeLan::kernel`] is a node's [`Kernel`](super::Kernel); the frames that it sends reach the other machines.
//! [`FakeLan::nic`] is a NIC for an election.
//! [`FakeLan::send`] follows a virtual connection and returns which machine answered it or where it was lost. A test
//! sets up machines with the methods of [`Machine`], as a person would with `ip` and `ipvsadm`.
//!
//! Refusals, ARP and scheduling follow the kernel's sources (named where they matter), because tests on a more lenient
//! simulator prove nothing. The contract suite in `tests/contract` runs on this and on real kernels alike.

mod apply;
mod arp;
mod effects;
mod errno;
mod handle;
mod ipvs;
mod lan;
mod log;
mod machine;
mod misfortune;
mod nic;
mod observe;
mod routing;
mod rtnl;
mod schedule;
mod table;
mod trace;
mod world;

pub use errno::Errno;
pub use handle::FakeKernel;
pub use lan::FakeLan;
pub use log::Event;
pub use machine::Machine;
pub use misfortune::Misfortune;
pub use nic::FakeNic;
pub use table::Flow;
pub use trace::{ArpRequest, Delivery, Hop, Loss, Trace};

#[cfg(test)]
mod tests;
