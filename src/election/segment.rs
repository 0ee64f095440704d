use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::model::Mac;

use super::{
    Actions, DirectorId, ElectionConfig, Event, Notice, Received, TakeCause,
    context::{CommonState, Context},
    frame_kind::{FrameKind, classify},
    peers::{Liveness, PeerChange, Peers},
    rate_limiter::RateLimiters,
    standby::{CurrentHolder, Standby},
    timing::Timing,
    vip::{State, Vip},
};

/// One director's part in the election of the holders of a segment's VIPs: its whole state.
///
/// [`Election::handle`] is a function of this state, an event and the time; it reads no clock and does nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    timing: Arc<Timing>,
    config: Arc<ElectionConfig>,
    carrier: bool,
    /// The time from which a new VIP may be moved here.
    steady: Duration,
    peers: Peers,
    vips: BTreeMap<IpAddr, Entry>,
    /// When each VIP is due.
    queue: BTreeSet<(Duration, IpAddr)>,
    rate_limiters: RateLimiters,
    /// The time by which the next event was due.
    expected: Option<Duration>,
    losses: Losses,
}

/// Frames that were lost on the way to the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Losses {
    /// Whether there were any that nothing was done about yet.
    open: bool,
    /// From this time on something is done about them.
    next: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    vip: Vip,
    common: CommonState,
    /// Its place in the queue.
    at: Option<Duration>,
}

impl Entry {
    fn new(state: State, steady: Duration) -> Self {
        let common = CommonState {
            steady,
            ..CommonState::default()
        };
        Self {
            vip: Vip { state },
            common,
            at: None,
        }
    }
}

/// The state of a VIP on one director, for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipState {
    /// On the NIC.
    Holds {
        /// Whether no other director had it at the last check.
        sure: bool,
    },
    /// Another director has it.
    Standby {
        /// Who.
        holder: DirectorId,
    },
    /// No host has it, as far as known. It is another director's turn, or this one probes.
    Vacant,
    /// A stranger has it.
    Blocked {
        /// The stranger's MAC, if it was heard lately.
        mac: Option<Mac>,
    },
    /// Being moved here from another director, which is asked to agree.
    Moving,
    /// On its way to the NIC.
    Claiming,
    /// On its way from the NIC.
    Yielding,
}

impl Election {
    /// A director that starts. `held` are the VIPs that an earlier agent left on its NIC: it goes on holding them, but
    /// probes before it announces anything.
    pub fn new(
        timing: Arc<Timing>,
        config: Arc<ElectionConfig>,
        held: &BTreeSet<IpAddr>,
        carrier: bool,
        now: Duration,
    ) -> (Self, Actions) {
        let steady = now + timing.hold_down;
        let mut election = Self {
            timing,
            config: config.clone(),
            carrier,
            steady,
            peers: Peers::default(),
            vips: BTreeMap::new(),
            queue: BTreeSet::new(),
            rate_limiters: RateLimiters::default(),
            expected: None,
            losses: Losses::default(),
        };
        let mut out = Actions::default();
        for ip in held {
            election.vips.insert(*ip, Entry::new(State::Gone, steady));
            election.with(*ip, now, &mut out, |vip, cx| vip.nic(true, cx));
        }
        if !carrier {
            election.all(now, &mut out, |vip, cx| vip.carrier(false, cx));
        }
        election.config(config, now, &mut out);
        election.finish(now, &mut out);
        (election, out)
    }

    /// What to do about `event` at `now`, a clock that goes on while the machine sleeps (CLOCK_BOOTTIME).
    pub fn handle(&mut self, event: Event, now: Duration) -> Actions {
        let mut out = Actions {
            claim_until: now + self.timing.silence(),
            ..Actions::default()
        };
        if let Some(late) = self.late(now) {
            out.notices.push(Notice::Paused(late));
            self.peers.forget(now);
            self.all(now, &mut out, Vip::doubt);
        }
        match event {
            Event::Tick => self.tick(now, &mut out),
            Event::Received(heard) => self.heard(heard, now, &mut out),
            Event::Missed => self.losses.open = true,
            Event::Carrier(up) => self.carrier(up, now, &mut out),
            Event::Config(config) => self.config(config, now, &mut out),
            Event::Nic { present, absent } => {
                for ip in present {
                    self.vips
                        .entry(ip)
                        .or_insert_with(|| Entry::new(State::Gone, self.steady));
                    self.with(ip, now, &mut out, |vip, cx| vip.nic(true, cx));
                }
                for ip in absent {
                    self.with(ip, now, &mut out, |vip, cx| vip.nic(false, cx));
                }
            }
        }
        self.doubt_after_losses(now, &mut out);
        self.finish(now, &mut out);
        out
    }

    /// After lost frames, nothing that rests on silence counts. Under a flood frames are lost all the time, so between two
    /// such doubts there is time enough for a takeover.
    fn doubt_after_losses(&mut self, now: Duration, out: &mut Actions) {
        if self.losses.open && now >= self.losses.next {
            self.losses = Losses {
                open: false,
                next: now + self.timing.takeover() + self.timing.turn * 4,
            };
            self.all(now, out, Vip::doubt);
        }
    }

    /// By how much this event comes too late, if it does.
    fn late(&self, now: Duration) -> Option<Duration> {
        let late = now.saturating_sub(self.expected?);
        (late > self.timing.pause).then_some(late)
    }

    fn tick(&mut self, now: Duration, out: &mut Actions) {
        for change in self.peers.tick(&self.timing, now, out) {
            self.peer(change, now, out);
        }
        let due: Vec<IpAddr> = self
            .queue
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, ip)| *ip)
            .collect();
        for ip in due {
            self.with(ip, now, out, Vip::due);
        }
    }

    fn heard(&mut self, heard: Received, now: Duration, out: &mut Actions) {
        let Some((host, ip, kind)) = classify(heard, &self.config, &self.peers) else {
            return;
        };
        if kind == FrameKind::Confirmed
            && let Some(change) = self.peers.answered(DirectorId(ip), host.mac, now, out)
        {
            self.peer(change, now, out);
        }
        if kind == FrameKind::Announced {
            self.peers
                .announced(DirectorId(ip), host.mac, &self.timing, now);
        }
        if self.vips.contains_key(&ip) {
            if kind == FrameKind::Confirmed
                && let Some(change) = host
                    .director
                    .and_then(|director| self.peers.proved(director, out))
            {
                self.peer(change, now, out);
            }
            self.with(ip, now, out, |vip, cx| vip.heard(host, kind, cx));
        }
    }

    fn peer(&mut self, change: PeerChange, now: Duration, out: &mut Actions) {
        self.all(now, out, |vip, cx| vip.peer(change, cx));
    }

    fn carrier(&mut self, up: bool, now: Duration, out: &mut Actions) {
        if up == self.carrier {
            return;
        }
        self.carrier = up;
        self.steady = now + self.timing.hold_down;
        self.peers.forget(now);
        self.all(now, out, |vip, cx| vip.carrier(up, cx));
    }

    fn config(&mut self, config: Arc<ElectionConfig>, now: Duration, out: &mut Actions) {
        self.config = config;
        self.peers.config(&self.config, now);
        let new: Vec<IpAddr> = self
            .config
            .vips
            .keys()
            .filter(|ip| !self.vips.contains_key(ip))
            .copied()
            .collect();
        for ip in new {
            let mut entry = Entry::new(Standby::vacant(now, None, TakeCause::Vacant), self.steady);
            entry.common.ready = self.config.vips[&ip]
                .candidate(self.config.me)
                .is_some_and(|candidate| candidate.ready);
            self.vips.insert(ip, entry);
        }
        self.all(now, out, Vip::config);
    }

    fn all(&mut self, now: Duration, out: &mut Actions, act: impl Fn(&mut Vip, &mut Context<'_>)) {
        let ips: Vec<IpAddr> = self.vips.keys().copied().collect();
        for ip in ips {
            self.with(ip, now, out, &act);
        }
    }

    fn with(
        &mut self,
        ip: IpAddr,
        now: Duration,
        out: &mut Actions,
        act: impl FnOnce(&mut Vip, &mut Context<'_>),
    ) {
        let count = self.vips.len();
        let Some(entry) = self.vips.get_mut(&ip) else {
            return;
        };
        let mut cx = Context {
            vip: ip,
            now,
            timing: &self.timing,
            config: &self.config,
            peers: &self.peers,
            carrier: self.carrier,
            count,
            rate_limiters: &mut self.rate_limiters,
            common: &mut entry.common,
            out,
        };
        act(&mut entry.vip, &mut cx);
        let ends = entry.common.conflict_ends();
        let next = entry.vip.next().into_iter().chain(ends).min();
        if next != entry.at {
            self.queue.extend(next.map(|at| (at, ip)));
            if let Some(before) = std::mem::replace(&mut entry.at, next) {
                self.queue.remove(&(before, ip));
            }
        }
        if entry.vip.state == State::Gone {
            self.vips.remove(&ip);
        }
    }

    fn finish(&mut self, now: Duration, out: &mut Actions) {
        let vips = self.queue.first().map(|(at, _)| *at);
        // A director must notice that it stood still for as long as a takeover takes, even if nothing was due. So it
        // wakes at least every `ask`.
        let pulse = self
            .peers
            .next()
            .map(|next| next.min(now + self.timing.ask));
        out.wake = vips.into_iter().chain(pulse).min();
        self.expected = out.wake;
    }

    /// The state of `vip` on this director; `None`: it has no part in it.
    pub fn vip_state(&self, vip: IpAddr) -> Option<VipState> {
        let entry = self.vips.get(&vip)?;
        Some(match &entry.vip.state {
            State::Standby(standby) => match standby.holder() {
                CurrentHolder::Vacant(_) => VipState::Vacant,
                CurrentHolder::Director(holder, _) => VipState::Standby { holder: *holder },
                CurrentHolder::Stranger(_) => VipState::Blocked {
                    mac: entry.common.conflict.map(|conflict| conflict.mac),
                },
            },
            State::Probing(_) => VipState::Vacant,
            State::Moving(_) => VipState::Moving,
            State::Claiming(_) => VipState::Claiming,
            State::Holding(holding) => VipState::Holds {
                sure: holding.is_sure(),
            },
            State::Yielding(_) => VipState::Yielding,
            State::Gone => return None,
        })
    }

    /// Whether a peer's kernel answers; `None`: not known yet.
    pub fn answers(&self, peer: DirectorId) -> Option<bool> {
        match self.peers.liveness(peer) {
            Liveness::Unknown => None,
            Liveness::Up => Some(true),
            Liveness::Down => Some(false),
        }
    }
}
