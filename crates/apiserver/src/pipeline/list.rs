//! LIST: selectors, pages, revisions.

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use skiff_machinery::FieldError;
use skiff_store::{Entry, Key, Listing, Page, ReadError, Revision};

use super::call::Call;
use super::select::Selection;
use super::{Outcome, keys, versions};
use crate::errors::{ApiError, Subject};
use crate::http::aside;

const TOKEN_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// What a list found.
#[derive(Debug)]
pub(crate) struct Selected {
    /// The revision of the list.
    pub(crate) revision: Revision,
    /// In key order.
    pub(crate) entries: Vec<Entry>,
    /// Token for the next page; empty on the last one.
    pub(crate) continue_token: String,
    /// How many objects follow, if that is known.
    pub(crate) remaining: Option<usize>,
}

/// GET of a collection.
pub(crate) async fn list(call: &Call) -> Result<Outcome, ApiError> {
    let selection = Selection::of(call)?;
    let request = Request::read(call)?;
    let selected = select(call, &selection, request).await?;
    Ok(Outcome::list(selected))
}

/// Every object that the selectors of the call match, whatever its paging options.
pub(crate) async fn select_all(call: &Call) -> Result<Selected, ApiError> {
    let selection = Selection::of(call)?;
    select(call, &selection, Request::default()).await
}

/// Paging and revision options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Request {
    limit: Option<NonZeroUsize>,
    after: Option<Key>,
    at: Option<Revision>,
    /// The list must not be older.
    not_older_than: Option<Revision>,
    continued: bool,
}

/// What a continue token holds.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// The revision of the first page; 0 for an inconsistent rest.
    rv: u64,
    /// The last key of the page before.
    after: String,
}

impl Token {
    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("two plain fields serialise"))
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl Request {
    fn read(call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
        let (version, rule) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
        let token = query.get("continue");
        check_options(version, rule, token)?;
        if !token.is_empty() {
            if !matches!(version, "" | "0") {
                let text = "specifying resource version is not allowed when using continue";
                return Err(ApiError::BadRequest(text.to_owned()));
            }
            let prefix = keys::collection(&call.kind, call.namespace());
            let token = Token::decode(token).filter(|token| token.after.starts_with(&prefix));
            let token = token.ok_or_else(|| {
                ApiError::BadRequest("continue key is not valid: it does not belong to this list".to_owned())
            })?;
            let at = Some(Revision::new(token.rv)).filter(|rv| *rv != Revision::ZERO);
            return Ok(Self {
                limit,
                after: Some(Key::from(token.after)),
                at,
                not_older_than: None,
                continued: true,
            });
        }
        let version = parse_revision(version)
            .map_err(|error| ApiError::BadRequest(format!("invalid resource version: {error}")))?;
        let exact = rule == "Exact" || (rule.is_empty() && limit.is_some());
        Ok(match version.filter(|version| *version != Revision::ZERO) {
            Some(version) if exact => Self { limit, at: Some(version), ..Self::default() },
            version => Self { limit, not_older_than: version, ..Self::default() },
        })
    }

    fn page(&self) -> Page {
        Page { after: self.after.clone(), limit: self.limit, at: self.at }
    }
}

/// Refuses combinations that Kubernetes refuses.
fn check_options(version: &str, rule: &str, token: &str) -> Result<(), ApiError> {
    let forbid = |why: &str| Some(FieldError::forbidden("resourceVersionMatch", why));
    let error = match rule {
        "" => None,
        _ if !token.is_empty() => forbid("resourceVersionMatch is forbidden when continue is provided"),
        _ if version.is_empty() => {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        "Exact" if version == "0" => {
            forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" | "NotOlderThan" => None,
        other => {
            Some(FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""]))
        }
    };
    error.map_or(Ok(()), |error| Err(ApiError::invalid(options_subject(), vec![error])))
}

/// What errors about list options name.
pub(crate) fn options_subject() -> Subject {
    Subject { group: "meta.k8s.io".into(), kind: "ListOptions".into(), ..Subject::default() }
}

/// A `resourceVersion` parameter; `None` when it is not there.
pub(crate) fn parse_revision(text: &str) -> Result<Option<Revision>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
    let number = text.parse().map_err(|_| FieldError::invalid("resourceVersion", text, why))?;
    Ok(Some(Revision::new(number)))
}

async fn select(call: &Call, selection: &Selection, mut request: Request) -> Result<Selected, ApiError> {
    let store = &call.server.store;
    if let Some(wanted) = request.not_older_than.filter(|wanted| *wanted > store.revision()) {
        return Err(ApiError::FutureRevision { requested: wanted, current: store.revision() });
    }
    if let Some(key) = selection.only_key(call).filter(|_| request.at.is_none()) {
        return one(call, selection, &key).await;
    }
    let prefix = keys::collection(&call.kind, call.namespace());
    if selection.is_everything() {
        let listing = read(call, &prefix, &request).await?;
        return Ok(page(listing, request.limit.is_some()));
    }
    let mut entries = Vec::new();
    let mut looked_at = 0;
    loop {
        let listing = read(call, &prefix, &request).await?;
        let (revision, remaining) = (listing.revision, listing.remaining);
        request.after = listing.entries.last().map(|entry| entry.key.clone());
        request.at = Some(revision);
        let full = |found: usize| request.limit.is_some_and(|limit| found >= limit.get());
        let mut rest = listing.entries.into_iter();
        while let Some(entry) = rest.next() {
            looked_at += entry.value.len();
            if looked_at > aside::SMALL {
                looked_at = 0;
                // The store does not wait for anything: nobody else would be served before the end.
                tokio::task::yield_now().await;
            }
            if selection.matches(call, &entry)? {
                entries.push(entry);
            }
            if full(entries.len()) && (remaining > 0 || rest.len() > 0) {
                let token = entries.last().map_or_else(String::new, |last| token(revision, &last.key));
                return Ok(Selected { revision, entries, continue_token: token, remaining: None });
            }
        }
        if remaining == 0 {
            return Ok(Selected { revision, entries, continue_token: String::new(), remaining: None });
        }
    }
}

/// The list of at most one object.
async fn one(call: &Call, selection: &Selection, key: &Key) -> Result<Selected, ApiError> {
    let revision = call.server.store.revision();
    let mut entries = Vec::new();
    if let Some(entry) = call.server.store.get(key).await? {
        let entry = versions::shown_one(call, entry).await?;
        if selection.matches(call, &entry)? {
            entries.push(entry);
        }
    }
    let newest = entries.first().map_or(revision, |entry| revision.max(entry.modified));
    Ok(Selected { revision: newest, entries, continue_token: String::new(), remaining: None })
}

async fn read(call: &Call, prefix: &str, request: &Request) -> Result<Listing, ApiError> {
    let listing = call.server.store.list(prefix, request.page()).await;
    let listing = listing.map_err(|error| match (error, &request.after) {
        (ReadError::Compacted { .. }, Some(after)) if request.continued => ApiError::Expired {
            message: TOKEN_TOO_OLD.to_owned(),
            continue_token: token(Revision::ZERO, after),
        },
        (other, _) => other.into(),
    })?;
    Ok(Listing { entries: versions::shown(call, listing.entries).await?, ..listing })
}

fn token(revision: Revision, after: &Key) -> String {
    Token { rv: revision.get(), after: after.to_string() }.encode()
}

fn page(listing: Listing, limited: bool) -> Selected {
    let more = limited && listing.remaining > 0;
    let last = listing.entries.last().filter(|_| more);
    Selected {
        revision: listing.revision,
        continue_token: last.map_or_else(String::new, |last| token(listing.revision, &last.key)),
        remaining: more.then_some(listing.remaining),
        entries: listing.entries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_senseless_options() {
        let check = |version: &str, rule: &str, token: &str, fine: bool| {
            assert_eq!(check_options(version, rule, token).is_ok(), fine, "{version} {rule} {token}");
        };
        check("", "", "", true);
        check("5", "Exact", "", true);
        check("0", "Exact", "", false);
        check("0", "NotOlderThan", "", true);
        check("", "Exact", "", false);
        check("5", "Newest", "", false);
        check("", "Exact", "abc", false);
    }
}
