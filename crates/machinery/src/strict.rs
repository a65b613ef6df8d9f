//! From JSON text to an [`Object`] that has only the fields of its kind.
//!
//! Unknown fields are dropped and reported, repeated fields are reported (the last one counts), explicit
//! nulls and empty lists and maps vanish as they do in Kubernetes, and values of the wrong type are
//! refused. The caller decides what becomes of the reports (`fieldValidation`).

mod complete;
mod duplicates;
mod reader;
pub(crate) mod scalar;
mod time;
mod walk;

use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;
use thiserror::Error;

use skiff_schema::Root;

use crate::Object;
pub(crate) use complete::drop_empty;
pub use complete::{complete, show};
pub use duplicates::duplicates;
use reader::{Problems, Reader};
use walk::Seed;

/// An object and what was wrong with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object, without unknown fields and nulls.
    pub object: Object,
    /// E.g. `unknown field "spec.foo"`, `duplicate field "metadata.name"`; each once, in order.
    pub problems: Vec<String>,
}

/// The text cannot be an object of the kind.
#[derive(Debug, Error)]
pub enum DecodeFailure {
    /// Not JSON.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// A value of the wrong type, in the words of Go's decoder.
    #[error("{0}")]
    Mismatch(String),
}

/// Reads JSON text as a whole object of a definition.
pub fn decode(bytes: &[u8], root: &Root) -> Result<Decoded, DecodeFailure> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let decoded = run(&mut deserializer, root)?;
    deserializer.end()?;
    Ok(decoded)
}

/// As [`decode`], for a JSON tree: a body that was YAML, or the outcome of a patch.
pub fn prune(value: Value, root: &Root) -> Result<Decoded, DecodeFailure> {
    run(value, root)
}

/// As [`prune`], for what is configured: whatever would be ignored is an error.
///
/// # Errors
/// What does not fit, or is unknown.
pub fn configured(value: Value, root: &Root) -> Result<Value, String> {
    let decoded = prune(value, root).map_err(|error| error.to_string())?;
    if decoded.problems.is_empty() {
        Ok(decoded.object.into_value())
    } else {
        Err(format!("strict decoding error: {}", decoded.problems.join(", ")))
    }
}

fn run<'de, D>(deserializer: D, root: &Root) -> Result<Decoded, DecodeFailure>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let (schema, ty) = (root.schema(), root.ty());
    let (path, problems) = (Vec::new(), Problems::default());
    let mut reader = Reader { schema, root: ty, path, owner: None, problems, mismatch: None, failure: None };
    let outcome = Seed { reader: &mut reader, ty }.deserialize(deserializer);
    if let Some(failure) = reader.failure {
        return Err(DecodeFailure::Mismatch(failure));
    }
    let value = outcome?;
    if let Some(mismatch) = reader.mismatch {
        return Err(DecodeFailure::Mismatch(mismatch));
    }
    let value = value.unwrap_or(Value::Null);
    let object = Object::from_value(value).map_err(|error| DecodeFailure::Mismatch(error.to_string()))?;
    Ok(Decoded { object, problems: reader.problems.list })
}

#[cfg(test)]
mod tests {
    use super::reader::MOST_PROBLEMS;
    use super::*;
    use crate::testing::root;
    use serde_json::json;

    const SERVICE: &str = "io.k8s.api.core.v1.Service";
    const POD: &str = "io.k8s.api.core.v1.Pod";

    #[test]
    fn reports_unknown_and_repeated_fields() {
        let check = |definition: &str, text: &str, object: Value, problems: &[&str]| {
            let decoded = decode(text.as_bytes(), &root(definition)).unwrap();
            assert_eq!(decoded.object.into_value(), object, "{text}");
            assert_eq!(decoded.problems, problems, "{text}");
        };
        check(
            SERVICE,
            r#"{"kind":"Service","spec":{"foo":{"a":1},"type":"NodePort"}}"#,
            json!({"kind": "Service", "spec": {"type": "NodePort"}}),
            &[r#"unknown field "spec.foo""#],
        );
        check(
            SERVICE,
            r#"{"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}}}"#,
            json!({"metadata": {"name": "b", "labels": {"x": "2"}}}),
            &[r#"duplicate field "metadata.name""#, r#"duplicate field "metadata.labels.x""#],
        );
        check(
            POD,
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b","imag":"c","env":[{"nam":"x"}]}]}}"#,
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "env": [{}]}]}}),
            &[
                r#"unknown field "spec.containers[1].imag""#,
                r#"unknown field "spec.containers[1].env[0].nam""#,
            ],
        );
    }

    #[test]
    fn only_the_first_problems_are_told() {
        let containers = vec![json!({"imag": "a"}); 2 * MOST_PROBLEMS];
        let text = json!({"spec": {"containers": containers}}).to_string();
        let problems = decode(text.as_bytes(), &root(POD)).unwrap().problems;
        assert_eq!(problems.len(), MOST_PROBLEMS);
        assert_eq!(problems.last().unwrap(), r#"unknown field "spec.containers[99].imag""#);
    }

    #[test]
    fn drops_nulls_and_empty_collections() {
        let check = |definition: &str, text: &str, object: Value| {
            let decoded = decode(text.as_bytes(), &root(definition)).unwrap();
            assert_eq!(decoded.object.into_value(), object, "{text}");
            assert_eq!(decoded.problems, Vec::<String>::new(), "{text}");
        };
        check(
            SERVICE,
            r#"{"metadata":{"creationTimestamp":null},"status":{}}"#,
            json!({"metadata": {}, "status": {}}),
        );
        check(SERVICE, r#"{"spec":{"ports":[],"selector":{}}}"#, json!({"spec": {}}));
        check(SERVICE, r#"{"metadata":{"labels":{"a":null}}}"#, json!({"metadata": {"labels": {"a": ""}}}));
        check(SERVICE, r#"{"spec":{"ports":[null]}}"#, json!({"spec": {"ports": [{}]}}));
        check(
            POD,
            r#"{"spec":{"volumes":[{"emptyDir":{}}]}}"#,
            json!({"spec": {"volumes": [{"emptyDir": {}}]}}),
        );
    }

    #[test]
    fn reads_special_scalars() {
        let check = |definition: &str, text: &str, object: Value| {
            assert_eq!(
                decode(text.as_bytes(), &root(definition)).unwrap().object.into_value(),
                object,
                "{text}"
            );
        };
        let ports = |port: Value| json!({"spec": {"ports": [{"targetPort": port}]}});
        check(SERVICE, r#"{"spec":{"ports":[{"targetPort":80}]}}"#, ports(json!(80)));
        check(SERVICE, r#"{"spec":{"ports":[{"targetPort":"http"}]}}"#, ports(json!("http")));
        check(
            POD,
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":0.5,"memory":"1024Mi","pods":2}}}]}}"#,
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "500m", "memory": "1Gi", "pods": "2"}}}]}}),
        );
        check(
            POD,
            r#"{"metadata":{"creationTimestamp":"2026-01-01T02:00:00.5+02:00"}}"#,
            json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}),
        );
    }

    #[test]
    fn refuses_wrong_types() {
        let check = |definition: &str, text: &str, error: &str| {
            let got = decode(text.as_bytes(), &root(definition)).unwrap_err().to_string();
            assert!(got.contains(error), "{text}: {got}");
        };
        check(
            SERVICE,
            r#"{"spec":{"ports":[{"port":"80"}]}}"#,
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        );
        check(
            SERVICE,
            r#"{"spec":{"ports":{}}}"#,
            "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        );
        check(
            SERVICE,
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        );
        check(
            SERVICE,
            r#"{"spec":{"ports":[{"port":3000000000}]}}"#,
            "cannot unmarshal number 3000000000 into",
        );
        check(SERVICE, r#"{"spec":{"ports":[{"port":1.5}]}}"#, "cannot unmarshal number 1.5 into");
        check(SERVICE, "[]", "json: cannot unmarshal array into Go value of type v1.Service");
        check(SERVICE, "{", "EOF while parsing");
        check(SERVICE, "{} {}", "trailing characters");
        check("io.k8s.api.core.v1.Secret", r#"{"data":{"a":"?"}}"#, "illegal base64 data");
        check(POD, r#"{"metadata":{"creationTimestamp":"x"}}"#, "parsing time \"x\"");
        let limits =
            |limits: &str| format!(r#"{{"spec":{{"containers":[{{"resources":{{"limits":{limits}}}}}]}}}}"#);
        for amount in [r#""1x""#, "true", "{}", "[1]", r#""""#] {
            check(
                POD,
                &limits(&format!(r#"{{"cpu":{amount}}}"#)),
                "quantities must match the regular expression",
            );
        }
        check(
            POD,
            &limits("[]"),
            "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList",
        );
    }

    #[test]
    fn values_are_named_as_go_names_their_types() {
        let check = |definition: &str, text: &str, error: &str| {
            let got = decode(text.as_bytes(), &root(definition)).unwrap_err().to_string();
            assert_eq!(got, format!("json: cannot unmarshal {error}"), "{text}");
        };
        check(
            SERVICE,
            r#"{"spec":{"ports":[{"protocol":1}]}}"#,
            "number into Go struct field ServicePort.spec.ports.protocol of type v1.Protocol",
        );
        check(
            "io.k8s.api.core.v1.PersistentVolumeClaim",
            r#"{"spec":{"accessModes":[true]}}"#,
            "bool into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type v1.PersistentVolumeAccessMode",
        );
        check(
            POD,
            r#"{"metadata":{"uid":{}}}"#,
            "object into Go struct field ObjectMeta.metadata.uid of type types.UID",
        );
        check(
            POD,
            r#"{"metadata":{"creationTimestamp":1}}"#,
            "number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        );
        check(
            SERVICE,
            r#"{"spec":{"ports":[{"port":80},{"targetPort":true}]}}"#,
            "bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        );
        check(
            POD,
            r#"{"spec":{"volumes":[{"emptyDir":[]}]}}"#,
            "array into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource",
        );
        check(
            "io.k8s.api.core.v1.Secret",
            r#"{"data":{"a":[1,256]}}"#,
            "number 256 into Go struct field Secret.data of type uint8",
        );
        check(
            SERVICE,
            r#"{"spec":{"ports":[{"port":1e30}]}}"#,
            "number 1e+30 into Go struct field ServicePort.spec.ports.port of type int32",
        );
    }

    #[test]
    fn the_first_wrong_value_is_told_unless_one_cannot_be_read() {
        let check = |text: &str, error: &str| {
            let got = decode(text.as_bytes(), &root(POD)).unwrap_err().to_string();
            assert!(got.contains(error), "{text}: {got}");
        };
        check(r#"{"metadata":{"name":1,"labels":2}}"#, "ObjectMeta.metadata.name");
        check(r#"{"metadata":{"name":1,"creationTimestamp":"x"}}"#, "parsing time");
    }

    #[test]
    fn bytes_may_be_listed() {
        let secret = decode(br#"{"data":{"a":[104,105,null]}}"#, &root("io.k8s.api.core.v1.Secret")).unwrap();
        assert_eq!(secret.object.into_value(), json!({"data": {"a": "aGkA"}}));
    }
}
