//! What a pass does when its kernel fails it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{World, changes};
use crate::{
    kernel::{Kernel, KernelError, OpError, fake::FakeKernel},
    model::{AddressKey, Answer, Observed, Reach},
    plan::Op,
};

/// A kernel with faults.
struct Faulty {
    kernel: FakeKernel,
    /// How often it can be read.
    readable: u32,
    /// The ops that it refuses.
    refuses: fn(&Op) -> bool,
}

fn failure(doing: &str) -> KernelError {
    KernelError {
        doing: doing.to_owned(),
        cause: "no buffer space".to_owned(),
    }
}

impl Kernel for Faulty {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        if self.readable == 0 {
            return Err(failure("list links"));
        }
        self.readable -= 1;
        self.kernel.observe()
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let mut apply = |op: &Op| {
            if (self.refuses)(op) {
                return Err(failure("apply").into());
            }
            self.kernel.apply(std::slice::from_ref(op)).remove(0)
        };
        ops.iter().map(&mut apply).collect()
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        self.kernel.resolve(addresses)
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        self.kernel.probe(targets)
    }
}

/// A report without a VIP would make directors take the weight from this node.
#[test]
fn a_kernel_that_cannot_be_read_after_a_change_is_not_reported_as_empty() {
    let mut world = World::new(true);
    for readable in [0, 1] {
        let kernel = Faulty {
            kernel: world.lan.kernel("b1"),
            readable,
            refuses: |_| false,
        };
        let (end, report) = world.pass_on("b1", kernel);
        assert!(end.error.is_some() && end.next.failed, "{end:?}");
        assert!(report.is_none(), "{report:?}");
    }
    let (end, report) = world.pass("b1");
    assert_eq!(end.error, None);
    assert!(report.unwrap().peer.bound.contains(super::VIP));
}

const SECOND: &str = "
---
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: refused}
spec:
  vips: [10.0.0.100]
  ports: [{port: 443}]
  realServers: {nodeSelector: {}}
";

/// An op that fails in every pass.
#[test]
fn what_always_fails_keeps_no_dead_real_server_and_no_deleted_service_from_being_noticed() {
    let mut world = World::new(false);
    world.settle();
    world.change(|| changes(SECOND));
    let faulty = |world: &World| Faulty {
        kernel: world.lan.kernel("d"),
        readable: u32::MAX,
        refuses: |op| matches!(op, Op::AddService(key, _) if key.port == 443),
    };
    let pass = |world: &mut World| {
        let kernel = faulty(world);
        let (end, _) = world.pass_on("d", kernel);
        assert!(end.next.failed, "{end:?}");
        end
    };
    pass(&mut world);
    let key = *world.look("d").net.services.keys().next().unwrap();
    let weight = |world: &World, address: IpAddr| {
        let services = world.look("d").net.services;
        services[&key]
            .destinations
            .get(&address)
            .map(|it| it.weight)
    };
    let dead = [10, 0, 0, 11].into();
    assert_eq!(weight(&world, dead), Some(1));

    let looks = |world: &mut World| {
        let mut kernel = world.lan.kernel("d");
        let passes = &mut world.agent("d").passes;
        assert!(passes.has_services());
        passes.misses_a_service(&mut kernel)
    };
    assert!(!looks(&mut world), "the refused one is known to be missing");
    let deleted = world.lan.kernel("d").apply(&[Op::DelService(key)]);
    assert_eq!(deleted, [Ok(())]);
    assert!(looks(&mut world));
    let end = pass(&mut world);
    assert_eq!(
        end.drift, 3,
        "the service and its two destinations: {:?}",
        end.ops
    );

    world.lan.power_off("b1");
    // Passes as their deadlines ask for them.
    for _ in 0..40 {
        if weight(&world, dead) == Some(0) {
            return;
        }
        let end = pass(&mut world);
        world.now += end.next.deadline.unwrap();
    }
    panic!("the dead real server keeps its weight");
}
