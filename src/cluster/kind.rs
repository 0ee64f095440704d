//! A kind of object: where an API server has it, and which changes its objects mean.

use futures::{FutureExt, future::BoxFuture};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{ApiResource, DynamicObject},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;

use super::{
    Change, ChangeSender, Closed, Key, Pace, SourceName,
    list::{ListError, list},
    watch,
};

/// A source that can be listed and watched.
pub trait Source: Send {
    /// Lists all objects once and returns the changes that they mean.
    fn list(self: Box<Self>, pace: Pace) -> BoxFuture<'static, Result<Vec<Change>, ListError>>;

    /// Sends the changes that all objects mean, and then every change, until the reader has ended.
    fn follow(self: Box<Self>, pace: Pace, feed: ChangeSender) -> BoxFuture<'static, Closed>;
}

/// A kind whose objects are read if they match a field selector.
pub struct Kind<K> {
    /// Its name.
    pub name: SourceName,
    /// Where it is.
    pub api: Api<K>,
    /// The field selector.
    pub only: Option<String>,
    /// The changes that an object means.
    pub meaning: Box<dyn Fn(K) -> Vec<Change> + Send + Sync>,
    /// The key to remove when an object is deleted.
    pub ends: Box<dyn Fn(K) -> Option<Key> + Send + Sync>,
}

impl<K> Source for Kind<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    fn list(self: Box<Self>, pace: Pace) -> BoxFuture<'static, Result<Vec<Change>, ListError>> {
        async move {
            let which = ListParams {
                field_selector: self.only,
                ..ListParams::default()
            };
            let objects = list(&self.api, &which, pace.page).await;
            let objects = objects.map_err(|error| ListError {
                what: self.name.kind().to_owned(),
                error,
            })?;
            Ok(objects.into_iter().flat_map(self.meaning).collect())
        }
        .boxed()
    }

    fn follow(self: Box<Self>, pace: Pace, feed: ChangeSender) -> BoxFuture<'static, Closed> {
        let Self {
            name,
            api,
            only,
            meaning,
            ends,
        } = *self;
        let read = move |event| match event {
            // Sent before every attempt at a list, also before one that fails.
            Event::Init => vec![Change::Relist(name)],
            Event::InitDone => vec![Change::Listed(name)],
            Event::InitApply(object) | Event::Apply(object) => meaning(object),
            Event::Delete(object) => ends(object).map(Change::Gone).into_iter().collect(),
        };
        let mut config = watch::config(pace);
        config.field_selector = only;
        async move { watch::run(name, api, config, &feed, read).await }.boxed()
    }
}

/// One of directway's kinds, read without its schema: otherwise one malformed object would make the whole list fail.
pub fn any_shape<K: Resource<DynamicType = ()>>(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}
