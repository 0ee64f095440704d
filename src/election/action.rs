use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::{
    model::{Mac, TakeCause},
    wire::{Message, Request, Sender},
};

use super::DirectorId;

/// What a director shall do on its NIC of the segment, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// VIPs to take from the NIC. The driver then reports what the NIC carries ([`super::Event::Nic`]).
    pub yields: BTreeSet<IpAddr>,
    /// VIPs to add to the NIC. The driver then reports what the NIC carries.
    pub claims: BTreeSet<IpAddr>,
    /// The driver must begin a claim by this time, because the silent probes that allowed it are out of date
    /// afterwards. A later claim counts as failed.
    pub claim_until: Duration,
    /// VIPs to announce.
    pub announcements: BTreeSet<IpAddr>,
    /// ARP requests to send.
    pub questions: Vec<Request>,
    /// What to report in events, metrics, status and log.
    pub notices: Vec<Notice>,
    /// When the next [`super::Event::Tick`] is due at the latest. `None`: not before another event.
    pub wake: Option<Duration>,
}

/// Something to report: an event, a metric, a line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A peer's kernel answers, or no longer does.
    Peer {
        /// Who.
        director: DirectorId,
        /// Whether it answers.
        up: bool,
    },
    /// This director holds a VIP now.
    Took {
        /// The VIP.
        vip: IpAddr,
        /// Its previous holder, if known.
        from: Option<DirectorId>,
        /// Why.
        cause: TakeCause,
        /// The time since the VIP was known to be vacant, or since the move began.
        after: Duration,
    },
    /// This director takes a VIP from its NIC.
    Gave {
        /// The VIP.
        vip: IpAddr,
        /// Its new holder, if known.
        to: Option<DirectorId>,
        /// Why.
        cause: GiveCause,
    },
    /// Another host answers for a VIP.
    Conflict {
        /// The VIP.
        vip: IpAddr,
        /// The host's MAC.
        mac: Mac,
        /// Which director it is; `None` = a stranger.
        director: Option<DirectorId>,
    },
    /// The conflict is over: the other host no longer answers, or this director gave the VIP up to another one.
    ConflictOver {
        /// The VIP.
        vip: IpAddr,
    },
    /// This director stood still for this long, so it checks every VIP and peer again.
    Paused(Duration),
    /// The holder did not agree to move the VIP here: its agent is gone, or has not read the same objects.
    MoveRefused {
        /// The VIP.
        vip: IpAddr,
        /// Its holder.
        holder: DirectorId,
    },
}

/// Why a VIP was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GiveCause {
    /// A better director has it.
    Outranked,
    /// Another director has it, and this one stood still or has just started.
    Overtaken,
    /// Another director has it and did not yield.
    Contest,
    /// No carrier.
    CarrierLost,
    /// This node may no longer hold the VIP, or its VirtualService is gone.
    NotWanted,
}

impl Actions {
    pub(super) fn ask(&mut self, about: IpAddr, to: Option<Mac>, sender: Sender) {
        self.questions.push(Request { about, to, sender });
    }

    /// The frames to send, in this order.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        let announcements = self.announcements.iter().copied().map(Message::Announce);
        announcements.chain(self.questions.iter().copied().map(Message::Request))
    }
}
