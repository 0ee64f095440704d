use std::{collections::BTreeSet, fmt::Display, net::IpAddr, time::Duration};

use crate::{
    kernel::{KernelError, NicState, OpError, SegmentNic},
    model::{AddressKey, Dev, ForeignTag, Role},
    plan::Op,
    wire::{Message, Received, Sender},
};

use super::{apply::failure, lan::FakeLan, machine::Machine, world::World};

/// A director's NIC on a simulated segment.
#[derive(Debug)]
pub struct FakeNic {
    lan: FakeLan,
    name: String,
    dev: Dev,
}

impl FakeLan {
    /// Opens a NIC of a machine for an election. From now on it receives the segment's frames.
    pub fn nic(&self, name: &str, dev: &Dev) -> Result<FakeNic, KernelError> {
        let mut world = self.world();
        let doing = format!("listen on {dev}");
        world.check(name, &doing)?;
        if world.mac_of(name, dev).is_none() {
            let cause = "there is no such device, or it has no MAC";
            return Err(failure(&doing, cause));
        }
        let sockets = world.sockets.entry(name.to_owned()).or_default();
        sockets.insert(dev.clone(), Default::default());
        drop(world);
        Ok(FakeNic {
            lan: self.clone(),
            name: name.to_owned(),
            dev: dev.clone(),
        })
    }
}

impl FakeNic {
    fn apply(
        &self,
        vips: &BTreeSet<IpAddr>,
        op: fn(AddressKey, Role) -> Op,
    ) -> Vec<Result<(), OpError>> {
        let ops = vips
            .iter()
            .map(|vip| op(AddressKey::new(self.dev.clone(), *vip), Role::Held));
        ops.map(|op| self.lan.apply(&self.name, &op)).collect()
    }

    fn ask<T>(
        &self,
        doing: &dyn Display,
        act: impl FnOnce(&mut World) -> T,
    ) -> Result<T, KernelError> {
        let mut world = self.lan.world();
        world.check(&self.name, doing)?;
        Ok(act(&mut world))
    }

    /// The NIC's state in the kernel; `None` if it is gone.
    pub fn state(&self) -> Option<NicState> {
        let world = self.lan.world();
        let machine = world.machines.get(&self.name)?;
        let device = machine.devices.get(&self.dev)?;
        let ours = machine.addresses.iter().filter(|address| {
            address.dev == self.dev
                && Machine::is_host_sized(&address.net)
                && !matches!(address.tag, ForeignTag::Theirs(_))
        });
        Some(NicState {
            carrier: device.up && device.plugged,
            vips: ours.map(|address| address.net.addr()).collect(),
        })
    }

    /// Whether frames wait for the election.
    pub fn has_frames(&self) -> bool {
        let mut world = self.lan.world();
        let queue = world.socket(&self.name, &self.dev);
        queue.is_some_and(|queue| !queue.is_empty()) && !world.killed.contains(&self.name)
    }

    /// Sets when the kernel removes VIPs.
    fn limit(&self, vips: &BTreeSet<IpAddr>, lifetime: Option<Duration>) {
        let mut world = self.lan.world();
        let until = lifetime.map(|lifetime| world.clock + lifetime);
        let addresses = world.machines.get_mut(&self.name);
        for address in addresses.into_iter().flat_map(|it| &mut it.addresses) {
            if address.dev == self.dev && vips.contains(&address.net.addr()) {
                address.until = until;
            }
        }
    }
}

impl Drop for FakeNic {
    fn drop(&mut self) {
        if let Some(sockets) = self.lan.world().sockets.get_mut(&self.name) {
            sockets.remove(&self.dev);
        }
    }
}

impl SegmentNic for FakeNic {
    fn now(&self) -> Duration {
        self.lan.now()
    }

    fn look(&mut self) -> Result<Option<NicState>, KernelError> {
        self.ask(&"look at the NIC", |_| ())?;
        Ok(self.state())
    }

    fn add(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        let results = self.apply(vips, Op::AddAddress);
        self.limit(vips, lifetime);
        results
    }

    fn renew(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        match self.ask(&"renew lifetimes", |_| ()) {
            Ok(()) => {
                // As the kernel, which adds an address that is not there (inet_rtm_newaddr, net/ipv4/devinet.c).
                let there = self.state().unwrap_or_default().vips;
                let results = vips.iter().map(|vip| {
                    if there.contains(vip) {
                        return Ok(());
                    }
                    let added = self.apply(&BTreeSet::from([*vip]), Op::AddAddress);
                    added.into_iter().collect()
                });
                let results = results.collect();
                self.limit(vips, lifetime);
                results
            }
            Err(error) => vips.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }

    fn remove(&mut self, vips: &BTreeSet<IpAddr>) -> Vec<Result<(), OpError>> {
        self.apply(vips, Op::DelAddress)
    }

    fn send(&mut self, own: IpAddr, message: &Message) -> Result<(), KernelError> {
        let (name, dev) = (&self.name, &self.dev);
        match message {
            Message::Announce(vip) => {
                let doing = format!("announce {vip} on {dev}");
                self.lan
                    .effect(name, &doing, |world| world.announce(name, dev, *vip))
            }
            Message::Request(question) => {
                let sender = match question.sender {
                    Sender::Unspecified => None,
                    Sender::Own => Some(own),
                };
                let ask = |world: &mut World| {
                    world.ask_one(name, dev, sender, question.about, question.to);
                };
                let held = self.ask(&"send", |world| {
                    let machine = world.machines.get(name);
                    machine.is_some_and(|machine| machine.has(dev, question.about))
                })?;
                // Only a probe before a claim counts as an effect: all other requests are routine and decide nothing.
                if question.to.is_some() || sender.is_some() || held {
                    return self.ask(&"send", ask);
                }
                let doing = format!("probe {} on {dev}", question.about);
                self.lan.effect(name, &doing, ask)
            }
        }
    }

    fn receive(&mut self) -> Result<Option<Received>, KernelError> {
        self.ask(&"receive", |world| {
            world.socket(&self.name, &self.dev)?.pop_front()
        })
    }

    fn lost(&mut self) -> Result<u32, KernelError> {
        Ok(0)
    }
}
