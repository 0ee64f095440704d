use std::time::Duration;

use super::{
    DirectorId, Notice, TakeCause,
    context::Context,
    frame_kind::FrameKind,
    holding::Holding,
    standby::{Standby, Vacancy},
    vip::{NextState, State},
};

/// A claim counts as failed if the driver has not reported its result after this time.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The VIP is being added to the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claiming {
    vacancy: Vacancy,
    /// Whether another director may have claimed it first.
    doubt: bool,
    at: Duration,
}

impl Claiming {
    /// All probes were silent: claims the VIP.
    pub fn vacant(vacancy: Vacancy, cx: &mut Context<'_>) -> State {
        cx.out.claims.insert(cx.vip);
        State::Claiming(Self {
            vacancy,
            doubt: false,
            at: cx.now + TIMEOUT,
        })
    }

    /// `holder` agreed to the move: claims the VIP.
    pub fn planned(holder: DirectorId, since: Duration, cx: &mut Context<'_>) -> State {
        let vacancy = Vacancy {
            since,
            from: cx.now,
            last: Some(holder),
            cause: TakeCause::Planned,
            deferred: 0,
        };
        Self::vacant(vacancy, cx)
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        (cx.now >= self.at).then(|| self.failed(cx.timing.retry, cx))
    }

    pub fn heard(&mut self, kind: FrameKind) -> NextState {
        match kind {
            FrameKind::Announced | FrameKind::Confirmed => self.doubt = true,
            FrameKind::Answered | FrameKind::Probed | FrameKind::Asked => {}
        }
        None
    }

    pub fn doubt(&mut self) {
        self.doubt = true;
    }

    /// The driver reports whether the NIC carries the VIP now.
    pub fn done(&mut self, present: bool, cx: &mut Context<'_>) -> State {
        if !present {
            // A claim in doubt may have come too late to be tried, so it is repeated at once.
            let wait = if self.doubt {
                Duration::ZERO
            } else {
                cx.timing.retry
            };
            return self.failed(wait, cx);
        }
        cx.out.notices.push(Notice::Took {
            vip: cx.vip,
            from: self.vacancy.last,
            cause: self.vacancy.cause,
            after: cx.now.saturating_sub(self.vacancy.since),
        });
        let agreed = self
            .vacancy
            .last
            .filter(|_| self.vacancy.cause == TakeCause::Planned);
        Holding::claimed(agreed, !self.doubt, cx)
    }

    fn failed(&self, wait: Duration, cx: &mut Context<'_>) -> State {
        match (self.vacancy.cause, self.vacancy.last) {
            (TakeCause::Planned, Some(holder)) => {
                cx.common.ask_again = cx.now + cx.timing.retry;
                Standby::behind(holder, cx)
            }
            _ => Standby::vacancy(Vacancy {
                from: cx.now + wait,
                ..self.vacancy
            }),
        }
    }
}
