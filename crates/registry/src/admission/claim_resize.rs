//! PersistentVolumeClaimResize: claims grow when they are bound and their class allows it.

use serde_json::Value;
use skiff_machinery::Object;
use skiff_machinery::quantity::Quantity;

use super::review::{Review, Write};
use crate::errors::ApiError;

pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let changes = review.is_core("PersistentVolumeClaim")
        && review.write == Write::Update
        && review.subresource.is_empty();
    let (Some(new), Some(old)) = (review.object.as_deref(), review.old) else { return Ok(()) };
    if !changes || amount(new) <= amount(old) {
        return Ok(());
    }
    let call = review.call;
    let refuse = |why: &str| Err(ApiError::forbidden(call.subject(new.name()), why));
    if old.str(&["status", "phase"]) != "Bound" {
        return refuse("Only bound persistent volume claims can be expanded");
    }
    let (name, before) = (class(new), class(old));
    let class = if name.is_empty() || name != before {
        None
    } else {
        review.named("storage.k8s.io", "storageclasses", name).await?
    };
    let grows = class.and_then(|class| class.get(&["allowVolumeExpansion"]).and_then(Value::as_bool));
    if grows.unwrap_or_default() {
        return Ok(());
    }
    refuse(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

fn amount(claim: &Object) -> i128 {
    let wanted = claim.str(&["spec", "resources", "requests", "storage"]).parse::<Quantity>();
    wanted.map_or(0, |amount| amount.nanos())
}

/// The name of the class; an annotation of old goes before the field.
fn class(claim: &Object) -> &str {
    let annotated = claim.annotations().get("volume.beta.kubernetes.io/storage-class").copied();
    annotated.unwrap_or_else(|| claim.str(&["spec", "storageClassName"]))
}
