use std::time::Duration;

use super::timing::Rate;

/// Lets a number of VIPs act in an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RateLimiter {
    from: Duration,
    used: u32,
}

impl RateLimiter {
    /// Takes one of this interval's turns; an error is the time of the next interval.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        if now >= self.from + rate.every {
            self.from = now;
            self.used = 0;
        }
        if self.used >= rate.count {
            return Err(self.from + rate.every);
        }
        self.used += 1;
        Ok(())
    }
}

/// The interval at which each of `count` VIPs has its turn at `rate`.
pub(super) fn interval(count: usize, rate: Rate) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    rate.every.saturating_mul(count) / rate.count.max(1)
}

/// The limits that all VIPs of a segment share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RateLimiters {
    pub urgent: RateLimiter,
    pub background: RateLimiter,
    pub announcements: RateLimiter,
    pub reports: RateLimiter,
}
