use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::{
    model::{Mac, TakeCause},
    wire::{Message, Request, Sender},
};

use super::DirectorId;

/// What a director shall do, in this order. Everything concerns its NIC on the segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Take these from the NIC, then say what it carries with [`super::Event::Nic`].
    pub yields: BTreeSet<IpAddr>,
    /// Add these, then say what it carries.
    pub claims: BTreeSet<IpAddr>,
    /// A claim that has not begun by this time must not begin: what the silence was worth is over. Treat it as failed.
    pub claim_until: Duration,
    /// Tell everybody that these are here.
    pub announcements: BTreeSet<IpAddr>,
    /// Ask.
    pub questions: Vec<Request>,
    /// For people: events, metrics, status, log.
    pub notices: Vec<Notice>,
    /// The next [`super::Event::Tick`] at the latest. `None`: nothing to do until something happens.
    pub wake: Option<Duration>,
}

/// Something worth telling.
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
        /// Who had it, as far as known.
        from: Option<DirectorId>,
        /// Why.
        cause: TakeCause,
        /// Since it was known to be vacant or the move began.
        after: Duration,
    },
    /// This director takes a VIP from its NIC.
    Gave {
        /// The VIP.
        vip: IpAddr,
        /// Who has it now, as far as known.
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
    /// Nobody else answers for the VIP any more.
    ConflictOver {
        /// The VIP.
        vip: IpAddr,
    },
    /// This director stood still for so long and looks at everything again.
    Paused(Duration),
    /// The holder of a VIP that should move here did not agree: its agent is gone, or has not heard of the move.
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
    /// This node may no longer hold it, or nobody shall.
    NotWanted,
}

impl Actions {
    pub(super) fn ask(&mut self, about: IpAddr, to: Option<Mac>, sender: Sender) {
        self.questions.push(Request { about, to, sender });
    }

    /// What is to be sent, in this order.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        let announcements = self.announcements.iter().copied().map(Message::Announce);
        announcements.chain(self.questions.iter().copied().map(Message::Request))
    }

    /// How many questions these are, per kind.
    pub fn asked(&self) -> [(&'static str, usize); 2] {
        let asked = |everybody: bool| {
            self.questions
                .iter()
                .filter(|question| question.to.is_none() == everybody)
                .count()
        };
        [("broadcasts", asked(true)), ("unicasts", asked(false))]
    }
}
