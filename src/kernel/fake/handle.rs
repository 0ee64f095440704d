use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    kernel::{Kernel, KernelError, OpError},
    model::{AddressKey, Answer, Observed, Reach},
    plan::Op,
};

use super::{
    apply::{self, gone},
    lan::FakeLan,
    machine::Machine,
    routing::Path,
    world::World,
};

/// An agent's access to one machine's kernel. When the agent is killed, its calls fail and the machine runs on.
#[derive(Clone, Debug)]
pub struct FakeKernel {
    lan: FakeLan,
    name: String,
}

impl FakeLan {
    /// A node's kernel, for an agent that runs on it.
    pub fn kernel(&self, name: &str) -> FakeKernel {
        FakeKernel {
            lan: self.clone(),
            name: name.to_owned(),
        }
    }
}

impl FakeKernel {
    /// The kernel of a machine that is alone on its LAN.
    pub fn alone(machine: Machine) -> Self {
        let lan = FakeLan::new();
        lan.add("alone", machine);
        lan.kernel("alone")
    }

    /// The LAN it is on.
    pub fn lan(&self) -> &FakeLan {
        &self.lan
    }

    fn ask<T>(
        &self,
        doing: &str,
        act: impl FnOnce(&mut World, &str) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let mut world = self.lan.world();
        world.check(&self.name, &doing)?;
        act(&mut world, &self.name)
    }
}

impl Kernel for FakeKernel {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.ask("observe", |world, name| {
            world
                .machines
                .get(name)
                .ok_or_else(|| gone("observe"))?
                .observe()
        })
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let apply = |op| self.lan.apply(&self.name, op);
        ops.iter().map(apply).collect()
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        let one = |ip: &IpAddr| {
            let doing = format!("resolve {ip}");
            let reach = self.ask(&doing, |world, name| resolve(world, name, *ip));
            (*ip, reach)
        };
        addresses.iter().map(one).collect()
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        let one = |key: &AddressKey| {
            let macs = self.ask("probe", |world, name| apply::probe(world, name, key));
            (key.clone(), macs.map(|macs| Answer { macs }))
        };
        targets.iter().map(one).collect()
    }
}

fn resolve(world: &mut World, name: &str, ip: IpAddr) -> Result<Reach, KernelError> {
    let machine = world.machines.get(name).ok_or_else(|| gone("resolve"))?;
    Ok(match machine.path(ip) {
        Path::Local => Reach::Local,
        Path::Out { dev, next } if next == ip => {
            let sender = machine.asks_as(&dev, ip, None);
            match world.ask(name, &dev, sender, ip).first() {
                Some((_, mac)) => Reach::Neighbour { dev, mac: *mac },
                None => Reach::Silent { dev },
            }
        }
        Path::Out { .. } | Path::None => Reach::NotOnLink,
    })
}
