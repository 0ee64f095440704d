//! The simulator as a ground.

use directway::{
    kernel::{
        Kernel, KernelError, OpError, SegmentNic,
        fake::{FakeKernel, FakeLan, Machine},
    },
    model::{AddressKey, Answer, Dev, Observed, Reach},
    plan::Op,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::world::{NODE, NODE_MAC, PEER, PEER_MAC, Subject, TAKEN, World};

/// A fresh node.
pub fn world() -> World {
    let eth0: Dev = "eth0".parse().unwrap();
    let eth1: Dev = "eth1".parse().unwrap();
    let net = |text: String| text.parse().unwrap();
    let node = Machine::new()
        .nic(&eth0, "segment", [net(format!("{NODE}/24"))])
        .nic(&eth1, "other segment", [])
        .with_mac(&eth0, NODE_MAC);
    let peer = Machine::new()
        .nic(
            &eth0,
            "segment",
            [net(format!("{PEER}/24")), net(format!("{TAKEN}/32"))],
        )
        .nic(&eth1, "other segment", [])
        .with_mac(&eth0, PEER_MAC);
    let lan = FakeLan::new();
    lan.add("node", node);
    lan.add("peer", peer);
    let kernel = lan.kernel("node");
    World {
        kernel: Box::new(Node { lan, kernel }),
        judge: None,
    }
}

struct Node {
    lan: FakeLan,
    kernel: FakeKernel,
}

impl Subject for Node {
    fn changes_sent(&self) -> Option<u64> {
        Some(self.lan.ops("node"))
    }

    fn nic(&self, dev: &Dev) -> Result<Box<dyn SegmentNic>, KernelError> {
        Ok(Box::new(self.lan.nic("node", dev)?))
    }
}

impl Kernel for Node {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.kernel.observe()
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        self.kernel.apply(ops)
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
