//! A virtual connection, followed from hop to hop.

use std::{fmt, net::IpAddr};

use crate::model::{Dev, Mac};

use super::{
    routing::Path,
    table::{Flow, IpvsDecision},
    world::World,
};

/// The way of a connection's packet and of the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The connection; [`FakeLan::send_more`](super::FakeLan::send_more) sends another packet of it.
    pub flow: Flow,
    /// Every frame, in order.
    pub hops: Vec<Hop>,
    /// Every request for a MAC that was in no neighbour entry.
    pub arp_requests: Vec<ArpRequest>,
    /// How it ended.
    pub delivery: Delivery,
}

/// A frame from one machine to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The machine that sent it.
    pub from: String,
    /// Its MAC.
    pub from_mac: Mac,
    /// The machine that got it.
    pub to: String,
    /// The MAC it was sent to.
    pub to_mac: Mac,
    /// The packet's source.
    pub source: IpAddr,
    /// The packet's destination.
    pub destination: IpAddr,
}

/// A request for a MAC on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpRequest {
    /// The machine that sent it.
    pub by: String,
    /// The address it asks for.
    pub target: IpAddr,
    /// The machines that answered. On a real segment any of them may win; the trace follows the first.
    pub answers: Vec<(String, Mac)>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The client got an answer.
    Answered {
        /// From this machine.
        by: String,
    },
    /// The client got a reset: nothing listens on the port.
    Refused {
        /// From this machine.
        by: String,
    },
    /// The packet, or the answer to it, was lost.
    Lost {
        /// Where.
        at: String,
        /// Why.
        why: Loss,
    },
}

/// Why a packet was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There is no route to this address.
    NoRoute(IpAddr),
    /// No machine answers ARP for this address.
    NoNeighbour(IpAddr),
    /// No machine on the segment has this MAC (any more).
    NoSuchMac(Mac),
    /// The machine has no such address: on a real server, the VIP is missing.
    NotLocal(IpAddr),
    /// The packet's source is an address of the machine that received it.
    Martian(IpAddr),
    /// The service's scheduler found no destination.
    NoDestination,
    /// The destination of this connection was deleted.
    DestinationGone,
    /// The packet is forwarded in a loop.
    Loop,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute(ip) => write!(f, "no route to {ip}"),
            Self::NoNeighbour(ip) => write!(f, "nobody answers ARP for {ip}"),
            Self::NoSuchMac(mac) => write!(f, "nobody has {mac}"),
            Self::NotLocal(ip) => write!(f, "{ip} is not bound here"),
            Self::Martian(ip) => write!(f, "{ip} is this machine's own: martian source"),
            Self::NoDestination => f.write_str("no destination has a weight"),
            Self::DestinationGone => f.write_str("the connection's destination was deleted"),
            Self::Loop => f.write_str("the packet goes in circles"),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for question in &self.arp_requests {
            let answers: Vec<String> = question
                .answers
                .iter()
                .map(|(machine, mac)| format!("{machine} {mac}"))
                .collect();
            writeln!(
                f,
                "{} asks for {}: [{}]",
                question.by,
                question.target,
                answers.join(", ")
            )?;
        }
        for hop in &self.hops {
            writeln!(
                f,
                "{} {} → {} {}: {} → {}",
                hop.from, hop.from_mac, hop.to, hop.to_mac, hop.source, hop.destination
            )?;
        }
        match &self.delivery {
            Delivery::Answered { by } => write!(f, "answered by {by}"),
            Delivery::Refused { by } => write!(f, "refused by {by}"),
            Delivery::Lost { at, why } => write!(f, "lost at {at}: {why}"),
        }
    }
}

/// A packet under way.
#[derive(Clone, Debug)]
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    /// Set on the way back.
    reply: Option<Delivery>,
}

/// Where a machine sends a packet next.
enum Step {
    /// Towards this address, which decides the MAC; the packet's own addresses stay.
    Towards(IpAddr),
    /// It has arrived.
    Arrived(Delivery),
}

struct Walk<'a> {
    world: &'a mut World,
    flow: Flow,
    opening: bool,
    hops: Vec<Hop>,
    arp_requests: Vec<ArpRequest>,
}

/// Follows one packet of `flow` from machine `client` to wherever it ends, and the answer back.
pub(super) fn follow(world: &mut World, client: &str, flow: Flow, opening: bool) -> Trace {
    let mut walk = Walk {
        world,
        flow,
        opening,
        hops: Vec::new(),
        arp_requests: Vec::new(),
    };
    let delivery = walk.run(client);
    Trace {
        flow,
        hops: walk.hops,
        arp_requests: walk.arp_requests,
        delivery,
    }
}

impl Walk<'_> {
    fn run(&mut self, client: &str) -> Delivery {
        let mut packet = Packet {
            source: self.flow.client,
            destination: self.flow.service.vip,
            reply: None,
        };
        let mut at = client.to_owned();
        let mut from_wire = false;
        // More hops than any path without a loop has; in a real network, the TTL would end the loop.
        for _ in 0..32 {
            let step = match self.handle(&at, &mut packet, from_wire) {
                Ok(step) => step,
                Err(why) => return Delivery::Lost { at, why },
            };
            match step {
                Step::Arrived(delivery) => return delivery,
                Step::Towards(ip) => match self.transmit(&at, &packet, ip) {
                    Ok(Some(next)) => (at, from_wire) = (next, true),
                    // The address is the machine's own, so it handles the packet itself.
                    Ok(None) => {}
                    Err(why) => return Delivery::Lost { at, why },
                },
            }
        }
        Delivery::Lost {
            at,
            why: Loss::Loop,
        }
    }

    fn handle(&mut self, at: &str, packet: &mut Packet, from_wire: bool) -> Result<Step, Loss> {
        let flow = self.flow;
        let opening = self.opening;
        let Some(machine) = self.world.machines.get_mut(at) else {
            return Err(Loss::NoRoute(packet.destination));
        };
        if from_wire && machine.is_local(packet.source) {
            return Err(Loss::Martian(packet.source));
        }
        if !machine.is_local(packet.destination) {
            return if !from_wire || machine.forwards {
                Ok(Step::Towards(packet.destination))
            } else {
                Err(Loss::NotLocal(packet.destination))
            };
        }
        if let Some(delivery) = packet.reply.take() {
            return Ok(Step::Arrived(delivery));
        }
        match machine.local_in(flow, opening) {
            IpvsDecision::Forward(address) if !machine.is_local(address) => {
                return Ok(Step::Towards(address));
            }
            IpvsDecision::Forward(_) | IpvsDecision::Pass => {}
            IpvsDecision::NoDestination => return Err(Loss::NoDestination),
            IpvsDecision::DestinationGone => return Err(Loss::DestinationGone),
        }
        let listens = machine
            .listening
            .contains(&(flow.service.port, flow.service.protocol));
        let by = at.to_owned();
        let delivery = if listens {
            Delivery::Answered { by }
        } else {
            Delivery::Refused { by }
        };
        if machine.is_local(flow.client) {
            return Ok(Step::Arrived(delivery));
        }
        *packet = Packet {
            source: flow.service.vip,
            destination: flow.client,
            reply: Some(delivery),
        };
        Ok(Step::Towards(flow.client))
    }

    /// Sends the packet to `ip`, or its gateway. Returns the machine it reaches; `None` if `ip` is this machine's.
    fn transmit(&mut self, at: &str, packet: &Packet, ip: IpAddr) -> Result<Option<String>, Loss> {
        let machine = self.world.machines.get(at).ok_or(Loss::NoRoute(ip))?;
        let (dev, next) = match machine.path(ip) {
            Path::Local => return Ok(None),
            Path::Out { dev, next } => (dev, next),
            Path::None => return Err(Loss::NoRoute(ip)),
        };
        let from_mac = machine.mac(&dev).ok_or(Loss::NoRoute(ip))?;
        let to_mac = self.neighbour(at, &dev, next, packet.source)?;
        let to = self
            .world
            .hearers(at, &dev, Some(to_mac))
            .into_iter()
            .next()
            .ok_or(Loss::NoSuchMac(to_mac))?;
        self.hops.push(Hop {
            from: at.to_owned(),
            from_mac,
            to: to.machine.clone(),
            to_mac,
            source: packet.source,
            destination: packet.destination,
        });
        Ok(Some(to.machine))
    }

    fn neighbour(&mut self, at: &str, dev: &Dev, ip: IpAddr, source: IpAddr) -> Result<Mac, Loss> {
        let machine = self.world.machines.get(at).ok_or(Loss::NoNeighbour(ip))?;
        if let Some(mac) = machine.neighbours.get(&(dev.clone(), ip)) {
            return Ok(*mac);
        }
        let sender = machine.asks_as(dev, ip, Some(source));
        let answers = self.world.ask(at, dev, sender, ip);
        let first = answers.first().map(|(_, mac)| *mac);
        self.arp_requests.push(ArpRequest {
            by: at.to_owned(),
            target: ip,
            answers,
        });
        let mac = first.ok_or(Loss::NoNeighbour(ip))?;
        if let Some(machine) = self.world.machines.get_mut(at) {
            machine.neighbours.insert((dev.clone(), ip), mac);
        }
        Ok(mac)
    }
}
