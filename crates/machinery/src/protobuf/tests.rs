use super::*;
use crate::Object;
use crate::testing::root;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;

/// A field with bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length], content].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    assert!(value < 128);
    vec![number << 3, value]
}

fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, b"v1"), bytes(2, kind.as_bytes())].concat();
    [MAGIC, &bytes(1, &meta), &bytes(2, raw), &bytes(3, b""), &bytes(4, b"")].concat()
}

#[track_caller]
fn check(kind: &str, raw: &[u8], expected: Value) {
    let object = decode(&envelope(kind, raw), &root(&format!("io.k8s.api.core.v1.{kind}"))).unwrap();
    assert_eq!(object.into_value(), expected);
}

#[test]
fn reads_text_maps_and_bytes() {
    let metadata = [
        bytes(1, b"n"),
        bytes(2, b""),
        bytes(8, b""),
        bytes(11, &[bytes(1, b"app"), bytes(2, b"x")].concat()),
        bytes(11, &[bytes(1, b"empty"), bytes(2, b"")].concat()),
    ]
    .concat();
    let raw = [
        bytes(1, &metadata),
        bytes(2, &[bytes(1, b"k"), bytes(2, b"v")].concat()),
        bytes(3, &[bytes(1, b"b"), bytes(2, &[0, 1])].concat()),
        number(4, 0),
    ]
    .concat();
    check(
        "ConfigMap",
        &raw,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "n", "labels": {"app": "x", "empty": ""}},
            "data": {"k": "v"}, "binaryData": {"b": "AAE="}, "immutable": false,
        }),
    );
}

#[test]
fn drops_zeros_that_mean_nothing() {
    let port = [
        bytes(1, b""),
        number(3, 80),
        bytes(4, &[number(1, 0), number(2, 8), bytes(3, b"")].concat()),
        number(5, 0),
    ];
    let named = [number(3, 81), bytes(4, &[number(1, 1), number(2, 0), bytes(3, b"web")].concat())];
    let spec =
        [bytes(1, &port.concat()), bytes(1, &named.concat()), bytes(4, b"ClusterIP"), number(13, 0)].concat();
    check(
        "Service",
        &bytes(2, &spec),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {
            "ports": [{"port": 80, "targetPort": 8}, {"port": 81, "targetPort": "web"}], "type": "ClusterIP",
        }}),
    );
}

#[test]
fn flattens_what_json_shows_flat() {
    let key = [bytes(1, &bytes(1, b"cm")), bytes(2, b"k")].concat();
    let env = [bytes(1, b"A"), bytes(3, &bytes(3, &key))].concat();
    let limits = [bytes(1, b"cpu"), bytes(2, &bytes(1, b"100m"))].concat();
    let container = [bytes(1, b"c"), bytes(7, &env), bytes(8, &bytes(1, &limits))].concat();
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, &bytes(1, b"")))].concat();
    let spec = [bytes(1, &volume), bytes(2, &container), number(4, 0)].concat();
    check(
        "Pod",
        &bytes(2, &spec),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}],
                "resources": {"limits": {"cpu": "100m"}},
            }],
            "terminationGracePeriodSeconds": 0,
        }}),
    );
}

#[test]
fn reads_times() {
    let at = [vec![1 << 3, 0x80, 0xa3, 0x05], number(2, 1)].concat();
    let metadata = bytes(8, &at);
    check(
        "Namespace",
        &bytes(1, &metadata),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"creationTimestamp": "1970-01-02T00:00:00Z"}}),
    );
}

#[test]
fn what_the_envelope_says_of_the_encoding_changes_nothing() {
    let raw = bytes(1, &bytes(1, b"n"));
    let meta = [bytes(1, b"v1"), bytes(2, b"Namespace")].concat();
    let told = [bytes(3, b"gzip"), bytes(4, b"application/json"), bytes(9, b"more")].concat();
    let body = [MAGIC, &bytes(1, &meta), &bytes(2, &raw), &told].concat();
    let read = decode(&body, &root("io.k8s.api.core.v1.Namespace")).unwrap().into_value();
    assert_eq!(read, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}));
}

/// A body that is refused, and in what words. They are those of Go's generated readers.
#[test]
fn refuses_damaged_bodies() {
    let namespace = |body: &[u8]| match decode(body, &root("io.k8s.api.core.v1.Namespace")) {
        Ok(object) => panic!("{object:?}"),
        Err(error) => error.to_string(),
    };
    let prefix = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    let whole: [(&[u8], &str); 11] = [
        (b"{}", prefix),
        (b"k8s\0", "empty body"),
        (b"k8s\0\x0a\x7f", "unexpected EOF"),
        (b"k8s\0\x0a", "unexpected EOF"),
        (b"k8s\0\x80", "unexpected EOF"),
        (b"k8s\0\x02\0", "proto: Unknown: illegal tag 0 (wire type 2)"),
        (b"k8s\0\x08\0", "proto: wrong wireType = 0 for field TypeMeta"),
        (b"k8s\0\x10\0", "proto: wrong wireType = 0 for field Raw"),
        (b"k8s\0\x18\0", "proto: wrong wireType = 0 for field ContentEncoding"),
        (b"k8s\0\x25....", "proto: wrong wireType = 5 for field ContentType"),
        (b"k8s\0\x0a\x02\0\0", "proto: TypeMeta: illegal tag 0 (wire type 0)"),
    ];
    for (body, expected) in whole {
        assert_eq!(namespace(body), expected, "{}", body.escape_ascii());
    }
    let overflow = [&[9 << 3][..], &[0x80; 10], &[1]].concat();
    let below_zero = [&[1 << 3 | 2][..], &[0xff; 9], &[1]].concat();
    let within: [(&[u8], &str); 13] = [
        (&number(1, 5), "proto: wrong wireType = 0 for field metadata"),
        (&bytes(1, &bytes(1, &[0xff])), "proto: field name contains invalid UTF-8"),
        (&[0, 0], "proto: Namespace: illegal tag 0 (wire type 0)"),
        (&[2, 0], "proto: Namespace: illegal tag 0 (wire type 2)"),
        (&bytes(1, &[5, 0, 0, 0, 0]), "proto: ObjectMeta: illegal tag 0 (wire type 5)"),
        (
            &[0x80, 0x80, 0x80, 0x80, 0x40, 0],
            "proto: Namespace: illegal tag -2147483648 (wire type 17179869184)",
        ),
        (&bytes(1, &bytes(8, &[0, 0])), "proto: Timestamp: illegal tag 0 (wire type 0)"),
        (&[4], "proto: Namespace: wiretype end group for non-group"),
        (&[9 << 3 | 3, 9 << 3 | 3, 9 << 3 | 4], "unexpected EOF"),
        (&[9 << 3 | 6], "proto: illegal wireType 6"),
        (&bytes(1, &bytes(11, &[9 << 3 | 4])), "proto: unexpected end of group"),
        (&overflow, "proto: integer overflow"),
        (&below_zero, "proto: negative length found during unmarshaling"),
    ];
    for (raw, expected) in within {
        assert_eq!(namespace(&envelope("Namespace", raw)), expected, "{raw:?}");
    }
}

#[test]
fn skips_what_is_unknown() {
    let group = [9 << 3 | 3, 1 << 3, 5, 2 << 3 | 3, 2 << 3 | 4, 9 << 3 | 4];
    let label = [bytes(1, b"app"), bytes(2, b"x"), number(0, 1)].concat();
    let metadata = bytes(1, &[bytes(1, b"n"), bytes(11, &label), number(15, 1)].concat());
    let names = json!({"name": "n", "labels": {"app": "x"}});
    let expected = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": names});
    check("Namespace", &[&group[..], &metadata, &[9 << 3 | 5, 0, 0, 0, 0]].concat(), expected);
}

/// Objects as Go's own encoders write them (`k8s.io/apimachinery` 0.36.3), a line each: JSON, a tab, protobuf in base64.
const GO: &str = include_str!("go.txt");

/// A line of [`GO`]: what it is of, its tree, its bytes.
fn go_lines() -> impl Iterator<Item = (skiff_schema::Root, Value, Vec<u8>)> {
    GO.lines().map(|line| {
        let (json, bytes) = line.split_once('\t').unwrap();
        let tree: Value = serde_json::from_str(json).unwrap();
        let version = tree["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let any = root("io.k8s.api.core.v1.Pod");
        let root = any.of_kind(group, version, tree["kind"].as_str().unwrap()).unwrap();
        (root, tree, BASE64_STANDARD.decode(bytes).unwrap())
    })
}

#[test]
fn writes_the_bytes_that_go_writes() {
    for (root, tree, bytes) in go_lines() {
        let object = Object::from_value(tree).unwrap();
        let written = super::object(&object, &root);
        let decoded = || decode(&written, &root).map(Object::into_value);
        assert!(
            written == bytes,
            "{root:?} is written as {:?}, Go's is {:?}",
            decoded(),
            decode(&bytes, &root)
        );
    }
}

#[test]
fn text_becomes_the_message_that_its_tree_becomes() {
    for (root, mut tree, _) in go_lines() {
        tree["metadata"]["resourceVersion"] = "7".into();
        let object = Object::from_value(tree.clone()).unwrap();
        // It is given with the text, or is there already.
        for version in [Value::Null, "6".into()] {
            tree["metadata"]["resourceVersion"] = version;
            let text = tree.to_string();
            let written = message_of_text(text.as_bytes(), "7", &root).unwrap();
            assert!(written == message(&object, &root), "{root:?}: {text}");
        }
    }
    let root = root("io.k8s.api.core.v1.ConfigMap");
    for text in ["", "[]", "1", r#"{"metadata":{}"#] {
        message_of_text(text.as_bytes(), "7", &root).unwrap_err();
    }
}

#[test]
fn messages_have_their_length_before_them() {
    for length in [0, 1, 127, 128, 129, 16383, 16384, 16400] {
        let content = vec![7; length];
        let (mut nested, mut plain) = (vec![1], vec![1]);
        write::nested(&mut nested, 3, |out| out.extend_from_slice(&content));
        write::bytes(&mut plain, 3, &content);
        assert_eq!(nested, plain, "{length}");
    }
}

#[test]
fn reads_the_bytes_that_go_writes() {
    for (root, tree, bytes) in go_lines() {
        let pruned = |tree: Value| crate::strict::prune(tree, &root).unwrap().object.into_value();
        let read = decode(&bytes, &root).unwrap().into_value();
        assert_eq!(pruned(read), pruned(tree), "{root:?}");
    }
}

#[test]
fn an_event_comes_after_its_length() {
    let mut out = Vec::new();
    event(&mut out, "ADDED", b"body");
    assert_eq!(out, [&[0, 0, 0, 15][..], b"\x0a\x05ADDED\x12\x06\x0a\x04body"].concat());
}
