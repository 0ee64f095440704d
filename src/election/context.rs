use std::{net::IpAddr, time::Duration};

use crate::model::Mac;

use super::{
    Actions, Candidate, DirectorId, GiveCause, Report, Sender, View,
    news::Host,
    pace::{Paces, interval},
    peers::{Peers, Standing},
    timing::Timing,
    view::{Rank, Wanted},
};

/// What the state of one VIP looks at and acts on.
pub(super) struct Context<'a> {
    pub vip: IpAddr,
    pub now: Duration,
    pub timing: &'a Timing,
    pub view: &'a View,
    pub peers: &'a Peers,
    pub carrier: bool,
    /// How many VIPs there are.
    pub count: usize,
    pub paces: &'a mut Paces,
    pub lasting: &'a mut Lasting,
    pub out: &'a mut Actions,
}

/// What is remembered of a VIP whatever its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lasting {
    /// From when on this director is steady enough to have the VIP moved here.
    pub steady: Duration,
    /// From when on the VIP has been in its place for long enough to be moved.
    pub settled: Duration,
    /// From when on a holder that did not agree to a move may be asked again.
    pub ask_again: Duration,
    /// Whether this director was ready when last looked at.
    pub ready: bool,
    /// Another host that answers too, and when it was last heard.
    pub conflict: Option<(Mac, Duration)>,
}

impl Context<'_> {
    fn wanted(&self) -> Option<&Wanted> {
        self.view.vips.get(&self.vip).map(AsRef::as_ref)
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted().is_some()
    }

    /// This director's place among those that may hold the VIP.
    pub fn me(&self) -> Option<Candidate> {
        self.wanted()?.candidate(self.view.me)
    }

    fn rank(&self, director: DirectorId) -> Rank {
        Rank::of(director, self.wanted())
    }

    pub fn is_outranked_by(&self, director: DirectorId) -> bool {
        self.rank(director) < self.rank(self.view.me)
    }

    /// Whether it agrees to give the VIP to `director`, which asks for it and so says that it is ready.
    pub fn would_give_to(&self, director: DirectorId) -> bool {
        self.rank(director).as_ready() < self.rank(self.view.me)
    }

    /// Other candidates that are not known to be down.
    fn others(&self) -> impl Iterator<Item = Candidate> {
        let order = self.wanted().map_or(&[][..], |wanted| &wanted.order);
        order.iter().copied().filter(|candidate| {
            candidate.director != self.view.me
                && self.peers.standing(candidate.director) != Standing::Down
        })
    }

    pub fn has_others(&self) -> bool {
        self.others().next().is_some()
    }

    /// How many candidates, `except` for one, come before this director.
    pub fn ahead(&self, except: Option<DirectorId>) -> u32 {
        let mine = self.rank(self.view.me);
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

    /// How long to let others go first after a disagreement about who is better: different for each director.
    pub fn wire_turn(&self) -> Duration {
        let before = self
            .view
            .peers
            .keys()
            .filter(|peer| **peer < self.view.me)
            .count();
        self.timing
            .turn
            .saturating_mul(u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Whether the VIP should move here from `holder`.
    pub fn is_target(&self, holder: DirectorId) -> bool {
        self.view.fresh
            && self.me().is_some_and(|me| me.ready)
            && self.peers.standing(holder) == Standing::Up
            && self.ahead(None) == 0
    }

    /// From when on it may move here from `holder`.
    pub fn may_move_from(&self, holder: DirectorId) -> Duration {
        let on_request = self.wanted().is_some_and(|wanted| wanted.on_request);
        // Who may no longer hold it keeps it for want of a successor, and not for ever.
        let may_stay = self
            .wanted()
            .is_some_and(|it| it.candidate(holder).is_some());
        let settled = if on_request || !may_stay {
            Duration::ZERO
        } else {
            self.lasting.settled
        };
        settled.max(self.lasting.steady).max(self.lasting.ask_again)
    }

    /// How often a VIP that is in order is looked at: less often where there are many, so that all have their turn.
    pub fn leisure(&self) -> Duration {
        self.timing
            .check
            .max(interval(self.count, self.timing.background))
    }

    pub fn probe(&mut self) {
        self.out.ask(self.vip, None, Sender::Nobody);
    }

    /// Asks one host in a way that nobody else answers, and whose answer can be told from others.
    pub fn confirm(&mut self, mac: Mac) {
        self.out.ask(self.vip, Some(mac), Sender::Own);
    }

    /// Asks a holder to agree to a move, or agrees to it.
    pub fn ask_alone(&mut self, mac: Mac) {
        self.out.ask(self.vip, Some(mac), Sender::Nobody);
    }

    pub fn announce(&mut self) {
        self.out.announcements.insert(self.vip);
    }

    pub fn gave(&mut self, to: Option<DirectorId>, cause: GiveCause) {
        if to.is_some() {
            // Another director's it is, and not in dispute any more.
            self.conflict_over();
        }
        self.out.yields.insert(self.vip);
        self.out.reports.push(Report::Gave {
            vip: self.vip,
            to,
            cause,
        });
    }

    /// Another host answers for the VIP; told once.
    pub fn conflict(&mut self, host: Host) {
        let mac = host.mac;
        if self.lasting.conflict.is_none_or(|(known, _)| known != mac) {
            self.out.reports.push(Report::Conflict {
                vip: self.vip,
                mac,
                director: host.director,
            });
        }
        self.lasting.conflict = Some((mac, self.now));
    }

    pub fn conflict_over(&mut self) {
        if self.lasting.conflict.take().is_some() {
            self.out
                .reports
                .push(Report::ConflictOver { vip: self.vip });
        }
    }

    /// When a conflict is over if the other host is not heard again.
    pub fn conflict_ends(&self) -> Option<Duration> {
        let (_, heard) = self.lasting.conflict?;
        Some(heard + (self.timing.stranger * 2).max(self.leisure() * 3))
    }
}
