//! Lists of an API server, page by page.

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

/// Why something could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("list {what}: {error}")]
pub struct ListError {
    /// What.
    pub what: String,
    /// Why.
    pub error: kube::Error,
}

/// All that are asked for, page by page.
///
/// # Errors
/// What the API server says.
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
