use std::{net::IpAddr, time::Duration};

use crate::model::Mac;

use super::{
    Actions, Candidate, DirectorId, ElectionConfig, GiveCause, Notice, Sender,
    config::{Rank, VipConfig},
    frame_kind::Host,
    peers::{Liveness, Peers},
    rate_limiter::{RateLimiters, interval},
    timing::Timing,
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
    /// Another host that answers too, and when it was last heard.
    pub conflict: Option<(Mac, Duration)>,
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

    pub fn probe(&mut self) {
        self.out.ask(self.vip, None, Sender::Unspecified);
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

    /// Another host answers for the VIP. The notice is given once per host.
    pub fn conflict(&mut self, host: Host) {
        let mac = host.mac;
        if self.common.conflict.is_none_or(|(known, _)| known != mac) {
            self.out.notices.push(Notice::Conflict {
                vip: self.vip,
                mac,
                director: host.director,
            });
        }
        self.common.conflict = Some((mac, self.now));
    }

    pub fn conflict_over(&mut self) {
        if self.common.conflict.take().is_some() {
            self.out
                .notices
                .push(Notice::ConflictOver { vip: self.vip });
        }
    }

    /// When a conflict is over if the other host is not heard again.
    pub fn conflict_ends(&self) -> Option<Duration> {
        let (_, heard) = self.common.conflict?;
        Some(heard + (self.timing.stranger * 2).max(self.check_interval() * 3))
    }
}
