//! LIST: what is selected, page by page, of one revision.

use skiff_machinery::Persistence;
use skiff_store::{Key, Listing, Range, ReadError};

use super::call::Call;
use super::outcome::{Outcome, Selected};
use super::paging::{self, Request};
use super::select::Selection;
use super::{made, versions};
use crate::errors::ApiError;
use crate::registry::Registry;

const TOKEN_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// After so many bytes that were looked at, others are served: about a millisecond's work.
const STEP: usize = 64 * 1024;

/// How much work a list is before its answer begins, in bytes of bodies that take as long to read. A list that is refused is none.
pub fn searched(registry: &Registry, call: &Call) -> usize {
    Selection::of(call, &*registry.store).map_or(0, |selection| selection.searched(&*registry.store))
}

/// GET of a collection.
pub(crate) async fn list(registry: &Registry, call: &Call) -> Result<Outcome, ApiError> {
    let selection = Selection::of(call, &*registry.store)?;
    let request = Request::read(call)?;
    let selected = select(registry, call, &selection, request).await?;
    Ok(Outcome::list(selected))
}

/// Every object that is selected, whatever the paging options of the call.
pub(crate) async fn select_all(
    registry: &Registry,
    call: &Call,
    selection: &Selection,
) -> Result<Selected, ApiError> {
    select(registry, call, selection, Request::default()).await
}

/// The objects that are selected, as far as the paging options say.
pub(crate) async fn select(
    registry: &Registry,
    call: &Call,
    selection: &Selection,
    mut request: Request,
) -> Result<Selected, ApiError> {
    let store = &registry.store;
    if let Some(wanted) = request.not_older_than.filter(|wanted| *wanted > store.revision()) {
        return Err(ApiError::FutureRevision { requested: wanted, current: store.revision() });
    }
    if call.kind.persistence == Persistence::Made {
        return made(registry, call, selection);
    }
    if let Some(key) = selection.only_key(call).filter(|_| request.at.is_none()) {
        return one(registry, call, selection, &key).await;
    }
    let range = selection.range();
    if selection.is_range() {
        let listing = read(registry, call, range, &request).await?;
        let told = selection.is_everything();
        return Ok(page(call, listing, request.limit.is_some(), told));
    }
    let mut entries = Vec::new();
    let mut looked_at = 0;
    loop {
        let listing = read(registry, call, range, &request).await?;
        let (revision, remaining) = (listing.revision, listing.remaining);
        request.after = listing.entries.last().map(|entry| entry.key.clone());
        request.at = Some(revision);
        let full = |found: usize| request.limit.is_some_and(|limit| found >= limit.get());
        let mut rest = listing.entries.into_iter();
        while let Some(entry) = rest.next() {
            looked_at += entry.value.len();
            if looked_at > STEP {
                looked_at = 0;
                // The store does not wait for anything: nobody else would be served before the end.
                tokio::task::yield_now().await;
            }
            if selection.matches_listed(call, &entry)? {
                entries.push(entry);
            }
            if full(entries.len()) && (remaining > 0 || rest.len() > 0) {
                let last = entries.last().map(|last| paging::token(call, Some(revision), &last.key));
                let token = last.unwrap_or_default();
                return Ok(Selected { revision, entries, continue_token: token, remaining: None });
            }
        }
        if remaining == 0 {
            return Ok(Selected { revision, entries, continue_token: String::new(), remaining: None });
        }
    }
}

/// The list of objects that are made, all at once.
fn made(registry: &Registry, call: &Call, selection: &Selection) -> Result<Selected, ApiError> {
    let mut entries = Vec::new();
    for entry in made::entries(call, &registry.parts, registry.store.revision()) {
        if selection.matches(registry, call, &entry)? {
            entries.push(entry);
        }
    }
    let revision = registry.store.revision();
    Ok(Selected { revision, entries, continue_token: String::new(), remaining: None })
}

/// The list of at most one object.
async fn one(
    registry: &Registry,
    call: &Call,
    selection: &Selection,
    key: &Key,
) -> Result<Selected, ApiError> {
    let revision = registry.store.revision();
    let mut entries = Vec::new();
    if let Some(entry) = registry.store.get(key).await? {
        let entry = versions::shown_one(call, entry).await?;
        if selection.matches(registry, call, &entry)? {
            entries.push(entry);
        }
    }
    let newest = entries.first().map_or(revision, |entry| revision.max(entry.modified));
    Ok(Selected { revision: newest, entries, continue_token: String::new(), remaining: None })
}

async fn read(
    registry: &Registry,
    call: &Call,
    range: Range<'_>,
    request: &Request,
) -> Result<Listing, ApiError> {
    let listing = registry.store.list(range, request.page()).await;
    let listing = listing.map_err(|error| match (error, &request.after) {
        (ReadError::Compacted { .. }, Some(after)) if request.continued => ApiError::Expired {
            message: TOKEN_TOO_OLD.to_owned(),
            continue_token: paging::token(call, None, after),
        },
        (other, _) => other.into(),
    })?;
    Ok(Listing { entries: versions::shown(call, listing.entries).await?, ..listing })
}

/// The answer that a listing is; how many remain is `told` where there is no selector, as Kubernetes does.
fn page(call: &Call, listing: Listing, limited: bool, told: bool) -> Selected {
    let more = limited && listing.remaining > 0;
    let last = listing.entries.last().filter(|_| more);
    Selected {
        revision: listing.revision,
        continue_token: last
            .map(|last| paging::token(call, Some(listing.revision), &last.key))
            .unwrap_or_default(),
        remaining: (more && told).then_some(listing.remaining),
        entries: listing.entries,
    }
}
