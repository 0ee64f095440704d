use std::time::Duration;

use crate::model::Mac;

use super::{
    DirectorId, GiveCause, Notice, TakeCause,
    announcing::Announcing,
    contest::{Contest, ContestState},
    context::Context,
    frame_kind::{FrameKind, Host},
    peers::{Liveness, PeerChange},
    vip::{NextState, State},
    yielding::Yielding,
};

/// After this many silent probes an unsure holder is sure again.
const ROUNDS: u32 = 2;
/// Every this many checks, and while there is a conflict, a holder also asks as any host does.
const ORDINARY: u32 = 30;
/// How long an agreement to a planned move is valid.
const AGREED: Duration = Duration::from_secs(1);

/// The VIP is on the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holding {
    announcing: Announcing,
    detection: ConflictDetection,
    /// Another director that seems to have it too.
    contest: Option<Contest>,
    /// The director that it agreed to give the VIP to.
    agreed: Option<Agreement>,
    /// A director that claims the VIP and does not answer.
    unanswered: Option<Unanswered>,
    /// When the VIP was last defended against a stranger.
    defended: Option<Duration>,
    /// This director may no longer hold the VIP, and gives it up at this time at the latest.
    retire: Option<Duration>,
    at: Duration,
}

/// To move the VIP to another director.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Agreement {
    with: DirectorId,
    /// Until when it is valid.
    until: Duration,
    /// Whether the successor was asked if it has the VIP: its announcement is a broadcast, which may be lost where unicasts
    /// are not.
    asked: bool,
}

impl Agreement {
    /// When to ask the successor.
    fn asks_at(&self, cx: &Context<'_>) -> Option<Duration> {
        let began = self.until.saturating_sub(AGREED);
        (!self.asked).then(|| began + cx.timing.probe * 2)
    }
}

/// A director's claims to the VIP that could not be confirmed by asking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unanswered {
    director: DirectorId,
    since: Duration,
    last: Duration,
}

/// A holder probes for other holders of the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ConflictDetection {
    next: Duration,
    /// Probes to go until the holder is sure: 0 = sure. An unsure holder announces nothing, and yields to another
    /// director that has the VIP.
    doubts: u32,
    /// Whether the next check is paced as urgent, not as background.
    urgent: bool,
    /// How many checks there were.
    looks: u32,
}

impl Holding {
    /// The VIP was just added, after silent probes or by agreement.
    pub fn claimed(from: Option<DirectorId>, sure: bool, cx: &mut Context<'_>) -> State {
        cx.common.settled = cx.now + cx.timing.hold_down;
        let mut holding = Self::new(sure, cx);
        if let Some(from) = from {
            holding.contest = Some(Contest::expected(from, cx.now));
            // The predecessor may have come back from the other half of a divided segment just before, and so not
            // know of a third holder.
            holding.detection.next = cx.now + cx.timing.probe * 2;
            holding.detection.urgent = true;
        }
        // Announces at once.
        let next = holding.due(cx);
        next.unwrap_or(State::Holding(holding))
    }

    /// Found on the NIC.
    pub fn adopted(cx: &mut Context<'_>) -> State {
        cx.out.notices.push(Notice::Took {
            vip: cx.vip,
            from: None,
            cause: TakeCause::Adopted,
            after: Duration::ZERO,
        });
        State::Holding(Self::new(false, cx))
    }

    fn new(sure: bool, cx: &Context<'_>) -> Self {
        let detection = ConflictDetection {
            next: if sure {
                cx.now + cx.check_interval()
            } else {
                cx.now
            },
            doubts: if sure { 0 } else { ROUNDS + 1 },
            urgent: false,
            looks: 0,
        };
        Self {
            announcing: Announcing::burst(cx.now),
            detection,
            contest: None,
            agreed: None,
            unanswered: None,
            defended: None,
            retire: None,
            at: cx.now,
        }
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    /// Something changed that this state depends on, so it is due at `now`.
    pub fn look(&mut self, now: Duration) {
        self.at = now;
    }

    /// Whether no other director had the VIP at the last check.
    pub fn is_sure(&self) -> bool {
        self.detection.doubts == 0
    }

    /// Frames were missed, so another director may have the VIP by now.
    pub fn doubt(&mut self, now: Duration) {
        self.detection = ConflictDetection {
            next: now,
            doubts: ROUNDS + 1,
            urgent: true,
            ..self.detection
        };
        self.agreed = None;
        if let Some(contest) = &mut self.contest {
            contest.ask_again(now);
        }
        self.look(now);
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        if let Some(gone) = self.retire(cx) {
            return Some(gone);
        }
        if let Some(contest) = &mut self.contest
            && contest.due(cx) == ContestState::Over
        {
            if contest.was_real() {
                // Neighbours may have learnt the other's MAC.
                self.announcing = Announcing::burst(cx.now);
                cx.conflict_over();
            }
            let (third, unanswered) = (contest.third(), contest.unanswered());
            self.contest = third.map(|third| Contest::suspected(third, cx));
            if let Some(director) = unanswered {
                self.was_unanswered(director, cx);
            }
            if self.detection.doubts == 1 {
                // A switch that answered a broadcast for the rival must not keep the holder unsure.
                self.detection.next = cx.now;
            }
        }
        self.ask_successor(cx);
        self.look_for_rivals(cx);
        if self.is_sure() && cx.now >= self.announcing.next {
            self.announce(cx);
        }
        let announcing = Some(self.announcing.next).filter(|_| self.is_sure());
        let contest = self.contest.as_ref().map(Contest::next);
        let successor = self.agreed.and_then(|it| it.asks_at(cx));
        let others = [announcing, contest, successor, self.retire];
        self.at = others
            .into_iter()
            .flatten()
            .fold(self.detection.next, Duration::min);
        None
    }

    /// Announces the VIP as planned. Every announcement counts, but the first of a burst never waits: clients do, and it
    /// follows probes, which waited for their turn.
    fn announce(&mut self, cx: &mut Context<'_>) {
        if self.announcing.is_first() {
            cx.spend_announcement();
        } else if let Err(at) = cx.announcement_turn() {
            self.announcing.next = at;
            return;
        }
        cx.announce();
        self.announcing.done(cx.now, cx.refresh_interval());
    }

    /// The successor has not been heard, although it should have the VIP by now.
    fn ask_successor(&mut self, cx: &Context<'_>) {
        let Some(agreed) = &mut self.agreed else {
            return;
        };
        if agreed.asks_at(cx).is_some_and(|ask| cx.now >= ask) {
            agreed.asked = true;
            let successor = agreed.with;
            self.contest
                .get_or_insert_with(|| Contest::suspected(successor, cx));
        }
    }

    /// Keeps a VIP that this director may no longer hold until a successor has it, for a limited time.
    fn retire(&mut self, cx: &mut Context<'_>) -> NextState {
        if cx.me().is_some() {
            self.retire = None;
            return None;
        }
        let until = *self.retire.get_or_insert(cx.now + cx.timing.retire);
        let is_over = !cx.is_wanted() || !cx.has_others() || cx.now >= until;
        is_over.then(|| Yielding::start(None, GiveCause::NotWanted, cx))
    }

    fn look_for_rivals(&mut self, cx: &mut Context<'_>) {
        let detection = &mut self.detection;
        if cx.now < detection.next {
            return;
        }
        if detection.doubts == 1 && self.contest.is_none() {
            // No director answered the last probe.
            detection.doubts = 0;
            detection.urgent = false;
            detection.next = cx.now + cx.check_interval();
            self.announcing = Announcing::burst(cx.now);
            return;
        }
        let is_first = detection.doubts > ROUNDS || detection.doubts == 0;
        let may = match (is_first, detection.urgent || detection.doubts > 0) {
            (false, _) => Ok(()),
            (true, true) => cx.urgent_turn(),
            (true, false) => cx.background_turn(),
        };
        if let Err(at) = may {
            detection.next = at;
            return;
        }
        cx.probe();
        if detection.looks.is_multiple_of(ORDINARY) || cx.common.conflict.is_some() {
            cx.ask_all();
        }
        let suspects = if detection.urgent || detection.doubts > 0 {
            cx.may_have()
        } else {
            cx.may_have_at(detection.looks)
        };
        for mac in suspects {
            cx.confirm(mac);
        }
        detection.looks = detection.looks.wrapping_add(1);
        detection.urgent = false;
        detection.next = cx.now
            + if detection.doubts > 0 {
                cx.timing.probe
            } else {
                cx.check_interval()
            };
        detection.doubts = detection
            .doubts
            .saturating_sub(1)
            .max(u32::from(detection.doubts > 0));
    }

    pub fn heard(
        &mut self,
        director: DirectorId,
        mac: Mac,
        kind: FrameKind,
        cx: &mut Context<'_>,
    ) -> NextState {
        match kind {
            // The successor that this director agreed to.
            FrameKind::Announced if self.has_agreed_to(director, cx) => {
                Some(Yielding::start(Some(director), GiveCause::Outranked, cx))
            }
            // The frame may be old or a switch's, so this director asks the other one by unicast.
            FrameKind::Announced if self.was_asked_lately(director, cx) => None,
            FrameKind::Announced => {
                self.suspect(director, cx);
                if let Some(contest) = &mut self.contest {
                    contest.announced(director, cx.now);
                }
                None
            }
            FrameKind::Answered => {
                self.suspect(director, cx);
                None
            }
            FrameKind::Confirmed => {
                // An answer that this contest did not ask for may be old: it may have waited in a buffer while this
                // director stood still.
                if self.contest.as_ref().is_some_and(Contest::has_asked) {
                    return self.rival(director, mac, cx);
                }
                self.suspect(director, cx);
                None
            }
            FrameKind::Asked => {
                // Agrees with one director at a time, because two would both take the VIP.
                let agreed = self.agreed.filter(|it| cx.now < it.until);
                let has_other = agreed.is_some_and(|it| it.with != director);
                if self.is_sure() && !has_other && cx.would_give_to(director) {
                    self.agreed = Some(Agreement {
                        with: director,
                        until: cx.now + AGREED,
                        asked: false,
                    });
                    self.look(cx.now);
                    cx.ask_alone(mac);
                }
                None
            }
            FrameKind::Probed => {
                self.was_unanswered(director, cx);
                None
            }
        }
    }

    /// `director` may have the VIP too. It is asked at the next tick, when all frames are read.
    fn suspect(&mut self, director: DirectorId, cx: &Context<'_>) {
        self.look(cx.now);
        match &mut self.contest {
            Some(contest) => contest.suspect(director),
            None => self.contest = Some(Contest::suspected(director, cx)),
        }
    }

    /// `director` announces the VIP or looks for rivals, but answers no questions. If it goes on with that, one way of the
    /// wire is broken: both may have the VIP, and neither can find that out by asking.
    fn was_unanswered(&mut self, director: DirectorId, cx: &mut Context<'_>) {
        let now = cx.now;
        let before = self.unanswered.filter(|before| {
            before.director == director
                && now <= before.last + cx.refresh_interval() + cx.check_interval()
        });
        let since = before.map_or(now, |before| before.since);
        self.unanswered = Some(Unanswered {
            director,
            since,
            last: now,
        });
        // One that has just come up is heard before it has answered.
        let goes_on = now >= since + cx.timing.takeover() * 2;
        let mac = cx.peers.mac(director);
        if let Some(mac) = mac.filter(|_| goes_on && cx.peers.liveness(director) == Liveness::Down)
        {
            let director = Some(director);
            cx.conflict_unanswered(Host { mac, director });
        }
    }

    /// A flood of forged announcements must not become one of questions.
    fn was_asked_lately(&self, director: DirectorId, cx: &Context<'_>) -> bool {
        self.contest.is_none()
            && self
                .unanswered
                .is_some_and(|it| it.director == director && cx.now < it.last + cx.timing.contest)
    }

    fn has_agreed_to(&self, director: DirectorId, cx: &Context<'_>) -> bool {
        self.agreed
            .is_some_and(|it| it.with == director && cx.now < it.until)
    }

    /// `director` has the VIP too, so one of both must yield.
    fn rival(&mut self, director: DirectorId, mac: Mac, cx: &mut Context<'_>) -> NextState {
        // A better director may be unsure and about to yield. If this one yielded too, no director would have the VIP.
        let contest = self.contest.as_ref();
        let is_firm = contest.is_some_and(|contest| contest.is_firm(director, cx));
        let is_outranked = is_firm && cx.is_outranked_by(director);
        let cause = if !self.is_sure() {
            GiveCause::Overtaken
        } else if self.has_agreed_to(director, cx) || is_outranked {
            GiveCause::Outranked
        } else {
            let contest = self
                .contest
                .get_or_insert_with(|| Contest::suspected(director, cx));
            self.at = cx.now;
            if contest.confirmed(director, cx) == ContestState::Open {
                if contest.is_disputed(cx) {
                    cx.conflict(Host {
                        mac,
                        director: Some(director),
                    });
                }
                return None;
            }
            GiveCause::Contest
        };
        Some(Yielding::start(Some(director), cause, cx))
    }

    /// Announces the VIP against a stranger (RFC 5227: defends it), but rarely, because the stranger may do the same.
    pub fn defend_against_stranger(&mut self, cx: &mut Context<'_>) {
        let is_due = self
            .defended
            .is_none_or(|last| cx.now >= last + cx.timing.defend);
        if is_due && self.is_sure() {
            self.defended = Some(cx.now);
            cx.announce();
        }
        self.look(cx.now);
    }

    pub fn peer(&mut self, (_, liveness): PeerChange, now: Duration) -> NextState {
        // The segment may have been divided, with a holder in each half.
        if liveness == Liveness::Up {
            self.detection.next = now;
            if self.is_sure() {
                self.detection.urgent = true;
            } else {
                // The peer could not hear the probes before.
                self.detection.doubts = self.detection.doubts.max(2);
            }
        }
        self.look(now);
        None
    }
}
