use std::time::Duration;

use super::timing::Rate;

/// Lets a number of VIPs act in an interval. A VIP that has to wait learns in which interval it should ask again, a number
/// of them in each, so that thousands that wait are not looked at in every interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RateLimiter {
    /// This interval, and how many have acted in it.
    from: Duration,
    used: u32,
    /// The last interval that somebody waits for, and how many do.
    last: Duration,
    booked: u32,
}

/// When a VIP that waits should ask again.
pub(super) type Turn = Option<Duration>;

impl RateLimiter {
    /// Takes one of this interval's turns; an error is the time to ask again. `turn` belongs to the VIP, which keeps its
    /// place however often it asks. One that comes too late has to wait again.
    pub fn take(&mut self, turn: &mut Turn, rate: Rate, now: Duration) -> Result<(), Duration> {
        if let Some(at) = *turn
            && now < at
        {
            return Err(at);
        }
        self.begin(rate, now);
        // Who has not waited leaves this interval to those who have.
        let has_waited = turn.take().is_some();
        if self.used < rate.count && (has_waited || self.last < self.from) {
            self.used += 1;
            return Ok(());
        }
        let at = self.book(rate);
        *turn = Some(at);
        Err(at)
    }

    /// Takes a turn without waiting for one; those that wait have one less.
    pub fn spend(&mut self, rate: Rate, now: Duration) {
        self.begin(rate, now);
        self.used = self.used.saturating_add(1);
    }

    /// Takes one of this interval's turns, if there is one.
    pub fn is_free(&mut self, rate: Rate, now: Duration) -> bool {
        self.begin(rate, now);
        let is_free = self.used < rate.count;
        self.used += u32::from(is_free);
        is_free
    }

    /// Begins a new interval if the last one is over.
    fn begin(&mut self, rate: Rate, now: Duration) {
        if now < self.from + rate.every {
            return;
        }
        self.used = 0;
        // While VIPs wait for certain intervals, these do not shift.
        let mut passed = now.saturating_sub(self.from).as_nanos();
        passed /= rate.every.as_nanos().max(1);
        let next = u32::try_from(passed).map(|passed| self.from + rate.every * passed);
        self.from = match next {
            Ok(next) if next <= self.last => next,
            Ok(_) | Err(_) => now,
        };
    }

    /// A place in the next interval that has one.
    fn book(&mut self, rate: Rate) -> Duration {
        if self.last <= self.from {
            (self.last, self.booked) = (self.from + rate.every, 0);
        } else if self.booked >= rate.count {
            (self.last, self.booked) = (self.last + rate.every, 0);
        }
        self.booked += 1;
        self.last
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

/// The turns of a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Turns {
    pub urgent: Turn,
    pub background: Turn,
    pub announcement: Turn,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        count: 2,
        every: Duration::from_millis(20),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn those_that_wait_have_a_turn_each_in_the_order_in_which_they_asked() {
        let (mut limiter, mut turns) = (RateLimiter::default(), [Turn::None; 6]);
        let asked = turns
            .each_mut()
            .map(|turn| limiter.take(turn, RATE, ms(105)));
        let expected = [Ok(()), Ok(()), Err(125), Err(125), Err(145), Err(145)];
        assert_eq!(asked, expected.map(|it| it.map_err(ms)));
        // However often they ask, and whoever else does.
        for turn in &mut turns[2..] {
            let at = turn.unwrap();
            assert_eq!(limiter.take(turn, RATE, ms(110)), Err(at));
        }
        assert_eq!(limiter.take(&mut Turn::None, RATE, ms(125)), Err(ms(165)));
        // A tick comes a little later than it should.
        for (at, turn) in [125, 130, 145, 149].into_iter().zip(&mut turns[2..]) {
            assert_eq!(limiter.take(turn, RATE, ms(at)), Ok(()), "{at}");
        }
    }

    #[test]
    fn turns_that_were_missed_are_not_taken_all_at_once() {
        let (mut limiter, mut turns) = (RateLimiter::default(), [Turn::None; 100]);
        for turn in &mut turns {
            let _ = limiter.take(turn, RATE, ms(100));
        }
        let waiting = turns.iter_mut().filter(|turn| turn.is_some());
        let taken = waiting.map(|turn| limiter.take(turn, RATE, ms(700)));
        assert_eq!(taken.filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn all_have_had_their_turn_in_time_and_ask_twice() {
        let (mut limiter, mut turns) = (RateLimiter::default(), [Turn::None; 1000]);
        let (mut now, mut asked, mut acted) = (ms(100), 0, 0);
        while acted < turns.len() {
            let due = |turn: &Turn| turn.is_none_or(|at| at <= now);
            for turn in turns.iter_mut().filter(|turn| due(turn)) {
                asked += 1;
                if limiter.take(turn, RATE, now).is_ok() {
                    acted += 1;
                    *turn = Some(Duration::MAX);
                }
            }
            now += ms(5);
        }
        assert!(now <= ms(100 + 20 * 500), "{now:?}");
        assert_eq!(asked, 1998);
    }

    #[test]
    fn one_that_does_not_wait_takes_a_turn_from_those_that_do() {
        let (mut limiter, mut turns) = (RateLimiter::default(), [Turn::None; 4]);
        for turn in &mut turns {
            let _ = limiter.take(turn, RATE, ms(100));
        }
        limiter.spend(RATE, ms(121));
        assert_eq!(limiter.take(&mut turns[2], RATE, ms(122)), Ok(()));
        assert_eq!(limiter.take(&mut turns[3], RATE, ms(122)), Err(ms(140)));
    }

    #[test]
    fn what_may_be_left_out_does_not_wait() {
        let mut limiter = RateLimiter::default();
        let free = [100, 100, 100, 119, 120].map(|at| limiter.is_free(RATE, ms(at)));
        assert_eq!(free, [true, true, false, false, true]);
    }
}
