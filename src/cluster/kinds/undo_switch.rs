//! The switch that has everything undone: a ConfigMap whose key `undo` names a request, or is empty.
//!
//! The switch is a part of the release and is deleted with it. When it disappears after a request, the agents are about
//! to be deleted too, so they go on undoing: only a switch that exists and names no request ends that. A new release
//! starts with an empty switch.

use std::{fmt, str::FromStr};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::cluster::{Change, SourceName, kind::Kind};

/// The key of the ConfigMap's data.
pub const KEY: &str = "undo";

/// Where the switch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoSwitch {
    /// Namespace of the ConfigMap.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A text that names no ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not NAMESPACE/NAME of a ConfigMap")]
pub struct InvalidSwitch(String);

impl FromStr for UndoSwitch {
    type Err = InvalidSwitch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parts go into a field selector and into a URL's path, so no other characters are allowed.
        let is_name = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            !part.is_empty() && part.bytes().all(allowed)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => Err(InvalidSwitch(text.to_owned())),
        }
    }
}

impl fmt::Display for UndoSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

pub(super) fn kind(client: &Client, switch: &UndoSwitch) -> Kind<ConfigMap> {
    Kind {
        name: SourceName::UndoSwitch,
        api: Api::namespaced(client.clone(), &switch.namespace),
        only: Some(format!("metadata.name={}", switch.name)),
        meaning: Box::new(|map| vec![change(&map)]),
        // A deleted switch changes nothing.
        ends: Box::new(|_| None),
    }
}

/// The change that an existing switch means.
fn change(map: &ConfigMap) -> Change {
    let request = map.data.as_ref().and_then(|data| data.get(KEY));
    Change::Undo(request.filter(|request| !request.is_empty()).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Store;

    fn says(data: &[(&str, &str)]) -> Change {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        change(&ConfigMap {
            data: Some(data.collect()),
            ..ConfigMap::default()
        })
    }

    #[test]
    fn a_switch_is_named_as_it_prints() {
        let text = "directway-system/directway-undo";
        assert_eq!(text.parse::<UndoSwitch>().unwrap().to_string(), text);
        for bad in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/b,metadata.name!=b",
            "a/b c",
        ] {
            assert!(bad.parse::<UndoSwitch>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn only_a_switch_that_is_there_changes_anything() {
        let mut store = Store::new(&[SourceName::UndoSwitch]);
        let undo = |store: &Store| store.snapshot().undo.clone();
        let listed = |store: &mut Store, change: Option<Change>| {
            let source = SourceName::UndoSwitch;
            let mut changes = vec![Change::Relist(source)];
            changes.extend(change);
            changes.push(Change::Listed(source));
            store.apply(changes)
        };
        assert!(!store.is_synced());
        assert!(listed(&mut store, None) && store.is_synced());
        assert_eq!(undo(&store), None, "nobody asked for anything");

        assert!(store.apply(vec![says(&[(KEY, "now")])]));
        assert_eq!(undo(&store).as_deref(), Some("now"));
        assert!(
            !listed(&mut store, None),
            "a switch that has gone says nothing new"
        );
        assert_eq!(undo(&store).as_deref(), Some("now"));

        assert!(listed(&mut store, Some(says(&[(KEY, "")]))));
        assert_eq!(undo(&store), None);
        assert!(!store.apply(vec![says(&[("other", "x")]), change(&ConfigMap::default())]));
    }
}
