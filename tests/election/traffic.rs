//! Frames: sent, lost, late, and what kernels answer.

use std::{net::IpAddr, time::Duration};

use directway::{
    election::{Event, Meaning, Received, Request, Sender},
    model::Mac,
};

use crate::{
    host::{Agent, Waiting},
    wire::{Chance, Fate, Flight, Form, LATENCY},
    world::{Due, World},
};

impl World {
    /// Host `from` announces `vip`, in each form. Others that have it answer the request.
    pub fn announce(&mut self, from: usize, vip: IpAddr) {
        let request = Request {
            about: vip,
            to: None,
            sender: Sender::Unspecified,
        };
        self.send(from, request, Some(vip));
        let reply = Form::Reply.announces(vip, self.hosts[from].mac);
        self.transmit(from, None, reply);
    }

    pub fn send(&mut self, from: usize, question: Request, has: Option<IpAddr>) {
        let heard = Received {
            from: self.hosts[from].mac,
            has,
            meaning: Meaning::Request(question.about),
            to_us: question.to.is_some(),
        };
        self.transmit(from, question.to, heard);
        let cached = self
            .others
            .cache
            .get(&question.about)
            .filter(|_| question.to.is_none());
        let strangers = self.others.strangers.get(&question.about);
        let strange = strangers.filter(|mac| question.to.is_none_or(|to| to == **mac));
        let proxies = self.others.proxies.get(&question.about);
        let proxy = proxies.filter(|_| has.is_some() && question.to.is_none());
        for mac in cached
            .into_iter()
            .chain(strange)
            .chain(proxy)
            .copied()
            .collect::<Vec<Mac>>()
        {
            let answer = Received {
                from: mac,
                has: Some(question.about),
                meaning: Meaning::Reply(has),
                to_us: true,
            };
            let flight = Flight {
                from,
                to: from,
                heard: answer,
            };
            self.schedule(self.now + LATENCY, Due::Arrives(flight));
        }
    }

    fn transmit(&mut self, from: usize, to: Option<Mac>, heard: Received) {
        if let Some(ports) = &mut self.ports {
            ports.push((from, self.now));
        }
        let lost = self.others.lost_form;
        for host in 0..self.hosts.len() {
            if host == from
                || lost.is_some_and(|form| is_announcement(&heard, form))
                || to.is_some_and(|to| to != self.hosts[host].mac)
                || !self.connected(from, host)
                || self.others.cut.contains(&(from, host))
                || (to.is_none() && self.others.cut_broadcasts.contains(&(from, host)))
            {
                continue;
            }
            let flight = Flight {
                from,
                to: host,
                heard,
            };
            let fate = self.chance.as_mut().and_then(Chance::fate);
            self.fly(flight, LATENCY, fate);
        }
    }

    fn fly(&mut self, flight: Flight, after: Duration, fate: Option<Fate>) {
        let at = self.now + after;
        if fate.is_some() {
            self.judge.unheard(self.now + LATENCY);
        }
        match fate {
            None => self.schedule(at, Due::Arrives(flight)),
            Some(Fate::Lost) => {}
            Some(Fate::Late(by)) => {
                self.judge.unheard(at + by);
                self.schedule(at + by, Due::Arrives(flight));
            }
            Some(Fate::Twice(by)) => {
                self.judge.unheard(at + by);
                self.schedule(at, Due::Arrives(flight));
                self.schedule(at + by, Due::Arrives(flight));
            }
        }
    }

    /// Gives `fate` to the frame that would arrive next.
    pub fn spoil(&mut self, fate: Fate) {
        if let Some(entry) = self.queue.first_entry()
            && matches!(entry.get(), Due::Arrives(_))
        {
            let ((at, _), due) = entry.remove_entry();
            let Due::Arrives(flight) = due else { return };
            self.note(|| format!("{fate:?}: {flight:?}"));
            self.fly(flight, at.saturating_sub(self.now), Some(fate));
        }
    }

    pub fn connected(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.hosts[one], &self.hosts[other]);
        one.is_on_wire() && other.is_on_wire() && one.side == other.side
    }

    pub fn arrives(&mut self, flight: Flight) {
        let Flight { from, to, heard } = flight;
        if !self.hosts[to].is_on_wire() || (from != to && !self.connected(from, to)) {
            return;
        }
        if let Some(answer) = self.hosts[to].answer(&heard) {
            self.transmit(to, Some(heard.from), answer);
        }
        match self.hosts[to].agent {
            Agent::Runs if self.hosts[to].runs() => self.give(to, Event::Received(heard)),
            Agent::Paused => self.hosts[to].waiting.push(Waiting::Heard(heard)),
            Agent::Runs | Agent::Dead => {}
        }
    }
}

fn is_announcement(heard: &Received, form: Form) -> bool {
    heard
        .has
        .is_some_and(|vip| *heard == form.announces(vip, heard.from))
}

/// The address that a frame is about.
pub fn about(heard: &Received) -> IpAddr {
    match (heard.meaning, heard.has) {
        (Meaning::Request(about), _)
        | (Meaning::Reply(_), Some(about))
        | (Meaning::Reply(Some(about)), None) => about,
        (Meaning::Reply(None), None) => IpAddr::from([0, 0, 0, 0]),
    }
}
