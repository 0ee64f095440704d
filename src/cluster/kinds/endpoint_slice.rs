//! The endpoints of those Services that this node's VirtualServices name: a watch of its own, on directors only, and
//! only while there is such a VirtualService. A cluster may have many times more EndpointSlices than directway needs.

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, api::ListParams, runtime::watcher::Event};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{SERVICE_NAME_LABEL, endpoint_slice},
    cluster::{
        Change, ChangeSender, Closed, Key, ListError, Pace, SourceName, WATCH_SUBJECT, kind,
        list::list, watch as watching,
    },
    model::{Endpoints, ServiceName, Slices},
};

/// How many bytes of Services' names may go into a request, because they become a part of the URL.
const MAX_NAMES: usize = 4096;
/// The least time between the beginnings of two lists, because many VirtualServices may be applied at once.
const PAUSE: Duration = Duration::from_secs(1);
/// That time is also at least this many times as long as the last list took.
const PAUSE_SHARE: u32 = 10;

/// The source of the endpoints of `services`.
pub(super) struct Source {
    client: Client,
    services: watch::Receiver<BTreeSet<ServiceName>>,
}

impl Source {
    pub(super) fn new(client: Client, services: watch::Receiver<BTreeSet<ServiceName>>) -> Self {
        Self { client, services }
    }

    /// Lists namespace by namespace, because many users may not read all of them at once.
    async fn list(self, pace: Pace) -> Result<Vec<Change>, ListError> {
        let services = self.services.borrow().clone();
        let namespaces: BTreeSet<String> = services
            .iter()
            .map(|service| service.namespace.clone())
            .collect();
        let mut endpoints = without_slices(services);
        for namespace in namespaces {
            let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), &namespace);
            let of_services = ListParams::default().labels(SERVICE_NAME_LABEL);
            let found = list(&slices, &of_services, pace.page).await;
            let found = found.map_err(|error| ListError {
                what: format!("EndpointSlices of namespace {namespace}"),
                error,
            })?;
            for object in found {
                let (service, name, slice) = endpoint_slice(&object);
                if let Some(slices) = service.and_then(|service| endpoints.get_mut(&service)) {
                    slices.insert(name, slice);
                }
            }
        }
        Ok(vec![Change::Endpoints(endpoints)])
    }

    /// Follows the endpoints of the Services, and begins anew when the set of Services changes.
    async fn follow(mut self, pace: Pace, feed: ChangeSender) -> Closed {
        let wanted = &mut self.services;
        loop {
            let services = wanted.borrow_and_update().clone();
            if services.is_empty() {
                let none = vec![
                    Change::Endpoints(Endpoints::new()),
                    Change::no_problem(SourceName::EndpointSlices, WATCH_SUBJECT),
                ];
                if feed.send(none).await.is_err() || wanted.changed().await.is_err() {
                    return Closed;
                }
                continue;
            }
            let started = Instant::now();
            let (listed, took) = watch::channel(None);
            let events = watching::run(
                SourceName::EndpointSlices,
                Api::<EndpointSlice>::all(self.client.clone()),
                watching::config(pace).labels(&selector(&services)),
                &feed,
                reader(services, move || {
                    listed.send_replace(Some(started.elapsed()));
                }),
            );
            let other = async {
                wanted.changed().await.map_err(|_| Closed)?;
                let took = took.borrow().unwrap_or_default();
                tokio::time::sleep_until(started + PAUSE.max(took * PAUSE_SHARE)).await;
                Ok(())
            };
            tokio::select! {
                closed = events => return closed,
                other = other => match other {
                    Ok(()) => {}
                    Err(closed) => return closed,
                }
            }
        }
    }
}

impl kind::Source for Source {
    fn list(self: Box<Self>, pace: Pace) -> BoxFuture<'static, Result<Vec<Change>, ListError>> {
        Self::list(*self, pace).boxed()
    }

    fn follow(self: Box<Self>, pace: Pace, feed: ChangeSender) -> BoxFuture<'static, Closed> {
        Self::follow(*self, pace, feed).boxed()
    }
}

fn without_slices(services: BTreeSet<ServiceName>) -> Endpoints {
    let services = services.into_iter();
    services.map(|service| (service, Slices::new())).collect()
}

/// Selects slices of Services with these names, in any namespace; those of all Services if the names are too long.
fn selector(services: &BTreeSet<ServiceName>) -> String {
    let names: BTreeSet<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let names = names.into_iter().collect::<Vec<_>>().join(",");
    if names.len() > MAX_NAMES {
        SERVICE_NAME_LABEL.to_owned()
    } else {
        format!("{SERVICE_NAME_LABEL} in ({names})")
    }
}

/// Turns events into changes. A complete list becomes one change, which names every wanted Service.
fn reader(
    services: BTreeSet<ServiceName>,
    mut on_listed: impl FnMut(),
) -> impl FnMut(Event<EndpointSlice>) -> Vec<Change> {
    let empty = without_slices(services);
    let mut list = Endpoints::new();
    // A Service of the same name in another namespace is selected, too.
    let read = |object: &EndpointSlice, empty: &Endpoints| {
        let (service, name, slice) = endpoint_slice(object);
        let service = service.filter(|service| empty.contains_key(service))?;
        Some((service, name, slice))
    };
    move |event| match event {
        Event::Init => {
            list.clone_from(&empty);
            Vec::new()
        }
        Event::InitApply(object) => {
            if let Some((service, name, slice)) = read(&object, &empty) {
                list.entry(service).or_default().insert(name, slice);
            }
            Vec::new()
        }
        Event::InitDone => {
            on_listed();
            vec![Change::Endpoints(std::mem::take(&mut list))]
        }
        Event::Apply(object) => read(&object, &empty)
            .map(|(service, name, slice)| Change::EndpointSlice(service, name, slice))
            .into_iter()
            .collect(),
        Event::Delete(object) => read(&object, &empty)
            .map(|(service, name, _)| Change::Gone(Key::EndpointSlice(service, name)))
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services(names: &[&str]) -> BTreeSet<ServiceName> {
        let names = names.iter().map(|name| ServiceName::new("shop", name));
        names.collect()
    }

    fn slice(namespace: &str, service: &str, address: &str) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{service}-1"), "namespace": namespace, "labels": {SERVICE_NAME_LABEL: service}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_asked_for_fits_into_a_request() {
        let mut two = services(&["web", "api"]);
        two.insert(ServiceName::new("other", "web"));
        assert_eq!(selector(&two), "kubernetes.io/service-name in (api,web)");
        let names: Vec<String> = (0..1000).map(|n| format!("service-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(selector(&services(&names)), "kubernetes.io/service-name");
    }

    #[test]
    fn a_list_is_one_change_and_names_services_without_slices() {
        let mut lists = 0;
        let mut read = reader(services(&["api", "web"]), || lists += 1);
        assert!(read(Event::Init).is_empty());
        for object in [
            slice("shop", "web", "10.0.0.1"),
            slice("other", "web", "10.0.0.2"),
            slice("shop", "db", "10.0.0.3"),
        ] {
            assert!(read(Event::InitApply(object)).is_empty());
        }
        let changes = read(Event::InitDone);
        let [Change::Endpoints(found)] = &changes[..] else {
            panic!("{changes:?}")
        };
        let counts = found
            .iter()
            .map(|(service, slices)| (service.to_string(), slices.len()));
        let counts: Vec<_> = counts.collect();
        assert_eq!(
            counts,
            [("shop/api".to_owned(), 0), ("shop/web".to_owned(), 1)]
        );
        // A new list does not contain what the one before had.
        read(Event::Init);
        let changes = read(Event::InitDone);
        assert!(
            matches!(&changes[..], [Change::Endpoints(found)] if found.values().all(Slices::is_empty))
        );
        drop(read);
        assert_eq!(lists, 2);
    }

    #[test]
    fn slices_of_others_are_no_news() {
        let mut read = reader(services(&["web"]), || ());
        assert!(read(Event::Apply(slice("other", "web", "10.0.0.2"))).is_empty());
        assert!(read(Event::Delete(slice("shop", "db", "10.0.0.2"))).is_empty());
        let changed = read(Event::Apply(slice("shop", "web", "10.0.0.2")));
        assert!(
            matches!(&changed[..], [Change::EndpointSlice(service, name, slice)]
            if service.name == "web" && name == "web-1" && slice.endpoints.len() == 1)
        );
        let gone = read(Event::Delete(slice("shop", "web", "10.0.0.2")));
        assert!(
            matches!(&gone[..], [Change::Gone(Key::EndpointSlice(_, name))] if name == "web-1")
        );
    }
}
