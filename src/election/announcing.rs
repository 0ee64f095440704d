use std::time::Duration;

/// A claimed VIP is announced several times, because neighbours may miss a frame, and then refreshed, because
/// switches and neighbours forget. The kernel does not announce an address that is added.
const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(1000),
    Duration::from_millis(5000),
];

/// When a held VIP is announced next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Announcing {
    began: Duration,
    pub next: Duration,
}

impl Announcing {
    /// A burst from now on.
    pub fn burst(now: Duration) -> Self {
        Self {
            began: now,
            next: now,
        }
    }

    /// Whether this burst has not begun.
    pub fn is_first(&self) -> bool {
        self.next == self.began
    }

    /// The VIP was announced at `now`: schedules the next announcement.
    pub fn done(&mut self, now: Duration, refresh: Duration) {
        let in_burst = BURST
            .iter()
            .map(|delay| self.began + *delay)
            .find(|at| *at > now);
        self.next = in_burst.unwrap_or(now + refresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_refreshes() {
        let ms = Duration::from_millis;
        let mut announcing = Announcing::burst(ms(100));
        let mut times = Vec::new();
        while announcing.next < ms(70_000) {
            let now = announcing.next;
            times.push(now.as_millis());
            announcing.done(now, ms(30_000));
        }
        assert_eq!(times, [100, 150, 300, 1100, 5100, 35_100, 65_100]);
    }

    #[test]
    fn what_is_late_is_left_out() {
        let ms = Duration::from_millis;
        let mut announcing = Announcing::burst(ms(100));
        assert!(announcing.is_first());
        announcing.done(ms(100), ms(30_000));
        assert!(!announcing.is_first());
        announcing.done(ms(900), ms(30_000));
        assert_eq!(announcing.next, ms(1100));
    }
}
