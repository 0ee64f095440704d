//! Reads an API server: once, or for ever.

use std::time::Duration;

use futures::future::join_all;
use kube::{Api, Client, api::ListParams};

use crate::model::NodeName;

use super::{Change, ChangeSender, LightNode, ListError, SourceName, Store, Wanted, kinds};

/// How long an ending agent waits for the API server's answer whether its node still has a role.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Follows all wanted sources until the reader has ended.
pub async fn follow(client: Client, wanted: Wanted, feed: ChangeSender) {
    let sources = wanted.followed().into_iter();
    let sources = sources.filter_map(|name| kinds::source(name, &client, &wanted));
    join_all(sources.map(|source| source.follow(wanted.pace, feed.clone()))).await;
}

/// Reads `sources` once into `store`, one after the other.
///
/// # Errors
/// The first source that cannot be listed.
pub async fn look(
    client: &Client,
    wanted: &Wanted,
    sources: &[SourceName],
    store: &mut Store,
) -> Result<(), ListError> {
    for name in sources {
        if let Some(source) = kinds::source(*name, client, wanted) {
            let said = source.list(wanted.pace).await?;
            let begins = Change::Relist(*name);
            let ends = Change::Listed(*name);
            store.apply([begins].into_iter().chain(said).chain([ends]));
        }
    }
    Ok(())
}

/// Whether this node has no role any more; `false` also if the API server does not answer in time.
/// The API server is asked directly, because the watch may lag behind.
pub async fn has_lost_its_roles(client: Client, this: &NodeName) -> bool {
    let nodes = Api::<LightNode>::all(client);
    let own = ListParams::default().fields(&format!("metadata.name={this}"));
    let Ok(Ok(list)) = tokio::time::timeout(LAST_LOOK, nodes.list(&own)).await else {
        return false;
    };
    !list.into_iter().any(|light| {
        let (_, node, _) = light.read();
        node.is_director() || node.is_backend()
    })
}
