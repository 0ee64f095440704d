use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    model::{Dev, Mac},
    wire::Received,
};

use super::{errno::Errno, log::Event, machine::Machine, misfortune::Effects};

/// All machines and the frames between them.
#[derive(Debug, Default)]
pub(super) struct World {
    pub machines: BTreeMap<String, Machine>,
    /// Each machine as it comes up after a loss of power.
    pub boot: BTreeMap<String, Machine>,
    pub log: Vec<Event>,
    pub faults: Vec<Fault>,
    pub last_port: u16,
    /// Ops that each machine's kernel accepted.
    pub applied: BTreeMap<String, u64>,
    pub effects: Effects,
    /// Machines whose agent was killed.
    pub killed: BTreeSet<String>,
    /// Time since the LAN was created.
    pub clock: Duration,
    /// Frames that wait for an election, by machine and NIC.
    pub sockets: BTreeMap<String, BTreeMap<Dev, VecDeque<Received>>>,
}

/// An op that will fail.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub machine: String,
    /// How many ops are let through first.
    pub after: u64,
    pub errno: Errno,
}

/// An interface that a segment's frames reach.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub machine: String,
    /// The device that receives: the one with the cable, or its master.
    pub ingress: Dev,
    pub mac: Mac,
}

impl World {
    /// The interfaces on a segment that are powered, plugged in, up and speak ARP; those with the MAC `to` if it is given.
    fn attached(&self, segment: &str, to: Option<Mac>) -> Vec<Attached> {
        let mut attached = Vec::new();
        for (name, machine) in self.machines.iter().filter(|(_, machine)| machine.powered) {
            for (dev, device) in &machine.devices {
                if device.segment.as_deref() != Some(segment) || !device.up || !device.plugged {
                    continue;
                }
                let ingress = device.master.as_ref().unwrap_or(dev);
                let receiver = machine.devices.get(ingress).filter(|device| device.up);
                if let Some(mac) = receiver.and_then(|device| device.mac)
                    && to.is_none_or(|to| to == mac)
                {
                    attached.push(Attached {
                        machine: name.clone(),
                        ingress: ingress.clone(),
                        mac,
                    });
                }
            }
        }
        attached
    }

    /// The segments that frames sent on a device reach: its own, or those of its ports.
    pub fn segments_of(&self, machine: &str, dev: &Dev) -> Vec<String> {
        let Some(machine) = self.machines.get(machine).filter(|machine| machine.powered) else {
            return Vec::new();
        };
        if !machine.devices.get(dev).is_some_and(|device| device.up) {
            return Vec::new();
        }
        machine
            .devices
            .iter()
            .filter(|(name, device)| {
                let sends = match &device.master {
                    Some(master) => master == dev,
                    None => *name == dev,
                };
                sends && device.up && device.plugged
            })
            .filter_map(|(_, device)| device.segment.clone())
            .collect()
    }

    /// Every interface that receives a frame sent on `dev` to this MAC; `None` = a broadcast.
    pub fn hearers(&self, machine: &str, dev: &Dev, to: Option<Mac>) -> Vec<Attached> {
        self.segments_of(machine, dev)
            .iter()
            .flat_map(|segment| self.attached(segment, to))
            .filter(|hearer| !(hearer.machine == machine && hearer.ingress == *dev))
            .collect()
    }

    /// Queues a frame for an election on the receiving NIC, if there is one.
    pub fn deliver(&mut self, machine: &str, dev: &Dev, heard: Received) {
        if let Some(queue) = self.socket(machine, dev) {
            queue.push_back(heard);
        }
    }

    /// The frames that wait for the election on this NIC, if there is one.
    pub fn socket(&mut self, machine: &str, dev: &Dev) -> Option<&mut VecDeque<Received>> {
        self.sockets.get_mut(machine)?.get_mut(dev)
    }

    pub fn mac_of(&self, machine: &str, dev: &Dev) -> Option<Mac> {
        self.machines.get(machine)?.mac(dev)
    }
}
