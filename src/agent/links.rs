//! The kernel's notifications of changed links, addresses and routes: a new interface must be made quiet before it gets an
//! ARP request, a flushed VIP is put back at once, and the next hop of a new route can be no VIP. The next periodic pass
//! finds a change whose notification was lost.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::Ipv4Addr,
    time::Duration,
};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use rtnetlink::{MulticastGroup, new_multicast_connection, sys::SocketAddr};

use tokio::sync::watch;

use super::Trigger;

/// The pause before subscribing again after the subscription broke.
const RETRY: Duration = Duration::from_secs(1);

/// Triggers passes and notifies the elections, for ever.
pub async fn watch(trigger: Trigger, link_changed: watch::Sender<()>) {
    loop {
        match subscribe() {
            Ok(messages) => {
                // Something may have changed before the subscription.
                trigger.kernel();
                link_changed.send_replace(());
                forward(messages, &trigger, &link_changed).await;
                tracing::warn!("the kernel's notifications ended; subscribing again");
            }
            Err(error) => {
                tracing::warn!(%error, "no notifications from the kernel; changes are found by the periodic pass only");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

fn subscribe() -> io::Result<Messages> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv4Route,
    ];
    let (connection, _, messages) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    Ok(messages)
}

async fn forward(mut messages: Messages, trigger: &Trigger, link_changed: &watch::Sender<()>) {
    let mut known = Links::default();
    let mut next_hops = NextHops::default();
    while let Some((message, _)) = messages.next().await {
        let matters = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => known.is_news(link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                known.0.remove(&link.header.index);
                true
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                if next_hops.is_news(route) {
                    trigger.kernel();
                }
                false
            }
            // A next hop that nobody uses any more may become a VIP: the periodic pass is soon enough.
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(_)) => false,
            // Addresses, and errors that report lost notifications.
            _ => true,
        };
        if matters {
            // The elections first, because a holder whose NIC lost its carrier gives up its VIPs.
            link_changed.send_replace(());
            trigger.kernel();
        }
    }
}

/// Links as last notified: the kernel also sends notifications for mere statistics and the state of bridge ports.
#[derive(Default)]
struct Links(HashMap<u32, LinkState>);

#[derive(PartialEq, Eq)]
struct LinkState {
    flags: u32,
    attributes: Vec<LinkAttribute>,
}

impl Links {
    fn is_news(&mut self, link: &LinkMessage) -> bool {
        let relevant = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Noarp;
        let face = LinkState {
            flags: (link.header.flags & relevant).bits(),
            attributes: link
                .attributes
                .iter()
                .filter(|attribute| {
                    matches!(
                        attribute,
                        LinkAttribute::IfName(_)
                            | LinkAttribute::Address(_)
                            | LinkAttribute::Controller(_)
                    )
                })
                .cloned()
                .collect(),
        };
        let before = self.0.get(&link.header.index);
        let news = before != Some(&face);
        self.0.insert(link.header.index, face);
        news
    }
}

/// Next hops of the routes that were made since the subscription. A routing daemon makes thousands of routes through few
/// of them, and not one pass may come of a route whose next hop is known.
#[derive(Default)]
struct NextHops(HashSet<Ipv4Addr>);

impl NextHops {
    /// No node has so many routers; a node whose routes name more gets more passes than it needs.
    const MAX: usize = 1024;

    fn is_news(&mut self, route: &RouteMessage) -> bool {
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        route.attributes.iter().fold(false, |news, attribute| {
            news | match attribute {
                RouteAttribute::MultiPath(paths) => {
                    let attributes = paths.iter().flat_map(|path| &path.attributes);
                    attributes.fold(false, |news, attribute| news | self.learn(attribute))
                }
                other => self.learn(other),
            }
        })
    }

    fn learn(&mut self, attribute: &RouteAttribute) -> bool {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(next_hop)) => self.0.insert(*next_hop),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    #[test]
    fn only_a_new_next_hop_is_news() {
        let mut known = NextHops::default();
        let mut route = RouteMessage::default();
        assert!(!known.is_news(&route), "a route of a network of ours");
        let through = |last| RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, last].into()));
        route.attributes = vec![through(1)];
        assert!(known.is_news(&route) && !known.is_news(&route));
        let mut path = RouteNextHop::default();
        path.attributes = vec![through(2)];
        route.attributes = vec![RouteAttribute::MultiPath(vec![path])];
        assert!(known.is_news(&route) && !known.is_news(&route));
    }

    #[test]
    fn only_what_matters_is_news() {
        let mut known = Links::default();
        let mut link = LinkMessage::default();
        link.header.index = 2;
        link.attributes
            .push(LinkAttribute::IfName("eth0".to_owned()));
        assert!(known.is_news(&link) && !known.is_news(&link));
        link.attributes.push(LinkAttribute::TxQueueLen(1000));
        assert!(!known.is_news(&link));
        link.header.flags = LinkFlags::Up;
        assert!(known.is_news(&link));
        link.attributes.push(LinkAttribute::Controller(7));
        assert!(known.is_news(&link));
    }
}
