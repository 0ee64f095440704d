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

/// An agent's hold on one machine's kernel. When the agent is killed, the machine goes on without it.
#[derive(Clone, Debug)]
pub struct FakeKernel {
    lan: FakeLan,
    name: String,
    life: Life,
}

/// When the agent is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Endless,
    /// This many ops later, at once.
    After(u64),
    /// This many ops later, when it tries the next one.
    Before(u64),
    Over,
}

impl FakeLan {
    /// A node's kernel, for an agent that runs on it.
    pub fn kernel(&self, name: &str) -> FakeKernel {
        FakeKernel {
            lan: self.clone(),
            name: name.to_owned(),
            life: Life::Endless,
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

    /// Of an agent that is killed right after `ops` more ops: every later call fails, and the machine keeps its
    /// state.
    pub fn killed_after(mut self, ops: u64) -> Self {
        self.life = match ops {
            0 => Life::Over,
            ops => Life::After(ops),
        };
        self
    }

    /// Of an agent that is killed when it tries an op after `ops` more: it has done all that comes before an op.
    pub fn killed_before(mut self, ops: u64) -> Self {
        self.life = Life::Before(ops);
        self
    }

    /// Whether the agent was killed.
    pub fn is_killed(&self) -> bool {
        self.life == Life::Over
    }

    /// Ops until the agent is killed; `None` = it never will be.
    pub fn ops_left(&self) -> Option<u64> {
        match self.life {
            Life::Endless => None,
            Life::After(ops) | Life::Before(ops) => Some(ops),
            Life::Over => Some(0),
        }
    }

    fn ask<T>(
        &self,
        doing: &str,
        act: impl FnOnce(&mut World, &str) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let mut world = self.lan.world();
        let powered = world
            .machines
            .get(&self.name)
            .is_some_and(|machine| machine.powered);
        if self.is_killed() || !powered {
            return Err(gone(doing));
        }
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
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let doing = op.to_string();
            if self.life == Life::Before(0) {
                self.life = Life::Over;
            }
            let result = self
                .ask(&doing, |world, name| Ok(apply::apply(world, name, op)))
                .unwrap_or_else(|error| Err(error.into()));
            self.life = match self.life {
                Life::After(1) => Life::Over,
                Life::After(ops) => Life::After(ops.saturating_sub(1)),
                Life::Before(ops) => Life::Before(ops.saturating_sub(1)),
                life @ (Life::Endless | Life::Over) => life,
            };
            if result.is_ok() {
                self.lan.applied(&self.name, op);
            }
            results.push(result);
        }
        results
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Reach>, KernelError> {
        self.ask("resolve real servers", |world, name| {
            let mut reach = BTreeMap::new();
            for ip in addresses {
                reach.insert(*ip, resolve(world, name, *ip)?);
            }
            Ok(reach)
        })
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> Result<BTreeMap<AddressKey, Answer>, KernelError> {
        self.ask("probe", |world, name| {
            let mut answers = BTreeMap::new();
            for key in targets {
                let macs = apply::probe(world, name, key)?;
                answers.insert(key.clone(), Answer { macs });
            }
            Ok(answers)
        })
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
