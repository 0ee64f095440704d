//! Faults, and changes of the configuration.

use std::time::Duration;

use crate::{
    host::{Agent, Kernel, vip},
    wire::ms,
    world::{Due, World},
};

/// What happens to the host of field `0`; a fault with a duration ends after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Its kernel dies, and boots again after the duration, if there is one.
    PowerLost(usize, Option<Duration>),
    Boots(usize),
    /// Its whole machine stands still.
    Frozen(usize, Duration),
    Thaws(usize),
    AgentPaused(usize, Duration),
    AgentResumes(usize),
    AgentDies(usize, Duration),
    AgentStarts(usize),
    /// It is alone on its part of the segment.
    Split(usize, Duration),
    Heals(usize),
    Unplugged(usize, Duration),
    Plugged(usize),
    /// Its services are not all programmed for a while.
    Unready(usize, Duration),
    Ready(usize),
    /// The first VIP is deleted from its NIC, not by its agent.
    AddressDeleted(usize),
    /// It becomes the preferred director of all VIPs, and all agents read that at once.
    Preferred(usize),
    /// The same, but the other agents read it later.
    PreferredLate(usize, Duration),
    SourcesCatchUp,
}

impl Fault {
    /// Whether it hits agents only, so that no VIP may move.
    pub fn spares_kernels(self) -> bool {
        matches!(
            self,
            Self::AgentPaused(..)
                | Self::AgentResumes(_)
                | Self::AgentDies(..)
                | Self::AgentStarts(_)
        )
    }
}

impl World {
    pub fn apply(&mut self, fault: Fault) {
        self.note(|| format!("*** {fault:?}"));
        self.judge.fault(fault, self.now);
        match fault {
            Fault::PowerLost(host, back) => self.power_lost(host, back),
            Fault::Boots(host) => {
                if self.hosts[host].kernel == Kernel::Dead {
                    self.hosts[host].kernel = Kernel::Alive;
                    self.then(ms(37), Fault::AgentStarts(host));
                }
            }
            Fault::Frozen(host, time) => {
                if self.hosts[host].kernel == Kernel::Alive {
                    self.hosts[host].kernel = Kernel::Frozen;
                    self.then(time, Fault::Thaws(host));
                }
            }
            Fault::Thaws(host) => {
                if self.hosts[host].kernel == Kernel::Frozen {
                    self.hosts[host].kernel = Kernel::Alive;
                    self.judge.returns(host, &self.hosts[host], self.now);
                    self.wake_agent(host);
                }
            }
            Fault::AgentPaused(host, time) => {
                if self.hosts[host].agent == Agent::Runs {
                    self.hosts[host].agent = Agent::Paused;
                    self.judge.paused(host, self.now);
                    self.then(time, Fault::AgentResumes(host));
                }
            }
            Fault::AgentResumes(host) => {
                if self.hosts[host].agent == Agent::Paused {
                    self.hosts[host].agent = Agent::Runs;
                    self.wake_agent(host);
                }
            }
            Fault::AgentDies(host, time) => {
                if self.hosts[host].agent != Agent::Dead {
                    self.crash_agent(host);
                    self.then(time, Fault::AgentStarts(host));
                }
            }
            Fault::AgentStarts(host) => {
                if self.hosts[host].kernel == Kernel::Frozen {
                    self.then(ms(50), fault);
                } else if self.hosts[host].agent == Agent::Dead {
                    self.start_agent(host);
                }
            }
            Fault::Split(host, time) => {
                self.hosts[host].side = 1 + host as u8;
                self.then(time, Fault::Heals(host));
            }
            Fault::Heals(host) => self.hosts[host].side = 0,
            Fault::Unplugged(host, time) => {
                self.cable(host, false);
                self.then(time, Fault::Plugged(host));
            }
            Fault::Plugged(host) => self.cable(host, true),
            Fault::Unready(host, time) => {
                self.ready[host] = false;
                self.sources_say(host, ms(7));
                self.then(time, Fault::Ready(host));
            }
            Fault::Ready(host) => {
                self.ready[host] = true;
                self.sources_say(host, ms(7));
            }
            Fault::AddressDeleted(host) => {
                let host_runs = self.hosts[host].kernel == Kernel::Alive;
                if host_runs && self.hosts[host].nic.remove(&vip(0)) {
                    self.tell_nic(host, vip(0));
                }
            }
            Fault::Preferred(host) => {
                self.prefer(host);
                self.sources_say(host, Duration::ZERO);
            }
            Fault::PreferredLate(host, time) => {
                self.prefer(host);
                self.sources_say(host, time);
            }
            Fault::SourcesCatchUp => {
                for host in 0..self.hosts.len() {
                    self.configure(host);
                }
            }
        }
    }

    fn then(&mut self, after: Duration, fault: Fault) {
        self.schedule(self.now + after, Due::Fault(fault));
    }

    /// Host `first` reads the sources now, the others `later`.
    fn sources_say(&mut self, first: usize, later: Duration) {
        self.configure(first);
        if later.is_zero() {
            self.apply(Fault::SourcesCatchUp);
        } else {
            self.then(later, Fault::SourcesCatchUp);
        }
    }

    fn prefer(&mut self, host: usize) {
        self.requested = true;
        for order in self.orders.values_mut() {
            order.sort_by_key(|candidate| *candidate != host);
        }
    }

    fn power_lost(&mut self, host: usize, back: Option<Duration>) {
        self.crash_agent(host);
        self.hosts[host].kernel = Kernel::Dead;
        self.hosts[host].nic.clear();
        if let Some(after) = back {
            self.then(after, Fault::Boots(host));
        }
    }

    fn cable(&mut self, host: usize, plugged: bool) {
        self.hosts[host].cable = plugged;
        if plugged {
            self.judge.returns(host, &self.hosts[host], self.now);
        }
        if self.hosts[host].runs() {
            self.give(host, directway::election::Event::Carrier(plugged));
        }
    }
}
