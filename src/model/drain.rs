use jiff::Timestamp;

/// What is left of a real server that gets no new connections and is deleted when its open ones have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How many connections are open, rounded.
    pub connections: u32,
    /// When it is deleted at the latest, by the director's clock.
    pub until: Timestamp,
}

impl Drain {
    /// Of two drains of one real server, what is left of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            until: self.until.max(other.until),
        }
    }

    /// How long it lasts from `now` at most, in seconds.
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        let left = self.until.duration_since(now).as_millis();
        u64::try_from(left).map_or(0, |left| left.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_shrinks_to_nothing() {
        let drain = |connections, until: &str| Drain {
            connections,
            until: until.parse().unwrap(),
        };
        let first = drain(2, "2026-11-25T20:00:41Z");
        let left = |now: &str| first.seconds_left(now.parse().unwrap());
        assert_eq!(left("2026-11-25T20:00:00Z"), 41);
        assert_eq!(left("2026-11-25T20:00:40.999Z"), 1);
        assert_eq!(left("2026-11-25T20:00:41Z"), 0);
        assert_eq!(left("2026-11-26T20:00:00Z"), 0);
        let other = drain(u32::MAX, "2026-11-25T20:00:10Z");
        assert_eq!(first.and(other), drain(u32::MAX, "2026-11-25T20:00:41Z"));
    }
}
