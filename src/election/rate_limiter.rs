use std::time::Duration;

use super::timing::Rate;

/// Lets so many through in so much time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RateLimiter {
    from: Duration,
    used: u32,
}

impl RateLimiter {
    /// One more now? Otherwise the time to ask again.
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

/// How often each of `count` things can have its turn at `rate`.
pub(super) fn interval(count: usize, rate: Rate) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    rate.every.saturating_mul(count) / rate.count.max(1)
}

/// What VIPs share: how many of them may act now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RateLimiters {
    pub urgent: RateLimiter,
    pub background: RateLimiter,
}
