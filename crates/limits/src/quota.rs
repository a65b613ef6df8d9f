//! ResourceQuota: what the objects of a namespace use together.

mod limited;
mod scope;
mod usage;

use jiff::Timestamp;
use serde_json::Value;
use skiff_quantity::Needed;

use crate::Operation;
use crate::amounts::{Amounts, text};

pub use limited::LimitedResource;
pub use usage::Counted;

/// A request for an object in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Objects of this resource are counted in their own way.
    pub counted: Counted<'a>,
    /// The subresource of the path.
    pub subresource: Option<&'a str>,
    /// What is done.
    pub operation: Operation<'a>,
    /// The object as it would be stored.
    pub object: &'a Value,
    /// A pod that should have been gone before this time is not charged.
    pub now: Timestamp,
}

/// What a ResourceQuota's `status.used` becomes if the request succeeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// Which of the quotas, counted from 0.
    pub quota: usize,
    /// The new `status.used`.
    pub used: Amounts,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 403: what follows `pods "name" is forbidden: `.
    Forbidden(String),
    /// No quota is about scopes that need one. Kubernetes gives it no status of its own: 500, and this is the whole text.
    Uncovered(String),
}

impl From<String> for Refused {
    fn from(text: String) -> Self {
        Self::Forbidden(text)
    }
}

/// What a request costs, or why it is refused; `limited` is what may only be used where a quota is about it. The caller writes
/// the charges in the transaction of the object; on a conflict it reads the quotas afresh and asks again.
///
/// # Errors
/// When something is missing in the object, when a quota would be exceeded, or when there is none and there must be one.
pub fn charge(
    quotas: &[Value],
    limited: &[LimitedResource],
    request: &Request<'_>,
) -> Result<Vec<Charge>, Refused> {
    if !request.counted.is_charged_by(request) {
        return Ok(Vec::new());
    }
    let concerned = concerned(quotas, request)?;
    let usage = request.counted.usage(request.object, request.now);
    let negative = usage.only(|_, amount| amount.nanos() < 0);
    if !negative.is_empty() {
        let names = listed(negative.names());
        return Err(format!("quota usage is negative for resource(s): {names}").into());
    }
    let more = |quota| more(quota, &usage, request).only(|_, amount| amount.nanos() != 0);
    let deltas: Vec<Amounts> = concerned.iter().map(|(_, quota)| more(Some(*quota))).collect();
    let unchanged = match deltas.as_slice() {
        [] => more(None).is_empty(),
        deltas => deltas.iter().all(Amounts::is_empty),
    };
    if unchanged {
        return Ok(Vec::new());
    }
    limited::check(limited, quotas, concerned.iter().map(|(_, quota)| *quota), &usage, request)?;
    let mut charges = Vec::new();
    for ((index, quota), more) in concerned.into_iter().zip(deltas) {
        if let Some(used) = charged(quota, &more, request)? {
            charges.push(Charge { quota: index, used });
        }
    }
    Ok(charges)
}

/// Quotas that count this object, with their index.
fn concerned<'a>(quotas: &'a [Value], request: &Request<'_>) -> Result<Vec<(usize, &'a Value)>, String> {
    let mut concerned = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let hard = Amounts::read(&quota["status"]["hard"]);
        let counted = hard.only(|name, _| request.counted.counts(name));
        if counted.is_empty() || !scope::has(quota, request.counted, request.object) {
            continue;
        }
        let name = text(&quota["metadata"]["name"]);
        if let Some(missing) = request.counted.missing(&counted, request.object) {
            return Err(format!("failed quota: {name}: must specify {missing}"));
        }
        let used = Amounts::read(&quota["status"]["used"]);
        if counted.names().any(|name| used.get(name).is_none()) {
            let names = listed(counted.names());
            return Err(format!("status unknown for quota: {name}, resources: {names}"));
        }
        concerned.push((index, quota));
    }
    Ok(concerned)
}

/// What the object uses more than it did, as a quota sees it, or without one.
fn more(quota: Option<&Value>, usage: &Amounts, request: &Request<'_>) -> Amounts {
    match request.operation {
        Operation::Update { old } if quota.is_none_or(|quota| scope::has(quota, request.counted, old)) => {
            usage.beyond(&request.counted.usage(old, request.now))
        }
        _ => usage.clone(),
    }
}

/// The new `status.used`, if it changes.
fn charged(quota: &Value, more: &Amounts, request: &Request<'_>) -> Result<Option<Amounts>, String> {
    let hard = Amounts::read(&quota["status"]["hard"]);
    let requested = more.only(|name, _| hard.get(name).is_some());
    if requested.is_empty() {
        return Ok(None);
    }
    let before = Amounts::read(&quota["status"]["used"]);
    let mut used = before.clone();
    used.add(&requested);
    let above = |name: &str| match (used.get(name), hard.get(name)) {
        (Some(used), Some(hard)) => used.nanos() > hard.nanos(),
        _ => false,
    };
    let exceeded = requested.only(|name, _| above(name));
    if !exceeded.is_empty() && request.subresource != Some("status") {
        let of = |amounts: &Amounts| amounts.only(|name, _| exceeded.get(name).is_some());
        let (name, before, hard) = (text(&quota["metadata"]["name"]), of(&before), of(&hard));
        return Err(format!(
            "exceeded quota: {name}, requested: {exceeded}, used: {before}, limited: {hard}"
        ));
    }
    Ok(Some(used))
}

/// What the objects of one resource use of what a quota's `spec.hard` names; for the controller that keeps
/// `status.used` true.
pub fn used<'a>(
    quota: &Value,
    counted: Counted<'_>,
    objects: impl IntoIterator<Item = &'a Value>,
    now: Timestamp,
) -> Amounts {
    let mut used = Amounts::default();
    for name in Amounts::read(&quota["spec"]["hard"]).names().filter(|name| counted.counts(name)) {
        used.set(name, 0);
    }
    for object in objects.into_iter().filter(|object| scope::has(quota, counted, object)) {
        let more = counted.usage(object, now).only(|name, _| used.get(name).is_some());
        used.add(&more);
    }
    used
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}
