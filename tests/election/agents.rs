//! Agents: they start and stop, receive events, and carry out what their elections decide.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use directway::election::{
    Actions, Candidate, Election, ElectionConfig, Event, PeerConfig, Sender, VipConfig,
};

use crate::{
    host::{Agent, Kernel, Op, Waiting, id, mac},
    wire::{OP, ms},
    world::{Due, World},
};

impl World {
    /// Builds the configuration of host `index` from the sources, and gives it to its agent if that runs.
    pub fn configure(&mut self, index: usize) {
        let known = |peer: usize| PeerConfig {
            name: format!("d{peer}").as_str().into(),
            mac: self.knows_macs.then(|| mac(peer)),
        };
        let known_to_it = |peer: &usize| *peer != index && !self.forgotten.contains(peer);
        let peers = (0..self.hosts.len()).filter(known_to_it);
        let candidate = |host: &usize| Candidate {
            director: id(*host),
            ready: self.ready[*host],
        };
        let wanted = |order: &Vec<usize>| {
            let mut order: Vec<Candidate> = order.iter().map(candidate).collect();
            if self.upside_down.contains(&index) {
                order.reverse();
            }
            Arc::new(VipConfig {
                order,
                reported: self.reported.iter().map(|host| id(*host)).collect(),
                on_request: self.requested,
            })
        };
        let config = Arc::new(ElectionConfig {
            me: id(index),
            macs: BTreeSet::from([mac(index)]),
            peers: peers.map(|peer| (id(peer), known(peer))).collect(),
            vips: self
                .orders
                .iter()
                .map(|(vip, order)| (*vip, wanted(order)))
                .collect(),
            fresh: self.fresh,
        });
        self.hosts[index].config = config.clone();
        if self.hosts[index].runs() {
            self.hosts[index].told = config.clone();
            self.give(index, Event::Config(config));
        }
    }

    pub fn start_agent(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.kernel != Kernel::Alive {
            return;
        }
        host.told = host.config.clone();
        let (timing, config) = (self.timing.clone(), host.config.clone());
        let (election, actions) = Election::new(timing, config, &host.nic, host.cable, self.now);
        host.election = Some(election);
        host.agent = Agent::Runs;
        host.waiting.clear();
        self.judge.started(index, &self.hosts[index]);
        self.act(index, actions);
    }

    /// The agent stops for good; the kernel goes on.
    pub fn crash_agent(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.agent = Agent::Dead;
        host.election = None;
        host.waiting.clear();
        host.wake = None;
        self.queue
            .retain(|_, due| !matches!(due, Due::Op(of, _) if *of == index));
    }

    /// An agent that stood still goes on.
    pub fn wake_agent(&mut self, index: usize) {
        if !self.hosts[index].runs() {
            return;
        }
        let mut others = self.hosts.iter().enumerate();
        let alone =
            !others.any(|(other, host)| other != index && host.runs() && !host.nic.is_empty());
        self.judge
            .resumed(index, &self.hosts[index], alone, self.now);
        for vip in self.orders.keys().copied().collect::<Vec<_>>() {
            self.tell_nic(index, vip);
        }
        // First the ops that it had decided before it stopped, then the frames that arrived meanwhile.
        for waiting in std::mem::take(&mut self.hosts[index].waiting) {
            match waiting {
                Waiting::Op(op) => self.op(index, op),
                Waiting::Heard(heard) => self.give(index, Event::Received(heard)),
            }
        }
        for event in self.hosts[index].news() {
            self.give(index, event);
        }
    }

    /// Gives an event to the election of host `index` and carries out its actions.
    pub fn give(&mut self, index: usize, event: Event) {
        if self.is_telling(&event) {
            self.note(|| format!("d{index} ← {event:?}"));
        }
        let Some(election) = &mut self.hosts[index].election else {
            return;
        };
        let actions = election.handle(event, self.now);
        self.act(index, actions);
    }

    pub fn act(&mut self, index: usize, actions: Actions) {
        self.write_down(index, &actions);
        self.count(&actions);
        self.hosts[index].wake = actions.wake.map(|wake| self.late(wake.max(self.now)));
        for (vips, add) in [(&actions.yields, false), (&actions.claims, true)] {
            for vip in vips {
                let until = if add {
                    actions.claim_until
                } else {
                    Duration::MAX
                };
                let op = Op {
                    vip: *vip,
                    add,
                    until,
                };
                self.schedule(self.now + OP, Due::Op(index, op));
            }
        }
        for vip in &actions.announcements {
            self.judge
                .announces(index, *vip, &self.hosts[index], self.now);
            self.announce(index, *vip);
        }
        for question in &actions.questions {
            let own = self.hosts[index].id.0;
            self.judge.asks(index, question);
            self.send(
                index,
                *question,
                (question.sender == Sender::Own).then_some(own),
            );
        }
        self.judge.notices(index, &actions.notices, self.now);
    }

    fn late(&mut self, at: Duration) -> Duration {
        match &mut self.chance {
            Some(chance) if chance.jitter > 0 => at + ms(chance.below(chance.jitter)),
            _ => at,
        }
    }

    pub fn op(&mut self, index: usize, op: Op) {
        let host = &mut self.hosts[index];
        if !host.runs() {
            // The agent was stopped right before the system call, and makes it when it goes on.
            let ops = host
                .waiting
                .iter()
                .take_while(|waiting| matches!(waiting, Waiting::Op(_)));
            let place = ops.count();
            host.waiting.insert(place, Waiting::Op(op));
            return;
        }
        if !op.add {
            host.nic.remove(&op.vip);
        } else if self.now <= op.until {
            host.nic.insert(op.vip);
        }
        self.tell_nic(index, op.vip);
    }

    /// Reports to the agent, if it runs, whether the NIC carries `vip`.
    pub fn tell_nic(&mut self, index: usize, vip: IpAddr) {
        let is_there = self.hosts[index].nic.contains(&vip);
        let list = |there| if is_there == there { vec![vip] } else { vec![] };
        let event = Event::Nic {
            present: list(true),
            absent: list(false),
        };
        if self.hosts[index].runs() {
            self.give(index, event);
        }
    }
}
