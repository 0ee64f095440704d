use std::{net::IpAddr, time::Duration};

use crate::model::Mac;

use super::{
    Actions, Candidate, DirectorId, ElectionConfig, GiveCause, Notice, Sender,
    config::{Rank, VipConfig},
    frame_kind::Host,
    peers::{Liveness, Peers},
    rate_limiter::{RateLimiters, Turns, interval},
    timing::{Rate, Timing},
};

/// For how many VIPs a conflict is reported at once. The others follow when they are heard again.
const REPORTS: Rate = Rate {
    count: 16,
    every: Duration::from_secs(1),
};

/// What a VIP's state machine reads and writes.
pub(super) struct Context<'a> {
    pub vip: IpAddr,
    pub now: Duration,
    pub timing: &'a Timing,
    pub config: &'a ElectionConfig,
    pub peers: &'a Peers,
    pub carrier: bool,
    /// How many VIPs this election has.
    pub count: usize,
    pub rate_limiters: &'a mut RateLimiters,
    pub common: &'a mut CommonState,
    pub out: &'a mut Actions,
}

/// What is remembered of a VIP in every state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct CommonState {
    /// From this time on the VIP may be moved here: this director has been steady for long enough.
    pub steady: Duration,
    /// From this time on the VIP may be moved: it has been at its holder for long enough.
    pub settled: Duration,
    /// From this time on a holder that did not agree to a move may be asked again.
    pub ask_again: Duration,
    /// Whether this director was ready when last looked at.
    pub ready: bool,
    /// Another host that answers too.
    pub conflict: Option<Conflict>,
    /// From this time on an announcement is believed until the director was asked. Later than now if one was found wrong
    /// lately.
    pub believes_from: Duration,
    /// Its turns at what all VIPs of the segment share.
    pub turns: Turns,
}

impl CommonState {
    /// When the conflict is over if the other host is not heard again.
    pub fn conflict_ends(&self) -> Option<Duration> {
        let conflict = self.conflict?;
        Some(conflict.heard + conflict.lasts)
    }
}

/// Another host claims the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Conflict {
    /// The host that was reported, or the last one that was heard.
    pub mac: Mac,
    /// When this or another host was last heard.
    heard: Duration,
    /// When it was last reported; `None`: not yet.
    told: Option<Duration>,
    /// The conflict is over after this time without a claim.
    lasts: Duration,
}

impl Context<'_> {
    fn wanted(&self) -> Option<&VipConfig> {
        self.config.vips.get(&self.vip).map(AsRef::as_ref)
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted().is_some()
    }

    /// This director's place among those that may hold the VIP.
    pub fn me(&self) -> Option<Candidate> {
        self.wanted()?.candidate(self.config.me)
    }

    fn rank(&self, director: DirectorId) -> Rank {
        Rank::of(director, self.wanted())
    }

    pub fn is_outranked_by(&self, director: DirectorId) -> bool {
        self.rank(director) < self.rank(self.config.me)
    }

    /// Whether this director agrees to move the VIP to `director`, which is ready: otherwise it would not ask.
    pub fn would_give_to(&self, director: DirectorId) -> bool {
        self.rank(director).as_ready() < self.rank(self.config.me)
    }

    /// Other candidates that are not known to be down.
    fn others(&self) -> impl Iterator<Item = Candidate> {
        let order = self.wanted().map_or(&[][..], |wanted| &wanted.order);
        order.iter().copied().filter(|candidate| {
            candidate.director != self.config.me
                && self.peers.liveness(candidate.director) != Liveness::Down
        })
    }

    pub fn has_others(&self) -> bool {
        self.others().next().is_some()
    }

    /// How many candidates, `except` for one, come before this director.
    pub fn ahead(&self, except: Option<DirectorId>) -> u32 {
        let mine = self.rank(self.config.me);
        let ahead = self
            .others()
            .filter(|other| Some(other.director) != except && self.rank(other.director) < mine)
            .count();
        u32::try_from(ahead).unwrap_or(u32::MAX)
    }

    /// How long after a VIP fell vacant it is this director's turn; `None` = never.
    pub fn turn(&self) -> Option<Duration> {
        let me = self.me()?;
        let turn = self.timing.turn.saturating_mul(self.ahead(None));
        let is_last_resort = !me.ready && self.others().any(|other| other.ready);
        Some(if is_last_resort {
            turn + self.timing.patience
        } else {
            turn
        })
    }

    /// How long this director waits after a disagreement about who is better. Each director waits for a different
    /// time.
    pub fn wire_turn(&self) -> Duration {
        let before = self
            .config
            .peers
            .keys()
            .filter(|peer| **peer < self.config.me)
            .count();
        self.timing
            .turn
            .saturating_mul(u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Whether the VIP should move here from `holder`.
    pub fn is_target(&self, holder: DirectorId) -> bool {
        self.config.fresh
            && self.me().is_some_and(|me| me.ready)
            && self.peers.liveness(holder) == Liveness::Up
            && self.ahead(None) == 0
    }

    /// The time from which the VIP may be moved here from `holder`.
    pub fn may_move_from(&self, holder: DirectorId) -> Duration {
        let on_request = self.wanted().is_some_and(|wanted| wanted.on_request);
        // A holder that may no longer hold the VIP keeps it only until a successor has it: the VIP need not be settled.
        let may_stay = self
            .wanted()
            .is_some_and(|it| it.candidate(holder).is_some());
        let settled = if on_request || !may_stay {
            Duration::ZERO
        } else {
            self.common.settled
        };
        settled.max(self.common.steady).max(self.common.ask_again)
    }

    /// How often an undisturbed VIP is checked. With many VIPs the interval grows, so that each has its turn.
    pub fn check_interval(&self) -> Duration {
        self.timing
            .check
            .max(interval(self.count, self.timing.background))
    }

    /// How often a VIP is announced that is held undisturbed. It grows with many VIPs, too.
    pub fn refresh_interval(&self) -> Duration {
        self.timing
            .refresh
            .max(interval(self.count, self.timing.urgent))
    }

    /// Whether it is this VIP's turn at a probe of a vacant VIP or a check after a fault; an error is the time to ask again.
    pub fn urgent_turn(&mut self) -> Result<(), Duration> {
        let turn = &mut self.common.turns.urgent;
        let limiter = &mut self.rate_limiters.urgent;
        limiter.take(turn, self.timing.urgent, self.now)
    }

    /// The same at a check of a VIP that is in order, or at a planned move.
    pub fn background_turn(&mut self) -> Result<(), Duration> {
        let turn = &mut self.common.turns.background;
        let limiter = &mut self.rate_limiters.background;
        limiter.take(turn, self.timing.background, self.now)
    }

    /// The same at an announcement.
    pub fn announcement_turn(&mut self) -> Result<(), Duration> {
        let turn = &mut self.common.turns.announcement;
        let limiter = &mut self.rate_limiters.announcements;
        limiter.take(turn, self.timing.urgent, self.now)
    }

    /// An announcement that does not wait for its turn.
    pub fn spend_announcement(&mut self) {
        let limiter = &mut self.rate_limiters.announcements;
        limiter.spend(self.timing.urgent, self.now);
    }

    pub fn probe(&mut self) {
        self.out.ask(self.vip, None, Sender::Unspecified);
    }

    /// The MACs of directors that may have the VIP although they did not answer a probe, because broadcasts may be lost
    /// where unicasts are not: all that are up, and those that report it.
    pub fn may_have(&self) -> Vec<Mac> {
        self.of_peers(|peer| self.peers.liveness(peer) == Liveness::Up || self.reports(peer))
    }

    /// The same for a holder that is sure: one director at each `look`, in turn, and those that report it.
    pub fn may_have_at(&self, look: u32) -> Vec<Mac> {
        let count = u32::try_from(self.config.peers.len()).unwrap_or(u32::MAX);
        let turn = look.checked_rem(count).unwrap_or(0);
        let in_turn = self.config.peers.keys().nth(turn as usize).copied();
        self.of_peers(|peer| {
            let is_its_turn = in_turn == Some(peer) && self.peers.liveness(peer) == Liveness::Up;
            is_its_turn || self.reports(peer)
        })
    }

    fn of_peers(&self, keep: impl Fn(DirectorId) -> bool) -> Vec<Mac> {
        let peers = self.config.peers.keys().copied().filter(|peer| keep(*peer));
        peers.filter_map(|peer| self.peers.mac(peer)).collect()
    }

    fn reports(&self, peer: DirectorId) -> bool {
        self.wanted()
            .is_some_and(|wanted| wanted.reported.contains(&peer))
    }

    /// Whether an announcement of `director` is believed until it was asked. A forged one costs a few questions, but a
    /// flood of them must not keep the VIP vacant.
    pub fn believes(&self, director: DirectorId) -> bool {
        self.peers.liveness(director) != Liveness::Down && self.now >= self.common.believes_from
    }

    /// An announcement was wrong: for a while, those that announce the VIP are asked before they are believed.
    pub fn believes_less(&mut self) {
        self.common.believes_from = self.now + self.timing.stranger;
    }

    /// Asks all hosts as any host does. One that answers for others (proxy ARP) does not answer probes (`arp_process`,
    /// net/ipv4/arp.c).
    pub fn ask_all(&mut self) {
        self.out.ask(self.vip, None, Sender::Own);
    }

    /// Asks one host by unicast. Only that host answers, and its answer differs from one to a probe.
    pub fn confirm(&mut self, mac: Mac) {
        self.out.ask(self.vip, Some(mac), Sender::Own);
    }

    /// Asks a holder to agree to a move, or agrees to it.
    pub fn ask_alone(&mut self, mac: Mac) {
        self.out.ask(self.vip, Some(mac), Sender::Unspecified);
    }

    pub fn announce(&mut self) {
        self.out.announcements.insert(self.vip);
    }

    pub fn gave(&mut self, to: Option<DirectorId>, cause: GiveCause) {
        if to.is_some() {
            // Another director has the VIP, so the dispute is over.
            self.conflict_over();
        }
        self.out.yields.insert(self.vip);
        self.out.notices.push(Notice::Gave {
            vip: self.vip,
            to,
            cause,
        });
    }

    /// Another host answers for the VIP.
    pub fn conflict(&mut self, host: Host) {
        let lasts = (self.timing.stranger * 2).max(self.check_interval() * 3);
        self.conflict_for(host, lasts);
    }

    /// A director announces the VIP and answers no questions. Between two announcements it is silent.
    pub fn conflict_unanswered(&mut self, host: Host) {
        let lasts = self.refresh_interval() + self.check_interval() * 2;
        self.conflict_for(host, lasts);
    }

    /// The notice is given once per host. Where hosts take turns, or forged frames look like that, it is given once in
    /// `defend` per VIP, and for some VIPs in a second.
    fn conflict_for(&mut self, host: Host, lasts: Duration) {
        let before = self.common.conflict;
        let mut conflict = Conflict {
            heard: self.now,
            lasts,
            ..before.unwrap_or(Conflict {
                mac: host.mac,
                heard: self.now,
                told: None,
                lasts,
            })
        };
        let is_news = match conflict.told {
            None => true,
            Some(told) => conflict.mac != host.mac && self.now >= told + self.timing.defend,
        };
        if is_news && self.rate_limiters.reports.is_free(REPORTS, self.now) {
            conflict.mac = host.mac;
            conflict.told = Some(self.now);
            self.out.notices.push(Notice::Conflict {
                vip: self.vip,
                mac: host.mac,
                director: host.director,
            });
        }
        self.common.conflict = Some(conflict);
    }

    pub fn conflict_over(&mut self) {
        let conflict = self.common.conflict.take();
        if conflict.is_some_and(|conflict| conflict.told.is_some()) {
            self.out
                .notices
                .push(Notice::ConflictOver { vip: self.vip });
        }
    }
}
