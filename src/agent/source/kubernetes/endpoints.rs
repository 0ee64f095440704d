//! The endpoints of those Services that this node's VirtualServices name: a watch of its own, on directors only, and
//! only while there is such a VirtualService. A cluster may have many times more EndpointSlices than directway needs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, runtime::watcher::Event};
use tokio::{sync::watch, time::Instant};

use super::{Closed, Feed, Watch, config};
use crate::{
    agent::source::{Change, SourceName, WATCH_SUBJECT},
    api::{SERVICE_NAME_LABEL, endpoint_slice},
    metrics::Metrics,
    model::{Endpoints, ServiceName, Slices},
};

/// How many bytes of Services' names may go into a request: it is a part of the URL.
const MAX_NAMES: usize = 4096;
/// Between the beginnings of two lists, at least: VirtualServices tend to come in numbers.
const PAUSE: Duration = Duration::from_secs(1);
/// ... and this many times as long as the last one took.
const PAUSE_SHARE: u32 = 10;

/// Follows the endpoints of the Services in `wanted`, whatever they are, until the agent ends.
pub(super) async fn follow(
    client: Client,
    mut wanted: watch::Receiver<BTreeSet<ServiceName>>,
    feed: Feed,
    metrics: Arc<Metrics>,
) -> Closed {
    loop {
        let services = wanted.borrow_and_update().clone();
        if services.is_empty() {
            let over = Change::NoTrouble {
                source: SourceName::EndpointSlices,
                subject: WATCH_SUBJECT.to_owned(),
            };
            if feed
                .send(vec![Change::Endpoints(Endpoints::new()), over])
                .is_err()
                || wanted.changed().await.is_err()
            {
                return Closed;
            }
            continue;
        }
        let started = Instant::now();
        let (listed, took) = watch::channel(None);
        let watch = Watch {
            source: SourceName::EndpointSlices,
            only: None,
            feed: feed.clone(),
            metrics: Arc::clone(&metrics),
        };
        let events = watch.run(
            Api::<EndpointSlice>::all(client.clone()),
            config().labels(&selector(&services)),
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

/// Those of these Services by name, in whatever namespace; of all Services if there are too many to name.
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

/// Turns events into changes: a list becomes one, when it is complete, and names every Service that was asked for.
fn reader(
    services: BTreeSet<ServiceName>,
    mut on_listed: impl FnMut(),
) -> impl FnMut(Event<EndpointSlice>) -> Vec<Change> {
    let empty: Endpoints = services
        .into_iter()
        .map(|service| (service, Slices::new()))
        .collect();
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
            .map(|(service, name, _)| Change::NoEndpointSlice(service, name))
            .into_iter()
            .collect(),
    }
}
