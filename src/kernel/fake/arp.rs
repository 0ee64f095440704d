//! Which machines answer for an address on a segment, and what they learn: by ARP (`arp_process`, net/ipv4/arp.c), or
//! by neighbour discovery (`ndisc_recv_ns`, net/ipv6/ndisc.c).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    model::{Dev, Mac},
    wire::{Meaning, Received},
};

use super::{log::Event, machine::Machine, world::World};

impl Machine {
    /// Whether this machine answers a request for `target` that arrives on `ingress`; `sender` is `None` in a probe.
    fn answers(&self, ingress: &Dev, sender: Option<IpAddr>, target: IpAddr) -> bool {
        match target {
            IpAddr::V4(_) => self.answers_arp(ingress, sender, target),
            // In neighbour discovery only the receiving device's addresses count.
            IpAddr::V6(_) => self.has(ingress, target),
        }
    }

    fn answers_arp(&self, ingress: &Dev, sender: Option<IpAddr>, target: IpAddr) -> bool {
        if !self.is_local(target) {
            return self.proxies_arp;
        }
        if sender.is_some_and(|sender| self.is_local(sender)) {
            // The sender's address is this machine's own: the route lookup fails as martian.
            return false;
        }
        let Some(device) = self.devices.get(ingress) else {
            return false;
        };
        match device.arp.effective(self.arp_all).ignore {
            1 => self.has(ingress, target),
            2 => {
                let covers = |net: &IpNet, sender| net.contains(&target) && net.contains(&sender);
                let mut on_ingress = self.addresses.iter().filter(|a| a.dev == *ingress);
                self.has(ingress, target)
                    && sender.is_none_or(|sender| on_ingress.any(|a| covers(&a.net, sender)))
            }
            // Any address of this machine but those of host scope.
            3 => !target.is_loopback() && self.addresses.iter().any(|a| a.net.addr() == target),
            8 => false,
            // 0, and the reserved ones, which ignore nothing (arp_ignore(), seen on 6.18 with 4 and 9).
            _ => true,
        }
    }

    pub(super) fn has(&self, dev: &Dev, ip: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|address| address.dev == *dev && address.net.addr() == ip)
    }

    /// The sender address of a request for `target`, sent because of a packet from `source`.
    pub(super) fn asks_as(
        &self,
        dev: &Dev,
        target: IpAddr,
        source: Option<IpAddr>,
    ) -> Option<IpAddr> {
        let offered = match target {
            IpAddr::V4(_) => self.offered_by_arp(dev, target, source),
            IpAddr::V6(_) => None,
        };
        offered.or_else(|| self.source_for(dev, target))
    }

    /// The packet's own source, if `arp_announce` allows it as the request's sender address (`arp_solicit`).
    fn offered_by_arp(&self, dev: &Dev, target: IpAddr, source: Option<IpAddr>) -> Option<IpAddr> {
        let own = source.filter(|source| self.is_local(*source));
        let announce = self
            .devices
            .get(dev)
            .map_or(0, |device| device.arp.effective(self.arp_all).announce);
        let shared = |source: &IpAddr| {
            let mut on_dev = self.addresses.iter().filter(|address| address.dev == *dev);
            on_dev.any(|address| address.net.contains(source) && address.net.contains(&target))
        };
        match announce {
            // Any local address will do, a VIP on lo too.
            0 => own,
            1 => own.filter(shared),
            _ => None,
        }
    }
}

impl World {
    /// Broadcasts a request for `target` on `dev`. Returns the machines that answer, in the order of their names.
    pub fn ask(
        &mut self,
        machine: &str,
        dev: &Dev,
        sender: Option<IpAddr>,
        target: IpAddr,
    ) -> Vec<(String, Mac)> {
        self.ask_one(machine, dev, sender, target, None)
    }

    /// The same, but by unicast to the MAC `to`, if one is given.
    pub fn ask_one(
        &mut self,
        machine: &str,
        dev: &Dev,
        sender: Option<IpAddr>,
        target: IpAddr,
        to: Option<Mac>,
    ) -> Vec<(String, Mac)> {
        let Some(mac) = self.mac_of(machine, dev) else {
            return Vec::new();
        };
        let hearers = self.hearers(machine, dev, to);
        self.log.push(Event::Asked {
            by: machine.to_owned(),
            mac,
            sender,
            target,
        });
        let mut answers = Vec::new();
        for hearer in hearers {
            let heard = Received {
                from: mac,
                has: sender,
                meaning: Meaning::Request(target),
                to_us: to.is_some(),
            };
            self.deliver(&hearer.machine, &hearer.ingress, heard);
            let Some(host) = self.machines.get_mut(&hearer.machine) else {
                continue;
            };
            let answered = host.answers(&hearer.ingress, sender, target);
            if let Some(sender) = sender {
                let entry = (hearer.ingress.clone(), sender);
                // A machine that answers learns the sender's MAC. One without the target address only updates
                // an entry that it has. One that has the address but does not answer learns nothing.
                if answered || (!host.is_local(target) && host.neighbours.contains_key(&entry)) {
                    host.neighbours.insert(entry, mac);
                }
            }
            if answered {
                let heard = Received {
                    from: hearer.mac,
                    has: Some(target),
                    meaning: Meaning::Reply(sender),
                    to_us: true,
                };
                self.deliver(machine, dev, heard);
                self.log.push(Event::Answered {
                    by: hearer.machine.clone(),
                    dev: hearer.ingress,
                    mac: hearer.mac,
                    ip: target,
                    to: machine.to_owned(),
                });
                answers.push((hearer.machine, hearer.mac));
            }
        }
        answers
    }

    /// Gratuitous ARP, or an unsolicited advertisement: a machine with an entry for `ip` updates it, whatever its age.
    pub fn announce(&mut self, machine: &str, dev: &Dev, ip: IpAddr) {
        let Some(mac) = self.mac_of(machine, dev) else {
            return;
        };
        self.log.push(Event::Announced {
            by: machine.to_owned(),
            mac,
            ip,
        });
        for hearer in self.hearers(machine, dev, None) {
            let heard = Received {
                from: mac,
                has: Some(ip),
                meaning: Meaning::Request(ip),
                to_us: false,
            };
            self.deliver(&hearer.machine, &hearer.ingress, heard);
            let host = self.machines.get_mut(&hearer.machine);
            let entry = host.and_then(|host| host.neighbours.get_mut(&(hearer.ingress, ip)));
            if let Some(known) = entry {
                *known = mac;
            }
        }
    }
}
