use super::*;
use serde_json::json;

fn core(name: &str) -> String {
    format!("io.k8s.api.core.v1.{name}")
}

#[test]
fn knows_types_and_merge_keys() {
    let schema = Schema::kubernetes();
    let field = |definition: &str, name: &str| {
        let definition = schema.definition(definition).unwrap_or_else(|| panic!("{definition}"));
        definition.field(name).unwrap_or_else(|| panic!("{} {name}", definition.name()))
    };
    let port = field(&core("ServicePort"), "port");
    assert_eq!((port.ty, port.required, port.zero), (Type::Int32, true, Zero::Written));
    let target = field(&core("ServicePort"), "targetPort");
    assert_eq!((target.ty, target.zero), (Type::IntOrString, Zero::Written));
    assert_eq!(field(&core("ServicePort"), "protocol").default_value(), Some(json!("TCP")));
    assert_eq!(field(&core("PodSpec"), "enableServiceLinks").zero, Zero::Value);
    assert_eq!(field(&core("PodSpec"), "hostNetwork").zero, Zero::Omitted);
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(field(meta, "creationTimestamp").ty, Type::Time);
    assert_eq!(field("io.k8s.api.coordination.v1.LeaseSpec", "renewTime").ty, Type::MicroTime);
    let Type::Map(values) = field(&core("Secret"), "data").ty else { panic!("data is a map") };
    assert_eq!(schema.inner(values), Type::Bytes);
    let ports = field(&core("ServiceSpec"), "ports");
    assert!(ports.patch.merges());
    assert_eq!(ports.patch.key.as_deref(), Some("port"));
    assert_eq!(ports.list, ListKind::Map(["port".into(), "protocol".into()].into()));
    assert_eq!(field(&core("ServiceSpec"), "selector").list, ListKind::Atomic);
    assert_eq!(field(&core("ServiceSpec"), "clusterIPs").list, ListKind::Atomic);
    assert!(field(&core("PodSpec"), "volumes").patch.merges());
    assert!(schema.definition(&core("ObjectReference")).unwrap().atomic);
}

#[test]
fn definitions_and_fields_are_in_order() {
    let schema = Schema::kubernetes();
    let names: Vec<&str> = schema.definitions().map(Definition::name).collect();
    assert!(names.len() > 700 && names.is_sorted());
    for definition in schema.definitions() {
        assert!(definition.fields().iter().map(|field| &field.name).is_sorted(), "{}", definition.name());
    }
}

#[test]
fn the_release_is_a_version() {
    let parts: Vec<u32> = release().split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(parts[..2], [1, 36]);
}

#[test]
fn fields_have_the_order_of_go_too() {
    let schema = Schema::kubernetes();
    let mut names: Vec<&str> =
        schema.definition(&core("ConfigMap")).unwrap().fields().iter().map(|field| &*field.name).collect();
    names.push("unknown");
    names.sort_by_key(|name| schema.definition(&core("ConfigMap")).unwrap().rank(name));
    assert_eq!(names, ["kind", "apiVersion", "metadata", "immutable", "data", "binaryData", "unknown"]);
}

#[test]
fn keys_and_unions_name_fields() {
    let schema = Schema::kubernetes();
    let known = |ty: Type, key: &Text| schema.field(schema.innermost(ty), key).is_some();
    for definition in schema.definitions() {
        for field in definition.fields() {
            if let ListKind::Map(keys) = &field.list {
                assert!(keys.iter().all(|key| known(field.ty, key)), "{} {}", definition.name(), field.name);
            }
            if let Some(key) = &field.patch.key {
                assert!(known(field.ty, key), "{} {}", definition.name(), field.name);
            }
        }
        for union in &definition.unions {
            assert!(union.fields.iter().all(|field| definition.field(field).is_some()), "{union:?}");
        }
    }
}

#[test]
fn protobuf_numbers_lead_to_fields_also_through_messages() {
    let schema = Schema::kubernetes();
    let definition = schema.definition(&core("Volume")).unwrap();
    let name = |slot| match slot {
        Some(Slot::Field(at)) => definition.fields()[at].name.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(name(definition.slot(Level::default(), 1)), "name");
    let Some(Slot::Inline(source)) = definition.slot(Level::default(), 2) else { panic!("a message") };
    assert_eq!(name(definition.slot(source, 2)), "emptyDir");
    assert_eq!(definition.slot(Level::default(), 3), None);
    assert_eq!(definition.slot(source, 1000), None);
    let numbers: Vec<u16> = definition.slots(Level::default()).map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2]);
    assert!(definition.slots(source).count() > 20);
    let rule = "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations";
    let rule = schema.definition(rule).unwrap();
    let Some(Slot::Inline(outer)) = rule.slot(Level::default(), 2) else { panic!("a message") };
    let Some(Slot::Inline(inner)) = rule.slot(outer, 2) else { panic!("a message in it") };
    assert_eq!(rule.slot(inner, 1), Some(Slot::Field(rule.index("apiGroups").unwrap())));
}

#[test]
fn every_definition_of_a_kind_has_numbers_for_all_its_fields() {
    fn count(definition: &Definition, level: Level) -> usize {
        let slots = definition.slots(level);
        slots.map(|(_, slot)| if let Slot::Inline(level) = slot { count(definition, level) } else { 1 }).sum()
    }
    let schema = Schema::kubernetes();
    for definition in schema.definitions().filter(|definition| definition.has_protobuf()) {
        let fields = definition.fields().iter();
        let sent = fields.filter(|f| !matches!(&*f.name, "kind" | "apiVersion")).count();
        let references = ["kind", "apiVersion"].iter().filter_map(|name| definition.index(name));
        let numbered = count(definition, Level::default());
        assert!((sent..=sent + references.count()).contains(&numbered), "{}", definition.name());
    }
}

/// How long a server's start waits for the table, and what it keeps of it: `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn bench() {
    let timed = || {
        let start = std::time::Instant::now();
        let schema = Schema::kubernetes();
        (start.elapsed(), schema)
    };
    let first = timed().0;
    let rest: Vec<_> = (0..100).map(|_| timed()).collect();
    println!("first {first:?}, best {:?}", rest.iter().map(|(time, _)| *time).min());
    let schemas: Vec<Schema> = rest.into_iter().map(|(_, schema)| schema).collect();
    let schema = &schemas[0];
    let fields: usize = schema.definitions().map(|d| d.fields().len()).sum();
    println!(
        "{} definitions, {fields} fields of {} bytes, {} types",
        schema.definitions.len(),
        size_of::<Field>(),
        schema.types.len()
    );
    let kib = |what: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{what}: {}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap());
    };
    kib("with 100 schemas");
    drop(schemas);
}
