//! What a pass does when its kernel fails it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::World;
use crate::{
    cluster::Change,
    kernel::{Kernel, KernelError, OpError, fake::FakeKernel},
    model::{
        AddressKey, Answer, Observed, Protocol, Reach, Reason, Scheduler, Service, ServiceKey,
    },
    plan::Op,
};

/// A kernel with faults.
struct Faulty {
    kernel: FakeKernel,
    /// How often it can be read.
    readable: u32,
    /// The ops that it refuses.
    refuses: fn(&Op) -> bool,
    /// What another program does before the first op.
    meanwhile: Option<Op>,
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
        if let Some(op) = self.meanwhile.take() {
            assert_eq!(self.kernel.apply(&[op]), [Ok(())]);
        }
        let mut apply = |op: &Op| {
            if (self.refuses)(op) {
                return Err(failure(&op.to_string()).into());
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
    let (_, report) = world.pass("d");
    let change = vec![Change::Peer("d".into(), report.unwrap().peer)];
    world.agent("b1").store.apply(change);
    for readable in [0, 1] {
        let kernel = Faulty {
            kernel: world.lan.kernel("b1"),
            readable,
            refuses: |_| false,
            meanwhile: None,
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

#[test]
fn a_refusal_names_the_op_once() {
    let mut world = World::new(false);
    world.settle();
    world.change(|| Change::of(SECOND));
    let faulty = Faulty {
        kernel: world.lan.kernel("d"),
        readable: u32::MAX,
        refuses: |op| matches!(op, Op::AddService(key, _) if key.port == 443),
        meanwhile: None,
    };
    let (_, report) = world.pass_on("d", faulty);
    let refused = report.unwrap().refused;
    let (_, refusal) = refused.first_key_value().unwrap();
    assert_eq!(
        refusal.message.matches("ipvsadm -A").count(),
        1,
        "{refusal}"
    );
}

/// An op that fails in every pass.
#[test]
fn what_always_fails_keeps_no_dead_real_server_and_no_deleted_service_from_being_noticed() {
    let mut world = World::new(false);
    world.settle();
    world.change(|| Change::of(SECOND));
    let faulty = |world: &World| Faulty {
        kernel: world.lan.kernel("d"),
        readable: u32::MAX,
        refuses: |op| matches!(op, Op::AddService(key, _) if key.port == 443),
        meanwhile: None,
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
        assert!(passes.is_watching());
        passes.finds_drift(&mut kernel)
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

#[test]
fn what_another_program_adds_while_a_pass_runs_stays_that_program_s() {
    let mut world = World::new(false);
    world.pass("b1");
    let key = ServiceKey {
        vip: super::VIP,
        port: 80,
        protocol: Protocol::Tcp,
    };
    let foreign = Service {
        scheduler: Scheduler::Wlc,
        flags: Vec::new(),
        persistence: None,
        destinations: BTreeMap::new(),
    };
    let kernel = Faulty {
        kernel: world.lan.kernel("d"),
        readable: u32::MAX,
        refuses: |_| false,
        meanwhile: Some(Op::AddService(key, foreign.clone().into())),
    };
    let (end, _) = world.pass_on("d", kernel);
    assert!(end.next.failed);
    let (end, report) = world.pass("d");
    assert!(
        !end.ops.iter().any(|op| op.contains("ipvsadm")),
        "{:?}",
        end.ops
    );
    let refused = report.unwrap().refused.into_values();
    assert_eq!(
        refused.map(|it| it.reason).collect::<Vec<_>>(),
        [Reason::ForeignService]
    );
    world.delete();
    world.settle();
    assert_eq!(world.look("d").net.services, [(key, foreign)].into());
}

/// A kernel that once leaves a service out of what it shows, as a dump does that others change meanwhile.
#[test]
fn a_service_that_a_reading_missed_stays_ours() {
    let mut world = World::new(false);
    world.settle();
    let before = world.look("d");
    let (key, service) = before.net.services.first_key_value().unwrap();
    let (key, settings) = (*key, service.settings());
    let kernel = world.lan.kernel("d");
    let mut blind = kernel.clone();
    assert_eq!(blind.apply(&[Op::DelService(key)]), [Ok(())]);
    let kernel = Faulty {
        kernel,
        readable: u32::MAX,
        refuses: |_| false,
        meanwhile: Some(Op::AddService(key, settings.into())),
    };
    world.pass_on("d", kernel);
    world.settle();
    assert_eq!(world.look("d").net.services, before.net.services);
    world.delete();
    world.settle();
    assert!(world.look("d").net.services.is_empty());
}
