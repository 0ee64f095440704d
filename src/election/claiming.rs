use std::time::Duration;

use super::{
    DirectorId, Report, TakeCause,
    context::Context,
    holding::Holding,
    news::News,
    standby::{Standby, Vacancy},
    vip::{Next, Phase},
};

/// Until a claim whose outcome nobody tells counts as failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The VIP is being added to the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claiming {
    vacancy: Vacancy,
    /// Somebody may have been faster.
    doubt: bool,
    at: Duration,
}

impl Claiming {
    /// Everybody was asked, and nobody has it.
    pub fn vacant(vacancy: Vacancy, cx: &mut Context<'_>) -> Phase {
        cx.out.claims.insert(cx.vip);
        Phase::Claiming(Self {
            vacancy,
            doubt: false,
            at: cx.now + PATIENCE,
        })
    }

    /// `holder` agreed.
    pub fn planned(holder: DirectorId, since: Duration, cx: &mut Context<'_>) -> Phase {
        let vacancy = Vacancy {
            since,
            from: cx.now,
            last: Some(holder),
            cause: TakeCause::Planned,
        };
        Self::vacant(vacancy, cx)
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> Next {
        (cx.now >= self.at).then(|| self.failed(cx.timing.retry, cx))
    }

    pub fn heard(&mut self, news: News) -> Next {
        match news {
            News::Announced | News::Confirmed => self.doubt = true,
            News::Answered | News::Probed | News::Asked => {}
        }
        None
    }

    pub fn doubt(&mut self) {
        self.doubt = true;
    }

    /// It is on the NIC now, or it is not.
    pub fn done(&mut self, present: bool, cx: &mut Context<'_>) -> Phase {
        if !present {
            // A claim that came too late was never tried.
            let wait = if self.doubt {
                Duration::ZERO
            } else {
                cx.timing.retry
            };
            return self.failed(wait, cx);
        }
        cx.out.reports.push(Report::Took {
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

    fn failed(&self, wait: Duration, cx: &mut Context<'_>) -> Phase {
        match (self.vacancy.cause, self.vacancy.last) {
            (TakeCause::Planned, Some(holder)) => {
                cx.lasting.ask_again = cx.now + cx.timing.retry;
                Standby::behind(holder, cx)
            }
            _ => Standby::vacancy(Vacancy {
                from: cx.now + wait,
                ..self.vacancy
            }),
        }
    }
}
