//! Writes statuses and Events.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
    runtime::events::{Event, Recorder, Reporter},
};
use serde_json::json;

use super::{leader::Leadership, metrics::Metrics};
use crate::{
    api::{VirtualService, VirtualServiceStatus},
    cluster::{Change, Object, virtual_service},
    model::VsKey,
};

/// The field manager of the status, and the reporting controller of Events.
const MANAGER: &str = "directway-controller";
/// Requests in flight at once, so that ten thousand statuses at the first start do not flood the API server.
const AT_ONCE: usize = 8;

pub(super) struct StatusWriter {
    client: Client,
    recorder: Recorder,
    leadership: Leadership,
}

/// What to write for one object.
pub(super) struct Update {
    pub key: VsKey,
    pub object: Object,
    pub status: Option<VirtualServiceStatus>,
    pub events: Vec<Event>,
}

/// The results of all updates.
#[derive(Default)]
pub(super) struct Written {
    /// Objects as they are after the write.
    pub changes: Vec<Change>,
    /// Failed writes, to be repeated.
    pub failures: BTreeMap<VsKey, String>,
}

impl StatusWriter {
    pub(super) fn new(client: Client, identity: &str, leadership: Leadership) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            leadership,
        }
    }

    pub(super) async fn write(&self, updates: Vec<Update>, metrics: &Metrics) -> Written {
        let mut written = Written::default();
        let mut results = stream::iter(updates)
            .map(|update| self.write_one(update, metrics))
            .buffer_unordered(AT_ONCE);
        while let Some((key, result)) = results.next().await {
            match result {
                Ok(None) => {}
                Ok(Some(object)) => written.changes.extend(virtual_service(&object, true)),
                Err(error) => {
                    tracing::warn!(%key, "status not written: {error}; trying again");
                    metrics.write_errors.fetch_add(1, Ordering::Relaxed);
                    written.failures.insert(key, error);
                }
            }
        }
        written
    }

    async fn write_one(
        &self,
        update: Update,
        metrics: &Metrics,
    ) -> (VsKey, Result<Option<DynamicObject>, String>) {
        let Update {
            key,
            object,
            status,
            events,
        } = update;
        // If another controller leads by now, it writes the status.
        if !self.leadership.is_ours() {
            return (key, Ok(None));
        }
        let mut after = None;
        if let Some(status) = status {
            let patch = json!({
                "apiVersion": "directway.dev/v1alpha1",
                "kind": "VirtualService",
                // Another object of the same name must not inherit this one's status.
                "metadata": {"name": key.name, "namespace": key.namespace, "uid": object.uid},
                "status": status,
            });
            let resource = ApiResource::erase::<VirtualService>(&());
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
            let params = PatchParams::apply(MANAGER).force();
            match api
                .patch_status(&key.name, &params, &Patch::Apply(&patch))
                .await
            {
                Ok(object) => {
                    metrics.writes.fetch_add(1, Ordering::Relaxed);
                    after = Some(object);
                }
                // The object is gone or was replaced, which the watch reports.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    return (key, Ok(None));
                }
                Err(error) => return (key, Err(error.to_string())),
            }
        }
        for event in events {
            self.publish(&event, &object.reference, metrics).await;
        }
        (key, Ok(after))
    }

    /// Sends Events about other objects.
    pub(super) async fn tell(&self, events: Vec<(ObjectReference, Event)>, metrics: &Metrics) {
        for (about, event) in events {
            if self.leadership.is_ours() {
                self.publish(&event, &about, metrics).await;
            }
        }
    }

    async fn publish(&self, event: &Event, about: &ObjectReference, metrics: &Metrics) {
        if let Err(error) = self.recorder.publish(event, about).await {
            // Not repeated: statuses have the same information.
            let name = about.name.as_deref();
            tracing::warn!(name, "event not written: {error}");
            metrics.event_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}
