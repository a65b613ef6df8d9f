//! Pod templates: hashed and compared.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// The label by which a Deployment tells its ReplicaSets, and their pods, apart.
pub(crate) const POD_TEMPLATE_HASH: &str = "pod-template-hash";

const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// A hash in the form in which it becomes part of names: no vowels, so that no words come of it.
pub(crate) fn safe_encoded(hash: u32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// The hash of a template, other when a hash has met another template's `collisions` times.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = serde_json::to_vec(template).expect("a template holds nothing that JSON cannot");
    text.extend(collisions.map(i32::to_le_bytes).into_iter().flatten());
    safe_encoded(text.iter().fold(OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME)))
}

/// The hash of a revision's data, in which the factor comes first.
pub(crate) fn revision_hash<T: Serialize>(data: &T, collisions: i32) -> String {
    let mut text = serde_json::to_vec(data).expect("a revision holds nothing that JSON cannot");
    text.extend(collisions.to_string().bytes());
    safe_encoded(text.iter().fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(*byte)))
}

/// Whether both describe the same pods, whatever hashes their labels hold.
pub(crate) fn is_same(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    one.spec == other.spec && without_hash(one) == without_hash(other)
}

fn without_hash(template: &PodTemplateSpec) -> ObjectMeta {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(POD_TEMPLATE_HASH);
    }
    metadata.labels = metadata.labels.filter(|labels| !labels.is_empty());
    metadata
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(labels: Value, image: &str) -> PodTemplateSpec {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        serde_json::from_value(json!({"metadata": {"labels": labels}, "spec": spec})).unwrap()
    }

    #[test]
    fn hashes_are_of_letters_that_make_no_words_and_differ_after_a_collision() {
        assert_eq!(safe_encoded(0), "4");
        assert_eq!(safe_encoded(1_234_567_890), "56789bcdf4");
        let template = template(json!({"a": "b"}), "x");
        assert_eq!(hash(&template, None), hash(&template, None));
        assert_ne!(hash(&template, None), hash(&template, Some(1)));
        assert_ne!(revision_hash(&template, 0), revision_hash(&template, 1));
    }

    #[test]
    fn hashes_in_labels_make_no_difference() {
        let one = template(json!({"app": "a"}), "x");
        assert!(is_same(&one, &template(json!({"app": "a", POD_TEMPLATE_HASH: "z"}), "x")));
        assert!(is_same(&template(Value::Null, "x"), &template(json!({POD_TEMPLATE_HASH: "z"}), "x")));
        assert!(!is_same(&one, &template(json!({"app": "a"}), "y")));
    }
}
