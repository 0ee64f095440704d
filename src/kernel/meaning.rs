//! What an errno means for an op, and what to do about it.

use std::fmt::Display;

use libc::{
    EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, EINVAL, ENETDOWN, ENODEV, ENOENT, EOPNOTSUPP,
    EPERM, ESRCH,
};

use crate::plan::Op;

use super::OpError;

/// The error text wherever the kernel lacks IPVS.
pub const NO_IPVS: &str = "this kernel has no IPVS: load module ip_vs on the node (modprobe ip_vs), or boot a kernel built \
                           with CONFIG_IP_VS";
/// The error text wherever the process lacks CAP_NET_ADMIN.
pub const NO_RIGHTS: &str =
    "not permitted: give the process CAP_NET_ADMIN in the node's network namespace";

/// The kinds of refusals that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The thing to add is there already.
    AlreadyThere,
    /// The thing to change or delete is not there.
    NotThere,
    /// The kernel has no such scheduler.
    NoScheduler,
    /// The kernel has no IPVS at all.
    NoIpvs,
    /// There is no such device.
    NoDevice,
    /// The device has no IPv4.
    NoIpv4,
    /// The process lacks a capability.
    NotPermitted,
    /// Anything else; the message explains it.
    Other,
}

impl RefusalKind {
    fn of(op: &Op, errno: i32) -> Self {
        match (op, errno) {
            (Op::AddService(..) | Op::EditService(..), ENOENT) => Self::NoScheduler,
            (_, EEXIST) => Self::AlreadyThere,
            (_, ENOENT | ESRCH | EADDRNOTAVAIL) => Self::NotThere,
            (_, ENODEV) => Self::NoDevice,
            (Op::Quiet(_) | Op::Restore(_), EAFNOSUPPORT) => Self::NoIpv4,
            (_, EPERM) => Self::NotPermitted,
            _ => Self::Other,
        }
    }
}

/// A refusal of `op`; `what` explains the errno.
pub fn refused(op: &Op, errno: i32, what: impl Display) -> OpError {
    OpError::Refused {
        kind: RefusalKind::of(op, errno),
        errno,
        message: format!("{op}: {what}"),
    }
}

/// The refusal of an op on a device that is not there.
pub fn no_device(op: &Op, dev: &impl Display) -> OpError {
    refused(op, ENODEV, format_args!("there is no device {dev}"))
}

/// The refusal of an op on IPVS by a kernel without it.
pub fn no_ipvs(op: &Op) -> OpError {
    OpError::Refused {
        kind: RefusalKind::NoIpvs,
        errno: ENOENT,
        message: format!("{op}: {NO_IPVS}"),
    }
}

/// What the errno means for this op; `None` if there is nothing to add to its name.
pub fn meaning(op: &Op, errno: i32) -> Option<String> {
    if errno == EPERM {
        return Some(NO_RIGHTS.to_owned());
    }
    let text = match (op, errno) {
        (Op::AddService(_, service) | Op::EditService(_, service), ENOENT) => {
            let scheduler = &service.scheduler;
            format!(
                "the kernel has no scheduler {scheduler}: load module ip_vs_{scheduler} on the node"
            )
        }
        (Op::AddService(..), EEXIST) => "the service is there already".to_owned(),
        (Op::AddService(..) | Op::EditService(..), EINVAL) => {
            "the kernel refuses these settings: is the persistence prefix in range?".to_owned()
        }
        (
            Op::EditService(key, _)
            | Op::DelService(key)
            | Op::AddDestination(key, ..)
            | Op::EditDestination(key, ..)
            | Op::QuiesceDestination(key, _)
            | Op::DelDestination(key, _)
            | Op::DelForeignDestination(key, _),
            ESRCH,
        ) => format!("there is no service {key}"),
        (Op::AddDestination(..), EEXIST) => "the destination is there already".to_owned(),
        (
            Op::EditDestination(_, address, _)
            | Op::QuiesceDestination(_, address)
            | Op::DelDestination(_, address),
            ENOENT,
        ) => format!("there is no destination {address}"),
        (Op::DelForeignDestination(_, server), ENOENT) => {
            format!("there is no destination {server}")
        }
        (Op::AddDestination(_, address, _) | Op::EditDestination(_, address, _), EINVAL) => {
            format!(
                "{address} is a multicast, broadcast or unspecified address and cannot be a real server (if it is none: is lo up?)"
            )
        }
        (Op::AddAddress(key, _), EEXIST) => format!("{} has the address already", key.dev),
        (Op::AddAddress(key, _), EACCES) => {
            format!(
                "IPv6 is disabled on {0}: sysctl -w net.ipv6.conf.{0}.disable_ipv6=0",
                key.dev
            )
        }
        (Op::DelAddress(key, _), EADDRNOTAVAIL) => format!("{} does not have the address", key.dev),
        (Op::AddDummy(dev), EEXIST) => format!("there is a device {dev} already"),
        (Op::AddDummy(_), EOPNOTSUPP) => {
            "this kernel has no dummy devices: load module dummy on the node".to_owned()
        }
        (Op::AddRoute(_), EEXIST) => {
            "there is another route to the same address; remove it".to_owned()
        }
        (Op::AddRoute(key), ENETDOWN) => format!("{0} is down: ip link set {0} up", key.dev),
        (Op::DelRoute(_), ESRCH) => "there is no such route".to_owned(),
        (Op::Quiet(set) | Op::Restore(set), EAFNOSUPPORT) => {
            format!("{} has no IPv4: its MTU is below 68", set.dev)
        }
        (Op::StartSync(_, daemon), ENODEV) => format!("there is no device {}", daemon.dev),
        (Op::StartSync(half, _), EEXIST) => {
            format!("a {half} daemon runs already; a node can have one")
        }
        (Op::StopSync(half), ESRCH) => format!("no {half} daemon runs"),
        (_, ENODEV) => "the device is gone".to_owned(),
        _ => return None,
    };
    Some(text)
}
