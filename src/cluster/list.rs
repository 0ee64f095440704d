//! Lists of an API server, page by page.

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

/// Why something could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("list {what}: {error}")]
pub struct ListError {
    /// What was to be listed, as in `Nodes`.
    pub what: String,
    /// The client's error.
    pub error: kube::Error,
}

/// All objects that `which` selects, read in pages of `page`.
///
/// # Errors
/// The API server refuses a page or cannot be reached.
pub async fn list<K>(api: &Api<K>, which: &ListParams, page: u32) -> kube::Result<Vec<K>>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut all = Vec::new();
    let mut params = which.clone().limit(page);
    loop {
        let found = api.list(&params).await?;
        all.extend(found.items);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = which.clone().limit(page).continue_token(&token),
            None => return Ok(all),
        }
    }
}
