//! A kind of object: where an API server has it, and what its objects say.

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

/// What can be listed and watched.
pub trait Source: Send {
    /// What all objects say that there are.
    fn list(self: Box<Self>, pace: Pace) -> BoxFuture<'static, Result<Vec<Change>, ListError>>;

    /// Tells what they say, and then what changes, until nobody reads any more.
    fn follow(self: Box<Self>, pace: Pace, feed: ChangeSender) -> BoxFuture<'static, Closed>;
}

/// A kind of which all objects are read that a field selector lets through.
pub struct Kind<K> {
    /// Its name.
    pub name: SourceName,
    /// Where it is.
    pub api: Api<K>,
    /// The field selector.
    pub only: Option<String>,
    /// What an object says.
    pub meaning: Box<dyn Fn(K) -> Vec<Change> + Send + Sync>,
    /// What its deletion ends.
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
            // Said before every attempt at a list, whatever becomes of it.
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

/// Objects of ours, of any shape: one that makes no sense must not keep the others from being read.
pub fn any_shape<K: Resource<DynamicType = ()>>(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}
