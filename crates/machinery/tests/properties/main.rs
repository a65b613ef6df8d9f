//! What holds of every definition in the schema table, and of merges whatever is merged, tried with values that are made by chance.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod maker;

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Map, Value};
use skiff_machinery::managed::{self, Writer};
use skiff_machinery::{Object, patch, protobuf, strict};
use skiff_schema::{Kinds, Root, Schema};

use maker::{Known, Maker};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::kubernetes()));

/// Definitions of whole objects.
fn roots() -> Vec<Root> {
    let kinds = SCHEMA.definitions().filter(|definition| matches!(definition.kinds, Kinds::Of(_)));
    kinds.map(|definition| SCHEMA.root(definition.name()).unwrap()).collect()
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

/// With all that Go would write.
fn complete(value: Value, root: &Root) -> Value {
    let mut object = object(value);
    strict::complete(&mut object, root);
    object.into_value()
}

/// The same cases every time, unless `PROPTEST_RNG_SEED` names others.
fn some(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let rng_seed = match usual.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen @ RngSeed::Fixed(_) => chosen,
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(some(6))]

    /// Every definition, of kinds and of parts: what goes into protobuf comes out of it, and the bytes are the same again.
    #[test]
    fn protobuf_loses_nothing(seed in any::<u64>()) {
        for definition in SCHEMA.definitions().filter(|definition| definition.has_protobuf()) {
            let root = SCHEMA.root(definition.name()).unwrap();
            let value = Maker::new(&SCHEMA, seed, Known::ByProtobuf).object(&root);
            let bytes = protobuf::object(&object(value.clone()), &root);
            let back = protobuf::decode(&bytes, &root).unwrap();
            let again = protobuf::object(&back, &root);
            prop_assert_eq!(&bytes, &again, "{}: {}", definition.name(), value);
            let (before, after) = (complete(value, &root), complete(back.into_value(), &root));
            prop_assert_eq!(before, after, "{}", definition.name());
        }
    }

    /// What is in the schema is read without a word; what is not is named, wherever it is.
    #[test]
    fn strict_decoding_knows_what_the_schema_has(seed in any::<u64>()) {
        for root in roots() {
            let mut maker = Maker::new(&SCHEMA, seed, Known::ByJson);
            let value = maker.whole(&root);
            let decoded = strict::decode(value.to_string().as_bytes(), &root).unwrap();
            prop_assert_eq!(&decoded.problems, &Vec::<String>::new(), "{}: {}", root.name(), value);
            prop_assert_eq!(&decoded.object.into_value(), &value, "{}", root.name());
            let (damaged, path) = maker.with_unknown(&root, value);
            let decoded = strict::prune(damaged, &root).unwrap();
            prop_assert_eq!(decoded.problems, [format!("unknown field {path:?}")], "{}", root.name());
        }
    }

    /// A value of another type is refused, or is none at all; never taken for something else.
    #[test]
    fn what_is_read_reads_again_as_it_was(seed in any::<u64>(), text in "[ -~]{0,6}", number in any::<i32>()) {
        for root in roots() {
            let mut maker = Maker::new(&SCHEMA, seed, Known::ByJson);
            let value = maker.whole(&root);
            for other in [Value::from(text.as_str()), number.into(), true.into(), Value::Null, Value::Array(Vec::new())] {
                let changed = maker.with_another(value.clone(), other);
                let Ok(once) = strict::prune(changed, &root) else { continue };
                let twice = strict::prune(once.object.clone().into_value(), &root).unwrap();
                prop_assert_eq!(&once.object, &twice.object, "{}", root.name());
                prop_assert!(twice.problems.is_empty(), "{}: {:?}", root.name(), twice.problems);
            }
        }
    }

    /// A patch that was applied changes nothing when it is applied again.
    #[test]
    fn merges_are_idempotent(seed in any::<u64>()) {
        for root in roots() {
            let live = object(Maker::new(&SCHEMA, seed, Known::ByJson).whole(&root));
            let change = Maker::new(&SCHEMA, seed ^ 0x5555, Known::ByJson).whole(&root).to_string();
            let once = patch::strategic(&live, change.as_bytes(), &root).unwrap();
            let twice = patch::strategic(&once, change.as_bytes(), &root).unwrap();
            prop_assert_eq!(&once, &twice, "strategic, {}", root.name());
            let itself = patch::strategic(&live, live.clone().into_value().to_string().as_bytes(), &root).unwrap();
            prop_assert_eq!(&live, &itself, "with itself, {}", root.name());
            let once = patch::merge(&live, change.as_bytes()).unwrap();
            prop_assert_eq!(&patch::merge(&once, change.as_bytes()).unwrap(), &once, "{}", root.name());
        }
    }

    /// A configuration that was applied changes nothing when it is applied again, and leaves what others own.
    #[test]
    fn applying_is_idempotent(seed in any::<u64>()) {
        for root in roots() {
            let live = object(Maker::new(&SCHEMA, seed, Known::ByJson).whole(&root));
            let config = object(Maker::new(&SCHEMA, seed ^ 0x5555, Known::ByJson).whole(&root));
            let once = managed::apply(Some(&live), &config, &root, &writer("a", 1), true).unwrap();
            let twice = managed::apply(Some(&once), &config, &root, &writer("a", 2), false);
            prop_assert_eq!(twice.as_ref(), Ok(&once), "{}", root.name());
            let made = managed::apply(None, &config, &root, &writer("a", 1), false).unwrap();
            let again = managed::apply(Some(&made), &config, &root, &writer("a", 2), false);
            prop_assert_eq!(again.as_ref(), Ok(&made), "{}", root.name());
        }
    }

    /// Of two who own different members it does not matter who comes first; and who takes back what they applied leaves what the
    /// other did.
    #[test]
    fn who_applies_first_does_not_matter(seed in any::<u64>()) {
        for root in roots() {
            let whole = Maker::new(&SCHEMA, seed, Known::ByJson).whole(&root);
            let (first, second) = halves(&whole, seed);
            let apply = |live: Option<&Object>, config: &Object, manager: &str| {
                managed::apply(live, config, &root, &writer(manager, 1), false)
            };
            let one = apply(Some(&apply(None, &first, "a").unwrap()), &second, "b").unwrap();
            let other = apply(Some(&apply(None, &second, "b").unwrap()), &first, "a").unwrap();
            prop_assert_eq!(content(&one), content(&other), "{}", root.name());
            let nothing = named(Map::new());
            let left = apply(Some(&one), &nothing, "a").unwrap();
            let alone = apply(None, &second, "b").unwrap();
            prop_assert_eq!(content(&left), content(&alone), "{}", root.name());
        }
    }
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
        now: Timestamp::from_second(second).unwrap(),
        settled: &[],
        keeps_nulls: false,
    }
}

/// An object without what says who owns it.
fn content(object: &Object) -> Value {
    let mut object = object.clone();
    object.remove(&["metadata", "managedFields"]);
    let mut tree = object.into_value();
    if tree["metadata"] == Value::Object(Map::new()) {
        tree.as_object_mut().unwrap().remove("metadata");
    }
    tree
}

/// Two configurations with the members of one, each in one of them.
fn halves(whole: &Value, seed: u64) -> (Object, Object) {
    let (mut first, mut second) = (Map::new(), Map::new());
    let members = whole.as_object().unwrap().iter().enumerate();
    let shared = ["metadata", "apiVersion", "kind"];
    for (index, (name, value)) in members {
        if shared.contains(&name.as_str()) {
            continue;
        }
        let half = if (seed >> (index % 64)) & 1 == 0 { &mut first } else { &mut second };
        half.insert(name.clone(), value.clone());
    }
    (named(first), named(second))
}

/// A configuration that says what it is of.
fn named(mut members: Map<String, Value>) -> Object {
    members.insert("apiVersion".to_owned(), "example.com/v1".into());
    members.insert("kind".to_owned(), "Any".into());
    object(Value::Object(members))
}
