//! Which ports can be tried from a node, and where a connection would show nothing: a pure function of the objects on
//! the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    api::Report,
    desired::admit,
    model::{NodeName, Protocol, Snapshot, VsKey},
};

/// One port of one VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its VirtualService.
    pub key: VsKey,
    /// VIP and port.
    pub address: SocketAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Why no connection is tried; `None` = it is tried.
    pub pointless: Option<String>,
}

/// The ports of all accepted VirtualServices' VIPs that are in `only` (all, if empty), as seen from `node`, or (`None`)
/// from a host that is no node.
pub(super) fn targets(
    snapshot: &Snapshot,
    reports: &BTreeMap<&NodeName, &Report>,
    node: Option<&NodeName>,
    only: &BTreeSet<IpAddr>,
) -> Vec<Target> {
    let admission = admit(snapshot);
    let mut targets = Vec::new();
    for (key, service) in &admission.accepted {
        let vips = service.vips.iter();
        for vip in vips.filter(|vip| only.is_empty() || only.contains(vip)) {
            for port in &service.ports {
                targets.push(Target {
                    key: (*key).clone(),
                    address: SocketAddr::new(*vip, port.port),
                    protocol: port.protocol,
                    pointless: pointless(*vip, port.protocol, reports, node),
                });
            }
        }
    }
    targets
}

fn pointless(
    vip: IpAddr,
    protocol: Protocol,
    reports: &BTreeMap<&NodeName, &Report>,
    node: Option<&NodeName>,
) -> Option<String> {
    match protocol {
        Protocol::Tcp => {}
        Protocol::Udp | Protocol::Sctp => {
            return Some(format!(
                "{protocol} cannot be tried without knowing what the application answers"
            ));
        }
    }
    let node = node?;
    let own = &reports.get(node)?.peer;
    if own.held.contains(vip) {
        return Some(format!(
            "node {node} holds the VIP itself: what is sent from there does not come from the wire, as a client's requests do"
        ));
    }
    own.bound.contains(vip).then(|| {
        format!(
            "node {node} carries the VIP itself: a connection from there reaches that node's own application only"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Manifest, parse_manifests},
        model::PeerState,
    };

    const MANIFESTS: &str = "
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  vips: [10.0.0.100]
  ports: [{port: 80}, {port: 53, protocol: UDP}]
  realServers: {nodeSelector: {}}
---
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: late, namespace: shop}
spec:
  vips: [10.0.0.102]
  ports: [{port: 0}]
  realServers: {nodeSelector: {}}
";

    fn tried(node: Option<&str>, only: &[&str]) -> Vec<(String, Option<String>)> {
        let mut snapshot = Snapshot::default();
        for manifest in parse_manifests("test.yaml", MANIFESTS) {
            if let Manifest::VirtualService(admitted) = manifest.unwrap() {
                let admitted = *admitted;
                snapshot
                    .virtual_services
                    .insert(admitted.key, admitted.parsed);
            }
        }
        let vip: IpAddr = "10.0.0.100".parse().unwrap();
        let report = |held: bool, bound: bool| Report {
            peer: PeerState {
                held: held.then_some(vip).into_iter().collect(),
                bound: bound.then_some(vip).into_iter().collect(),
                ..PeerState::default()
            },
            ..Report::default()
        };
        let reports = [
            (NodeName::from("d"), report(true, true)),
            (NodeName::from("r"), report(false, true)),
            (NodeName::from("other"), report(false, false)),
        ];
        let reports = reports
            .iter()
            .map(|(name, report)| (name, report))
            .collect();
        let only = only.iter().map(|vip| vip.parse().unwrap()).collect();
        let node = node.map(NodeName::from);
        targets(&snapshot, &reports, node.as_ref(), &only)
            .into_iter()
            .map(|target| {
                (
                    format!("{}/{}", target.address, target.protocol),
                    target.pointless,
                )
            })
            .collect()
    }

    #[test]
    fn every_served_port_is_a_target_and_a_refused_object_is_none() {
        for node in [None, Some("other"), Some("without-agent")] {
            let tried = tried(node, &[]);
            assert_eq!(tried.len(), 2, "{tried:?}");
            assert_eq!(tried[0], ("10.0.0.100:80/TCP".to_owned(), None));
            assert!(tried[1].1.as_ref().unwrap().contains("UDP cannot be tried"));
        }
        assert_eq!(tried(None, &["10.0.0.9"]), []);
        assert_eq!(tried(None, &["10.0.0.100"]).len(), 2);
    }

    #[test]
    fn where_the_vip_is_itself_a_connection_shows_nothing() {
        for (node, why) in [("d", "holds the VIP itself"), ("r", "own application only")] {
            let tried = tried(Some(node), &[]);
            assert!(tried[0].1.as_ref().unwrap().contains(why), "{tried:?}");
        }
    }
}
