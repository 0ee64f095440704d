use std::net::IpAddr;

use crate::model::Mac;

use super::{DirectorId, Heard, Says, View, peers::Peers};

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub mac: Mac,
    /// Which director it is; `None` = a stranger.
    pub director: Option<DirectorId>,
}

/// What a frame means for one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is said to be at the sender.
    Announced,
    /// The sender, or somebody in its place, answered a broadcast.
    Answered,
    /// The sender itself answered a question that was sent to it alone.
    Confirmed,
    /// The sender asks everybody whether they have it.
    Probed,
    /// The sender asks us alone for it, or agrees that we take it.
    Asked,
}

/// What `heard` means, for each VIP that it is about. Whatever comes from this node is no news.
pub(super) fn news(heard: Heard, view: &View, peers: &Peers) -> (Host, Vec<(IpAddr, News)>) {
    let host = Host {
        mac: heard.from,
        director: peers.by_mac(heard.from),
    };
    let mut all = Vec::new();
    if view.macs.contains(&heard.from) {
        return (host, all);
    }
    match heard.says {
        Says::Asks(about) => {
            all.push(match heard.has {
                None if heard.to_us => (about, News::Asked),
                None => (about, News::Probed),
                // Whatever it asks, it says that this is its own address.
                Some(own) => (own, News::Announced),
            });
        }
        Says::Answers(to) => {
            let news = match to {
                Some(to) if heard.has == Some(to) => News::Announced,
                Some(_) if heard.to_us => News::Confirmed,
                Some(_) | None => News::Answered,
            };
            all.extend(heard.has.map(|own| (own, news)));
        }
    }
    (host, all)
}
