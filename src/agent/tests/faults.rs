//! What a pass does when its kernel fails it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::World;
use crate::{
    cluster::Change,
    kernel::{Kernel, KernelError, OpError, fake::FakeKernel},
    model::{AddressKey, Answer, Observed, Reach},
    plan::Op,
};

/// A kernel that can be read so many times.
struct Unreadable {
    kernel: FakeKernel,
    readable: u32,
}

impl Kernel for Unreadable {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        if self.readable == 0 {
            return Err(KernelError {
                doing: "list links".to_owned(),
                cause: "no buffer space".to_owned(),
            });
        }
        self.readable -= 1;
        self.kernel.observe()
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        self.kernel.apply(ops)
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Reach>, KernelError> {
        self.kernel.resolve(addresses)
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> Result<BTreeMap<AddressKey, Answer>, KernelError> {
        self.kernel.probe(targets)
    }
}

/// A report without a VIP would make directors take the weight from this node.
#[test]
fn a_kernel_that_cannot_be_read_after_a_change_is_not_reported_as_empty() {
    let mut world = World::new(true);
    let (_, report) = world.pass("d");
    let change = vec![Change::Peer("d".into(), report.unwrap().peer)];
    world.agent("b1").store.apply(change);
    for readable in [0, 1] {
        let kernel = Unreadable {
            kernel: world.lan.kernel("b1"),
            readable,
        };
        let (end, report) = world.pass_on("b1", kernel);
        assert!(end.error.is_some() && end.next.failed, "{end:?}");
        assert!(report.is_none(), "{report:?}");
    }
    let (end, report) = world.pass("b1");
    assert_eq!(end.error, None);
    assert!(report.unwrap().peer.bound.contains(super::VIP));
}
