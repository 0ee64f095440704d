//! Why the holder is not the director that should hold the VIPs, as far as the objects show.

use crate::{
    desired::{directors, may_hold},
    model::{Node, NodeName, Snapshot, VirtualService},
};

use super::directors::UnreadyStandby;

/// Why another director should hold the VIPs, or why none can; `None` if `holder` should.
pub(super) fn why(
    object: &VirtualService,
    holder: &str,
    not_standing_by: &[UnreadyStandby],
    snapshot: &Snapshot,
) -> Option<String> {
    let holder = NodeName::from(holder);
    let cordoned = |name| {
        snapshot
            .nodes
            .get(name)
            .is_some_and(|it: &Node| it.cordoned)
    };
    let may_hold = |name| may_hold(object, name, snapshot);
    let serves_less = |name: &NodeName| {
        let mut vips = object.vips.iter();
        vips.any(|vip| snapshot.is_incomplete(name, *vip) && !snapshot.is_incomplete(&holder, *vip))
    };
    if !may_hold(&holder) {
        return Some(
            "it is no director of this any more: the next one takes over when it is ready"
                .to_owned(),
        );
    }
    if let Some(preferred) = object
        .directors
        .preferred
        .as_ref()
        .filter(|it| **it != holder)
    {
        let cause = if !may_hold(preferred) {
            "but is no director of this: see its labels and spec.directors.nodeSelector".to_owned()
        } else if cordoned(preferred) {
            "but cordoned".to_owned()
        } else {
            let name = preferred.0.as_str();
            let refuses = not_standing_by.iter().find(|it| it.director == name);
            match (refuses, serves_less(preferred)) {
                (Some(other), _) => format!("but does not stand by: {}", other.message),
                (None, true) => format!(
                    "but does not serve everything behind the VIP: see what is wrong on {preferred}"
                ),
                (None, false) => "and takes over when it has been ready for a while".to_owned(),
            }
        };
        return Some(format!("{preferred} is preferred, {cause}"));
    }
    if !cordoned(&holder) {
        return None;
    }
    let others = directors(object, snapshot).filter(|it| **it != holder && !cordoned(it));
    let stands_by = |it: &&NodeName| not_standing_by.iter().all(|other| other.director != it.0);
    let mut able = others.filter(stands_by).peekable();
    if able.peek().is_none() {
        return Some("it is cordoned, but nobody else can take over".to_owned());
    }
    able.all(serves_less).then(|| {
        "it is cordoned, but no other director serves everything behind the VIP".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::parse_virtual_service,
        model::{DIRECTOR_LABEL, PeerState, Peers},
    };

    fn object(preferred: Option<&str>) -> VirtualService {
        let object = serde_json::json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"vips": ["10.0.0.100"], "ports": [{"port": 80}], "realServers": {"nodeSelector": {}}, "directors": {"preferred": preferred}},
        });
        let object = parse_virtual_service(&serde_json::from_value(object).unwrap());
        object.parsed.unwrap().as_ref().clone()
    }

    fn snapshot(cordoned: &[&str]) -> Snapshot {
        let node = |name: &str| Node {
            labels: [(DIRECTOR_LABEL.to_owned(), String::new())].into(),
            cordoned: cordoned.contains(&name),
            ..Node::default()
        };
        let names = ["a", "b"];
        Snapshot {
            nodes: names.map(|name| (name.into(), node(name))).into(),
            ..Snapshot::default()
        }
    }

    fn silent(name: &str) -> UnreadyStandby {
        UnreadyStandby {
            director: name.to_owned(),
            reason: "Pending".to_owned(),
            message: "its agent is silent".to_owned(),
        }
    }

    #[test]
    fn a_holder_is_explained_by_what_the_others_do_not_serve() {
        let vip = || ["10.0.0.100".parse().unwrap()].into();
        let reporting = |incomplete: &[&str], cordoned: &[&str]| {
            let reports = incomplete.iter().map(|name| {
                let report = PeerState {
                    incomplete: vip(),
                    ..PeerState::default()
                };
                (NodeName::from(*name), report)
            });
            Snapshot {
                peers: Peers::Reported(reports.collect()),
                ..snapshot(cordoned)
            }
        };
        let said = |preferred, others: &[UnreadyStandby], snapshot: &Snapshot| {
            why(&object(preferred), "a", others, snapshot).unwrap_or_default()
        };
        let lacks = "does not serve everything";
        assert!(said(Some("b"), &[], &reporting(&["b"], &[])).contains(lacks));
        let both = reporting(&["a", "b"], &[]);
        assert!(said(Some("b"), &[], &both).contains("takes over"));
        let refuses = said(Some("b"), &[silent("b")], &reporting(&["b"], &[]));
        assert!(refuses.contains("agent is silent"), "{refuses}");
        let cordoned = said(None, &[], &reporting(&["b"], &["a"]));
        assert!(cordoned.contains("no other director serves"), "{cordoned}");
        assert_eq!(said(None, &[], &reporting(&["a", "b"], &["a"])), "");
    }

    #[test]
    fn a_holder_that_should_be_another_is_explained() {
        let (nobody, both) = (snapshot(&[]), snapshot(&["a", "b"]));
        let silent = [silent("b")];
        let expect =
            |holder, preferred, others: &[UnreadyStandby], snapshot, expected: Option<&str>| {
                let said = why(&object(preferred), holder, others, snapshot);
                let fits = match (&said, expected) {
                    (Some(said), Some(expected)) => said.contains(expected),
                    (None, None) => true,
                    _ => false,
                };
                assert!(fits, "{said:?}, not {expected:?}");
            };
        expect("a", None, &[], &nobody, None);
        expect("a", Some("a"), &[], &nobody, None);
        expect("a", Some("b"), &[], &nobody, Some("takes over"));
        expect("a", Some("b"), &silent, &nobody, Some("agent is silent"));
        expect("a", Some("b"), &[], &both, Some("but cordoned"));
        expect("a", Some("c"), &[], &nobody, Some("no director of this"));
        expect("c", None, &[], &nobody, Some("any more"));
        expect("a", None, &[], &both, Some("nobody else"));
        expect("a", None, &[], &snapshot(&["b"]), None);
    }
}
