use super::*;
use crate::{
    api::{Manifest, ParsedVirtualService, parse_manifests},
    model::{BACKEND_LABEL, DIRECTOR_LABEL, Node, PeerState, Reason, Refusal, Slice},
};

const KUBERNETES: [SourceName; 3] = [
    SourceName::VirtualServices,
    SourceName::Nodes,
    SourceName::NodeStates,
];

fn refused(name: &str, generation: i64) -> Change {
    Change::VirtualService(Box::new(ParsedVirtualService {
        key: VsKey::new("default", name),
        uid: name.to_owned(),
        generation,
        parsed: Err(Refusal::new(Reason::InvalidSpec, "broken")),
    }))
}

fn node(name: &str) -> Change {
    Change::Node(name.into(), Node::default())
}

fn names(store: &Store) -> Vec<String> {
    store
        .snapshot()
        .nodes
        .keys()
        .map(|name| name.0.clone())
        .collect()
}

#[test]
fn it_is_synced_when_every_source_is() {
    let mut store = Store::new(&KUBERNETES);
    for source in KUBERNETES {
        assert!(!store.is_synced());
        assert!(store.apply(vec![Change::Relist(source), Change::Listed(source)]));
    }
    assert!(store.is_synced());
    assert!(
        !store.apply(vec![
            Change::Relist(SourceName::Nodes),
            Change::Listed(SourceName::Nodes)
        ]),
        "a list without news is no change"
    );
}

#[test]
fn a_list_removes_what_it_does_not_name_and_nothing_of_other_sources() {
    let mut store = Store::new(&KUBERNETES);
    store.apply(vec![
        node("a"),
        node("b"),
        refused("web", 1),
        Change::Peer("a".into(), PeerState::default()),
    ]);
    store.apply(vec![
        Change::Relist(SourceName::Nodes),
        node("b"),
        node("c"),
        Change::Listed(SourceName::Nodes),
    ]);
    assert_eq!(names(&store), ["b", "c"]);
    assert_eq!(store.snapshot().virtual_services.len(), 1);
    assert!(matches!(&store.snapshot().peers, Peers::Reported(peers) if peers.len() == 1));
}

/// Somebody deletes all NodeStates: nothing has changed on the nodes.
#[test]
fn what_a_deleted_report_said_stays_in_force_until_there_is_another_or_the_node_is_gone() {
    let bound = || PeerState {
        bound: [[10, 0, 0, 100].into()].into(),
        ..PeerState::default()
    };
    let mut store = Store::new(&KUBERNETES);
    store.apply(vec![
        node("a"),
        node("b"),
        Change::Peer("a".into(), bound()),
        Change::Peer("b".into(), bound()),
    ]);
    let gone = |name: &str| Change::Gone(Key::NodeState(name.into()));
    store.apply(vec![gone("a")]);
    store.apply(vec![
        Change::Relist(SourceName::NodeStates),
        Change::Listed(SourceName::NodeStates),
    ]);
    let report = |store: &Store, name: &str| store.snapshot().peers.report(&name.into()).cloned();
    assert_eq!(report(&store, "a"), Some(bound()));
    assert_eq!(report(&store, "b"), Some(bound()));
    store.apply(vec![Change::Peer("a".into(), PeerState::default())]);
    assert_eq!(report(&store, "a"), Some(PeerState::default()));
    // A deleted node takes its report along, whichever of the two is deleted first.
    store.apply(vec![Change::Gone(Key::Node("b".into()))]);
    assert_eq!(report(&store, "b"), None);
    store.apply(vec![Change::Gone(Key::Node("a".into())), gone("a")]);
    assert_eq!(report(&store, "a"), None);
}

#[test]
fn what_says_nothing_new_is_no_change() {
    let mut store = Store::new(&KUBERNETES);
    assert!(store.apply(vec![node("a")]));
    assert!(!store.apply(vec![node("a")]));
    assert!(store.apply(vec![refused("web", 1)]));
    assert!(!store.apply(vec![refused("web", 1)]));
    assert!(
        store.apply(vec![refused("web", 2)]),
        "a new generation must be reported as seen"
    );
    assert!(store.seen().compare(&store.seen().digest()).covers("web"));
}

#[test]
fn endpoints_are_those_of_the_last_list_and_what_became_of_them() {
    let (web, other) = (
        ServiceName::new("shop", "web"),
        ServiceName::new("shop", "other"),
    );
    let mut store = Store::new(&KUBERNETES);
    let slice = |name: &str| Change::EndpointSlice(web.clone(), name.to_owned(), Slice::default());
    assert!(
        !store.apply(vec![slice("a")]),
        "nobody knows what other slices the Service has"
    );
    assert!(store.snapshot().endpoints.is_empty());
    let list =
        |service: &ServiceName| Change::Endpoints([(service.clone(), Default::default())].into());
    assert!(store.apply(vec![list(&web)]));
    assert!(!store.apply(vec![list(&web)]));
    assert!(store.apply(vec![slice("a"), slice("b")]));
    assert!(!store.apply(vec![slice("a")]));
    assert!(store.apply(vec![Change::Gone(Key::EndpointSlice(
        web.clone(),
        "a".to_owned()
    ))]));
    assert_eq!(store.snapshot().endpoints[&web].len(), 1);
    assert!(store.apply(vec![list(&other)]));
    assert!(!store.snapshot().endpoints.contains_key(&web));
}

#[test]
fn only_directors_need_endpoints_and_only_of_their_own_vips() {
    let mut store = Store::new(&KUBERNETES);
    let follower = |name: &str, rack: Option<&str>| {
        let selector = rack.map_or(String::new(), |rack| {
            format!("directors: {{nodeSelector: {{matchLabels: {{rack: {rack}}}}}}}, ")
        });
        let text = format!(
            "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{{selector}vips: [10.0.0.100], ports: [{{port: 80}}], realServers: {{service: {{name: {name}}}}}}}\n"
        );
        match parse_manifests("test", &text).pop() {
            Some(Ok(Manifest::VirtualService(admitted))) => Change::VirtualService(admitted),
            other => panic!("{other:?}"),
        }
    };
    let labelled = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let node = Node {
            labels: labels.collect(),
            ..Node::default()
        };
        Change::Node(name.into(), node)
    };
    store.apply(vec![
        refused("broken", 1),
        follower("web", None),
        follower("db", Some("b")),
        labelled("d", &[(DIRECTOR_LABEL, "true"), ("rack", "a")]),
        labelled("e", &[(DIRECTOR_LABEL, "true"), ("rack", "b")]),
        labelled("r", &[(BACKEND_LABEL, "true"), ("rack", "b")]),
    ]);
    let (web, db) = (
        ServiceName::new("shop", "web"),
        ServiceName::new("shop", "db"),
    );
    assert_eq!(store.services_of(&"d".into()), [web.clone()].into());
    assert_eq!(store.services_of(&"e".into()), [db, web].into());
    assert_eq!(store.services_of(&"r".into()), [].into());
    assert_eq!(store.services_of(&"nobody".into()), [].into());
}

#[test]
fn a_trouble_is_known_until_it_is_over() {
    let mut store = Store::new(&[SourceName::Directory]);
    let problem = || Change::Problem {
        source: SourceName::Directory,
        subject: "web.yaml".to_owned(),
        message: "line 1: what?".to_owned(),
    };
    assert!(store.apply(vec![problem()]) && !store.apply(vec![problem()]));
    assert_eq!(store.problems().len(), 1);
    assert!(store.apply(vec![Change::NoProblem {
        source: SourceName::Directory,
        subject: "web.yaml".to_owned()
    }]));
    assert!(store.problems().is_empty());
}

/// A broken object that is deleted is no longer wrong, whether its deletion was seen or a list lacks it; one that is still
/// there is, and what it said before stays in force.
#[test]
fn a_problem_with_an_object_ends_with_the_object() {
    let key = |name: &str| Key::NodeState(name.into());
    let problem =
        |name: &str| Change::problem(SourceName::NodeStates, key(name).subject(), "what?");
    let list = |names: &[&str]| {
        let named = names.iter().map(|name| problem(name));
        let ends = [Change::Listed(SourceName::NodeStates)];
        let begins = [Change::Relist(SourceName::NodeStates)];
        begins
            .into_iter()
            .chain(named)
            .chain(ends)
            .collect::<Vec<_>>()
    };
    let subjects = |store: &Store| -> Vec<String> {
        store
            .problems()
            .keys()
            .map(|(_, subject)| subject.clone())
            .collect()
    };
    let mut store = Store::new(&KUBERNETES);
    store.apply([Change::Peer("a".into(), PeerState::default())]);
    store.apply(["a", "b", "c"].map(problem));
    assert!(store.apply([Change::Gone(key("b"))]));
    assert_eq!(subjects(&store), ["NodeState a", "NodeState c"]);
    store.apply(list(&["a", "c"]));
    assert_eq!(subjects(&store), ["NodeState a", "NodeState c"]);
    assert!(store.snapshot().peers.report(&"a".into()).is_some());
    let watch = || Change::problem(SourceName::NodeStates, WATCH_SUBJECT, "no answer");
    store.apply([watch()]);
    assert!(store.apply(list(&["a"])));
    assert_eq!(subjects(&store), ["NodeState a", WATCH_SUBJECT]);
}
