//! LimitRanger: what the namespace's LimitRanges give containers, and what they ask of pods and claims. What they mean is in
//! `skiff_limits`.

use serde_json::Value;
use skiff_limits::ranger;
use skiff_machinery::Object;

use super::review::{Review, Write, tree};
use crate::errors::ApiError;
use crate::pipeline::codec;

/// Gives containers what they leave out.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let ranges = ranges(review).await?;
    if ranges.is_empty() || !review.is_core("Pod") {
        return Ok(());
    }
    if let Some(pod) = review.object.as_deref_mut() {
        let mut changed = std::mem::take(pod).into_value();
        ranger::set_defaults(&ranges, &mut changed);
        *pod = Object::from_value(changed).unwrap_or_default();
    }
    Ok(())
}

/// Refuses what breaks a bound.
pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let ranges = ranges(review).await?;
    let Some(object) = review.object.as_deref().filter(|_| !ranges.is_empty()) else { return Ok(()) };
    let violation = if review.is_core("Pod") {
        ranger::pod_violation(&ranges, &tree(object))
    } else {
        ranger::claim_violation(&ranges, &tree(object))
    };
    match violation {
        Some(why) => Err(ApiError::forbidden(review.call.subject(object.name()), &why)),
        None => Ok(()),
    }
}

/// The LimitRanges that a write is looked at with; none where it is not.
async fn ranges(review: &Review<'_>) -> Result<Vec<Value>, ApiError> {
    let call = review.call;
    let (group, resource) = (&*call.kind.gv.group, &*call.kind.names.plural);
    let subresource = Some(review.subresource).filter(|name| !name.is_empty());
    let applies = review.write != Write::Delete && ranger::applies(group, resource, subresource, review.old);
    if !applies {
        return Ok(Vec::new());
    }
    let entries = review.all_in_namespace("limitranges").await?;
    let ranges = entries.iter().map(|entry| Ok(codec::decode(entry)?.into_value()));
    ranges.collect()
}
