//! Keys and certificates are replaced while clients go on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use skiff_tests::{Cluster, Kubectl};

/// The identifier of the key that has signed a token.
fn key_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Whose token it is; empty if it is nobody's.
fn user_of(cluster: &Cluster, token: &str) -> String {
    let review = cluster.host().directory().join("review.yaml");
    let text =
        format!("{{apiVersion: authentication.k8s.io/v1, kind: TokenReview, spec: {{token: {token}}}}}");
    std::fs::write(&review, text).unwrap();
    cluster.k(&format!("create -f {} -o jsonpath={{.status.user.username}}", review.display()))
}

/// The identifiers of the keys that others verify tokens by.
fn published(cluster: &Cluster) -> Vec<String> {
    let keys: Value = serde_json::from_str(&cluster.k("get --raw /openid/v1/jwks")).unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// A watch of ConfigMaps, line by line.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(cluster: &Cluster) -> Self {
        let mut command = cluster.kubectl_command(Kubectl::New, "get configmaps -w -o name");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watch = Self { child, lines };
        watch.until("configmap/kube-root-ca.crt");
        watch
    }

    fn until(&mut self, wanted: &str) {
        let found = self.lines.find(|line| line.as_ref().unwrap() == wanted);
        assert!(found.is_some(), "the watch ended before {wanted}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn another_key_signs_tokens_and_those_of_the_old_one_are_believed_until_it_is_revoked() {
    let cluster = Cluster::empty();
    let token = || cluster.k("create token default").trim().to_owned();
    let account = "system:serviceaccount:default:default";
    let old = token();
    assert_eq!(published(&cluster), [key_of(&old)]);
    let mut watch = Watch::start(&cluster);

    let told = cluster.skiff(["rotate", "service-account-key"]).ok();
    let new = token();
    assert_ne!(key_of(&new), key_of(&old));
    assert!(told.contains(&key_of(&new)), "{told}");
    assert_eq!(published(&cluster), [key_of(&new), key_of(&old)]);
    for token in [&old, &new] {
        assert_eq!(user_of(&cluster, token), account);
    }

    cluster.skiff(["rotate", "service-account-key", "--revoke"]).ok();
    let last = token();
    assert_eq!(published(&cluster), [key_of(&last)]);
    assert_eq!([&old, &new, &last].map(|token| user_of(&cluster, token)), ["", "", account]);
    // Who watches has noticed nothing, and the next server knows the key.
    cluster.k("create configmap after --from-literal=a=b");
    watch.until("configmap/after");
    drop(watch);
    cluster.skiff(["down"]).ok();
    let told = cluster.skiff(["rotate", "service-account-key"]).ok();
    cluster.start();
    assert_eq!(user_of(&cluster, &last), account);
    assert!(told.contains(&published(&cluster)[0]), "{told}");
}
