//! Whose rights containers have.

use super::Finding;
use crate::pod::Pod;
use crate::text::named;

/// Every container is required to run as another user than root, by itself or by the pod.
pub(super) fn non_root(pod: Pod<'_>) -> Option<Finding> {
    let reason = "runAsNonRoot != true";
    let setters = pod.setters(|context| context["runAsNonRoot"] == false);
    if !setters.none() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.text());
        return Some(Finding::new(reason, detail));
    }
    if pod.security_context()["runAsNonRoot"] == true {
        return None;
    }
    let silent = pod.containers_with(|c| c["securityContext"]["runAsNonRoot"].is_null());
    (!silent.is_empty()).then(|| {
        let who = named("container", &silent);
        Finding::new(reason, format!("pod or {who} must set securityContext.runAsNonRoot=true"))
    })
}

/// Nobody asks for user 0.
pub(super) fn not_user_0(pod: Pod<'_>) -> Option<Finding> {
    let setters = pod.setters(|context| context["runAsUser"] == 0);
    let detail = || format!("{} must not set runAsUser=0", setters.text());
    (!setters.none()).then(|| Finding::new("runAsUser=0", detail()))
}
