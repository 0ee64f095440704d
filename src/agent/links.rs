//! The kernel's notifications of changed links and addresses: a new interface must be made quiet before it gets an ARP
//! request, and a flushed VIP is put back at once. The next periodic pass finds a change whose notification was lost.

use std::{collections::HashMap, io, time::Duration};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
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
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
    let (connection, _, messages) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    Ok(messages)
}

async fn forward(mut messages: Messages, trigger: &Trigger, link_changed: &watch::Sender<()>) {
    let mut known = Links::default();
    while let Some((message, _)) = messages.next().await {
        let matters = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => known.is_news(link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                known.0.remove(&link.header.index);
                true
            }
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

#[cfg(test)]
mod tests {
    use super::*;

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
