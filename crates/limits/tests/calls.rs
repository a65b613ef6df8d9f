//! How the API server calls the plugins.

use serde_json::json;
use skiff_limits::quota::{Charge, Counted, Refused, Request, charge, used};
use skiff_limits::{Operation, ranger};

/// LimitRanger changes pods with the plugins that change objects, and checks them with those that validate.
#[test]
fn limit_ranger() {
    let limits = json!({"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}});
    let ranges = [json!({"metadata": {"name": "r"}, "spec": {"limits": [limits]}})];
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});

    assert!(ranger::applies("", "pods", None, None));
    ranger::set_defaults(&ranges, &mut pod);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"], "500m");

    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2".into();
    let why = ranger::pod_violation(&ranges, &pod); // 403: pods "p" is forbidden: …
    assert_eq!(why.as_deref(), Some("maximum cpu usage per Container is 1, but limit is 2"));
}

/// ResourceQuota is the last plugin that validates: what it charges is written together with the object.
#[test]
fn resource_quota() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    let hard = json!({"pods": "2"});
    let mut quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});

    // The controller counts what is there.
    let counted = Counted::of("", "pods").unwrap();
    quota["status"] = json!({"hard": hard, "used": used(&quota, counted, [&pod], now).to_value()});

    let operation = Operation::Create;
    let request = Request { counted, subresource: None, operation, object: &pod, now };
    let charges = charge(std::slice::from_ref(&quota), &[], &request).unwrap();
    let [Charge { quota: 0, used }] = charges.as_slice() else { panic!("{charges:?}") };
    assert_eq!(used.to_value(), json!({"pods": "2"}));

    quota["status"]["used"] = used.to_value();
    let why = charge(&[quota], &[], &request).unwrap_err(); // 403: pods "p" is forbidden: …
    let text = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2";
    assert_eq!(why, Refused::Forbidden(text.to_owned()));
}
