//! Frames on their way, and what may become of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use directway::{
    election::{Meaning, Received},
    model::Mac,
};

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The time of a frame from one host to another.
pub const LATENCY: Duration = ms(1);
/// The time that it takes to add an address to a NIC, or to remove one.
pub const OP: Duration = ms(1);

/// The two frames of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Request,
    Reply,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::Request, Self::Reply];

    /// The frame in which the host with the MAC `from` announces `vip` to all.
    pub fn announces(self, vip: IpAddr, from: Mac) -> Received {
        Received {
            from,
            has: Some(vip),
            meaning: match self {
                Self::Request => Meaning::Request(vip),
                Self::Reply => Meaning::Reply(Some(vip)),
            },
            to_us: false,
        }
    }
}

/// A frame on its way to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    pub from: usize,
    pub to: usize,
    pub heard: Received,
}

/// What may become of a frame that does not simply arrive in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Lost,
    Late(Duration),
    /// Arrives, and once more later.
    Twice(Duration),
}

/// What answers ARP besides the directors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Others {
    /// The cache from which a switch answers broadcasts.
    pub cache: BTreeMap<IpAddr, Mac>,
    /// Addresses that strangers have as their own.
    pub strangers: BTreeMap<IpAddr, Mac>,
    /// Routers that answer for addresses that are not their own (proxy ARP), but not to probes.
    pub proxies: BTreeMap<IpAddr, Mac>,
    /// Ways, from one host to another, on which all frames are lost; and on which broadcasts are.
    pub cut: BTreeSet<(usize, usize)>,
    pub cut_broadcasts: BTreeSet<(usize, usize)>,
    /// The form in which no announcement arrives.
    pub lost_form: Option<Form>,
}

/// Random faults of frames and timers, from a seed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chance {
    pub state: u64,
    /// How many of 1,000 frames are lost, late or doubled.
    pub lost: u64,
    pub late: u64,
    pub twice: u64,
    /// By how many milliseconds a frame may be late; and a timer.
    pub by: u64,
    pub jitter: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed | 1,
            lost: 0,
            late: 0,
            twice: 0,
            by: 1,
            jitter: 0,
        }
    }

    /// xorshift64*.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }

    pub fn fate(&mut self) -> Option<Fate> {
        let draw = self.below(1000);
        let by = ms(1 + self.below(self.by));
        if draw < self.lost {
            Some(Fate::Lost)
        } else if draw < self.lost + self.late {
            Some(Fate::Late(by))
        } else if draw < self.lost + self.late + self.twice {
            Some(Fate::Twice(by))
        } else {
            None
        }
    }
}
