//! Watches of an API server. Each is retried for ever, and a reader acts only when its list is complete. While the API
//! server cannot be reached, the last known state stays in force.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;

use super::{Change, ChangeSender, Closed, Pace, SourceName, WATCH_SUBJECT};

/// Pauses between the first attempts.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// The pause between later attempts.
const LATE: Duration = Duration::from_secs(3);
/// An error counts as over after this time without another one.
const CALM: Duration = Duration::from_secs(10);
/// How many changes of a list are sent together.
const BATCH: usize = 250;

/// How a kind is watched.
pub(super) fn config(pace: Pace) -> watcher::Config {
    let config = watcher::Config::default();
    config.timeout(pace.watch).page_size(pace.page)
}

/// Errors of a watch in a row.
struct Outage {
    source: SourceName,
    failures: usize,
    /// What was reported. Kept while the status is the same, because the text of a refused connection varies.
    told: Option<(Option<u16>, String)>,
}

impl Outage {
    /// The problem to report for one more error.
    fn failed(&mut self, error: &watcher::Error) -> Change {
        let (status, message) = (status(error), explain(error));
        tracing::debug!(source = self.source.name(), "{message}");
        let (_, message) = match self.told.take() {
            Some(before) if before.0 == status => self.told.insert(before),
            Some(_) | None => self.told.insert((status, message)),
        };
        Change::problem(self.source, WATCH_SUBJECT, &*message)
    }

    /// How long to wait before the next attempt.
    fn pause(&mut self) -> Duration {
        let wait = *BACKOFF.get(self.failures).unwrap_or(&LATE);
        self.failures += 1;
        wait
    }

    /// Ends the outage; returns the change to report if there was one.
    fn ends(&mut self) -> Option<Change> {
        self.told = None;
        let failures = std::mem::take(&mut self.failures);
        (failures > 0).then(|| Change::no_problem(self.source, WATCH_SUBJECT))
    }
}

/// Follows the objects that `config` selects; `read` turns each event into changes.
pub(super) async fn run<K>(
    source: SourceName,
    api: Api<K>,
    config: watcher::Config,
    feed: &ChangeSender,
    mut read: impl FnMut(Event<K>) -> Vec<Change>,
) -> Closed
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut events = pin!(watcher(api, config));
    let mut batch = Vec::new();
    let mut outage = Outage {
        source,
        failures: 0,
        told: None,
    };
    loop {
        let event = if outage.failures > 0 {
            let event = tokio::time::timeout(CALM, events.next()).await;
            event.unwrap_or_else(|_| {
                batch.extend(outage.ends());
                None
            })
        } else {
            events.next().await
        };
        let mut pause = None;
        match event {
            None => {}
            Some(Ok(event @ Event::Init)) => batch.extend(read(event)),
            Some(Ok(event)) => {
                batch.extend(outage.ends());
                let listing = matches!(event, Event::InitApply(_));
                batch.extend(read(event));
                if listing && batch.len() < BATCH {
                    continue;
                }
            }
            Some(Err(error)) => {
                batch.push(outage.failed(&error));
                pause = Some(outage.pause());
            }
        }
        if feed.send(std::mem::take(&mut batch)).await.is_err() {
            return Closed;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The API server's status code; `None` if it was not reached.
fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// The error with its causes, and what to do where that is known.
fn explain(error: &watcher::Error) -> String {
    let fix = match status(error) {
        Some(401) => {
            "the API server does not accept these credentials; check the service account's token or the kubeconfig"
        }
        Some(403) => "the service account lacks a right; compare with the chart's ClusterRole",
        Some(404) => {
            "the API server does not know this kind; install the CRDs (directway crd | kubectl apply -f -)"
        }
        Some(410) => "reading the list again",
        Some(_) | None => "trying again; what was known last stays in force",
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    format!("{text}; {fix}")
}
