//! The node that every contract test starts from, on any ground.
//!
//! `lo` and `eth0` are up; `eth0` has NODE/24 and NODE_MAC, and is on a segment with a neighbour that has PEER/24, TAKEN/32 and
//! PEER_MAC. `eth1` is up without an address. `conf/all` is 0 throughout. There is no default route, and IPVS is empty.

use std::{collections::BTreeMap, net::IpAddr};

use directway::{
    kernel::{Kernel, KernelError, OpError, SegmentNic},
    model::{
        AddressKey, Destination, Dev, Mac, Observed, Protocol, Role, Scheduler, Service, ServiceKey,
    },
    plan::Op,
};

pub const NODE: &str = "10.77.0.11";
pub const NODE_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
pub const PEER: &str = "10.77.0.12";
pub const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x12]);
/// An address that the neighbour has besides its own.
pub const TAKEN: &str = "10.77.0.99";
/// An address that no host has.
pub const VIP: &str = "10.77.0.100";

pub const ENOENT: i32 = 2;
pub const ESRCH: i32 = 3;
pub const EEXIST: i32 = 17;
pub const ENODEV: i32 = 19;
pub const EINVAL: i32 = 22;
pub const EADDRNOTAVAIL: i32 = 99;

/// Shell commands that check the kernel's state independently of our code; only a real kernel has them.
pub trait Judge {
    /// Runs a shell command on the node and returns what it prints. Panics if it fails.
    fn node(&self, command: &str) -> String;
    /// The same on the neighbour.
    fn peer(&self, command: &str) -> String;
}

/// A kernel that may be able to count its own messages.
pub trait Subject: Kernel {
    /// How many messages so far changed something; `None` if the kernel cannot count.
    fn changes_sent(&self) -> Option<u64> {
        None
    }

    /// Opens a NIC for an election.
    fn nic(&self, dev: &Dev) -> Result<Box<dyn SegmentNic>, KernelError>;
}

/// A node to be tested.
pub struct World {
    pub kernel: Box<dyn Subject>,
    pub judge: Option<Box<dyn Judge>>,
}

impl World {
    pub fn observe(&mut self) -> Observed {
        self.kernel.observe().expect("observing works")
    }

    /// Applies one op.
    pub fn apply(&mut self, op: Op) -> Result<(), OpError> {
        let mut results = self.kernel.apply(std::slice::from_ref(&op));
        assert_eq!(results.len(), 1, "one result per op");
        results.remove(0)
    }

    /// Applies ops that must all succeed.
    pub fn must(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            let result = self.apply(op.clone());
            assert_eq!(result, Ok(()), "{op}");
        }
    }

    /// Applies an op that must be refused with this errno, and returns what the refusal says.
    pub fn refused(&mut self, op: Op, expected: i32) -> String {
        match self.apply(op.clone()) {
            Err(OpError::Refused { errno, message, .. }) => {
                assert_eq!(errno, expected, "{op}: {message}");
                assert!(message.len() > 10, "{op}: {message:?} says nothing");
                message
            }
            other => panic!("{op}: {other:?} instead of errno {expected}"),
        }
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn on(dev: &str, address: &str) -> AddressKey {
    AddressKey::new(dev.parse().expect("a device name"), ip(address))
}

pub fn quiet(dev: &str, address: &str) -> Op {
    Op::AddAddress(on(dev, address), Role::Quiet)
}

pub fn http(vip: &str) -> ServiceKey {
    ServiceKey {
        vip: ip(vip),
        port: 80,
        protocol: Protocol::Tcp,
    }
}

pub fn service(scheduler: Scheduler) -> Service {
    Service {
        scheduler,
        flags: Vec::new(),
        persistence: None,
        destinations: BTreeMap::new(),
    }
}

pub fn add_destination(key: ServiceKey, address: &str, weight: u32) -> Op {
    Op::AddDestination(key, ip(address), Destination::direct(weight))
}
