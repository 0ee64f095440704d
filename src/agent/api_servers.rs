//! Where this node reaches the API server: none of these addresses can be a VIP, because a node that binds it is cut off,
//! and does not even learn that the VirtualService was deleted.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use kube::Client;
use tokio::sync::watch;

use super::Trigger;

/// How often a name is resolved and the API server asked again.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// More addresses than an API server has. An answer that has more is cut.
const LIMIT: usize = 64;

/// The way to the API server.
pub struct ApiServerLook {
    /// For questions to it.
    pub client: Client,
    /// The host of its URL: a name or an address.
    pub host: String,
    /// The addresses that it has named. One of several API servers answers at a time, so they add up.
    advertised: BTreeSet<IpAddr>,
    /// What `host` means, as last resolved.
    resolved: BTreeSet<IpAddr>,
}

impl ApiServerLook {
    /// Nothing is known yet but the host.
    pub fn new(client: Client, host: String) -> Self {
        Self {
            client,
            host,
            advertised: BTreeSet::new(),
            resolved: BTreeSet::new(),
        }
    }

    /// What is known after another look. A look that fails changes nothing.
    pub async fn look(&mut self) -> BTreeSet<IpAddr> {
        let (resolved, advertised) = tokio::join!(
            tokio::time::timeout(TIMEOUT, resolve(&self.host)),
            tokio::time::timeout(TIMEOUT, advertised(&self.client)),
        );
        if let Ok(Some(resolved)) = resolved {
            self.resolved = resolved;
        }
        if let Ok(Some(more)) = advertised {
            let room = LIMIT.saturating_sub(self.advertised.len());
            self.advertised.extend(more.into_iter().take(room));
        }
        self.resolved.union(&self.advertised).copied().collect()
    }

    /// Looks again and again, for ever; news trigger a pass.
    pub async fn follow(mut self, addresses: watch::Sender<BTreeSet<IpAddr>>, trigger: Trigger) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let found = self.look().await;
            let is_news = addresses.send_if_modified(|known| {
                let is_news = *known != found;
                *known = found;
                is_news
            });
            if is_news {
                trigger.kernel();
            }
        }
    }
}

/// The addresses of a host; `None` if its name cannot be resolved.
async fn resolve(host: &str) -> Option<BTreeSet<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some([address].into());
    }
    let found = tokio::net::lookup_host((host, 0)).await.ok()?;
    Some(found.map(|address| address.ip()).take(LIMIT).collect())
}

/// The address under which the API server says clients reach it. Behind the cluster's own Service, where most agents
/// connect, it is the only way to know.
async fn advertised(client: &Client) -> Option<BTreeSet<IpAddr>> {
    let versions = client.list_core_api_versions().await.ok()?;
    let named = versions.server_address_by_client_cidrs.into_iter();
    let addresses = named.filter_map(|entry| address(&entry.server_address));
    Some(addresses.collect())
}

/// The address of `192.0.2.1:6443`, `[2001:db8::1]:6443` or either without a port; a name is none.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = text.parse().map(|it: SocketAddr| it.ip());
    with_port.ok().or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_is_read_with_and_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1:6443", Some("192.0.2.1")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("api.example.com:6443", None),
            ("", None),
        ] {
            let expected = expected.map(|ip| ip.parse().unwrap());
            assert_eq!(address(text), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_a_bad_name_is_no_answer() {
        let expected = BTreeSet::from([IpAddr::from([192, 0, 2, 7])]);
        assert_eq!(resolve("192.0.2.7").await, Some(expected));
        assert_eq!(resolve("not a name").await, None);
    }
}
